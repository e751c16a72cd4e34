"""What the administrator asks for: why a request goes where it goes, and a reload of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from trunkline.core.problem import invalid
from trunkline.edge.explain import DEFAULT_ROUTE
from trunkline.edge.inference import envelope_of
from trunkline.edge.wishes import read_wishes
from trunkline.gateway.off_loop import SHALLOW_BYTES, off_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trunkline.core.call import Envelope
    from trunkline.core.caller import Caller
    from trunkline.dialects.dialect import Ingress
    from trunkline.edge.body import Bodies
    from trunkline.edge.explain import Explain
    from trunkline.edge.request import Answer, Receive, Request

JSON = b"application/json"
NO_STORE = (b"cache-control", b"no-store")


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a reload. `mistakes`: every one that was found; then nothing has changed.

    `needs_restart` are the settings that have changed and only count after a restart.
    """

    mistakes: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()


class Reload(Protocol):
    """Takes over the configuration as it is now."""

    def __call__(self) -> Awaitable[Reloaded]:
        """Do it. Raises Problem UNAVAILABLE where it cannot be done."""
        ...


class Admin:
    """The administrator's routes."""

    def __init__(self, explain: Explain, reload: Reload, bodies: Bodies) -> None:
        self._explain = explain
        self._reload = reload
        self._bodies = bodies

    async def explain(self, request: Request, caller: Caller | None, receive: Receive, answer: Answer) -> None:
        """The plan of the body, which is that of a completion; `?route=` says of which. Raises its Problem."""
        assert caller is not None  # noqa: S101 - the route wants one
        route = request.query("route") or DEFAULT_ROUTE
        wishes = read_wishes(request)
        with self._bodies.hold() as held:
            body = await self._bodies.read(held, request, receive)

            def read(ingress: Ingress) -> Envelope:
                return envelope_of(ingress, request, wishes, body)

            is_large = len(body) >= SHALLOW_BYTES
            explain = self._explain.explain
            explanation = await off_loop(is_large, explain, route, body, caller, read=read, policy=wishes.policy)
        await answer.whole(200, msgspec.json.encode(explanation), JSON, NO_STORE)

    async def reload(self, request: Request, _caller: Caller | None, receive: Receive, answer: Answer) -> None:
        """`{}` -> build the catalogue anew and swap it: 200, or 400 with every mistake, and nothing has changed."""
        with self._bodies.hold() as held:
            body = await self._bodies.read(held, request, receive)
        try:
            msgspec.json.decode(body, type=_Nothing)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise invalid("Send `{}`.") from None
        reloaded = await self._reload()
        if not reloaded.mistakes:
            told = msgspec.json.encode({"status": "reloaded", "needs_restart": reloaded.needs_restart})
            await answer.whole(200, told, JSON, NO_STORE)
            return
        problem = invalid("The configuration cannot be used, and nothing has changed: " + " ".join(reloaded.mistakes))
        refused = {"error": problem.message, "type": "invalid_request", "mistakes": reloaded.mistakes}
        await answer.whole(problem.status, msgspec.json.encode(refused), JSON, NO_STORE)


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """A body that says no more than that it is JSON."""
