"""What operators and their tools ask: health, liveness, readiness, metrics. None of it calls an upstream."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from trunkline.core.problem import invalid
from trunkline.edge.middleware import COOKIE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.access.keys import Keys
    from trunkline.core.caller import Caller
    from trunkline.edge.body import Bodies
    from trunkline.edge.request import Answer, Receive, Request

JSON = b"application/json"
NO_STORE = (b"cache-control", b"no-store")


class Ops:
    """The operators' routes. `clock` is monotonic, in seconds; `now` the wall time in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        is_draining: Callable[[], bool],
        metrics: Callable[[], Awaitable[bytes]],
        keys: Keys,
        bodies: Bodies,
    ) -> None:
        self._clock = clock
        self._now = now
        self._started = clock()
        self._is_draining = is_draining
        self._metrics = metrics
        self._keys = keys
        self._bodies = bodies

    async def health(self, _request: Request, _caller: Caller | None, _receive: Receive, answer: Answer) -> None:
        """The seed's health check: `{"status","timestamp","uptime"}`; time in UTC, uptime in seconds."""
        timestamp = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        uptime = round(self._clock() - self._started, 3)
        body = msgspec.json.encode({"status": "ok", "timestamp": timestamp, "uptime": uptime})
        await answer.whole(200, body, JSON, NO_STORE)

    async def live(self, _request: Request, _caller: Caller | None, _receive: Receive, answer: Answer) -> None:
        """The process answers."""
        await answer.whole(200, b'{"status":"ok"}', JSON, NO_STORE)

    async def ready(self, _request: Request, _caller: Caller | None, _receive: Receive, answer: Answer) -> None:
        """Whether new requests are welcome: 503 while draining. A database that is down does not make it so."""
        if self._is_draining():
            await answer.whole(503, b'{"status":"draining"}', JSON, NO_STORE)
        else:
            await answer.whole(200, b'{"status":"ok"}', JSON, NO_STORE)

    async def metrics(self, _request: Request, _caller: Caller | None, _receive: Receive, answer: Answer) -> None:
        """All workers' numbers in Prometheus' text format."""
        await answer.whole(200, await self._metrics(), b"text/plain; version=0.0.4; charset=utf-8", NO_STORE)

    async def log_in(self, request: Request, _caller: Caller | None, receive: Receive, answer: Answer) -> None:
        """`{"key"}` -> 204 and the cookie that stands for it."""
        with self._bodies.hold() as held:
            body = await self._bodies.read(held, request, receive)
        try:
            key = msgspec.json.decode(body, type=_Login).key
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise invalid('Send `{"key": "..."}`.', param="key") from None
        cookie = f"{COOKIE}={self._keys.log_in(key)}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"
        await answer.whole(204, b"", b"", (b"set-cookie", cookie.encode()), NO_STORE)


class _Login(msgspec.Struct):
    key: str
