"""How requests are signed for providers that take more than a key: a strategy each, applied where they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trunkline.core.catalog import Auth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.core.catalog import Provider, Timeouts
    from trunkline.dialects.dialect import WireRequest
    from trunkline.upstream.client import WireStream


class Sender(Protocol):
    """The client, for a strategy that has to ask somebody first."""

    async def send(self, request: WireRequest, *, timeouts: Timeouts, deadline: float) -> WireStream:
        """Send a request; return when the head of its answer is here."""
        ...


class Authenticator(Protocol):
    """One provider's way to be told who asks."""

    async def headers(self, request: WireRequest, sender: Sender, deadline: float) -> tuple[tuple[str, str], ...]:
        """The headers to add to this request, which is final in all else; they replace those of the same name.

        `deadline` is in the loop's time: TimeoutError when it passes. Raises Problem KEY_REFUSED where there are no
        credentials or they are refused, UNREACHABLE and TIMED_OUT where they cannot be fetched.
        """
        ...

    async def aclose(self) -> None:
        """End what runs on its own."""
        ...


def authenticators(providers: Iterable[Provider]) -> Mapping[str, Authenticator]:
    """A strategy for each provider that needs one, by its name. Their libraries are imported only then.

    The settings have made sure that those are installed.
    """
    made: dict[str, Authenticator] = {}
    for provider in providers:
        match provider.auth:
            case Auth.KEY:
                pass
            case Auth.SIGV4:
                from trunkline.upstream.sigv4 import SigV4  # noqa: PLC0415

                made[provider.name] = SigV4(provider)
            case Auth.GOOGLE:
                from trunkline.upstream.google_token import GoogleToken  # noqa: PLC0415

                made[provider.name] = GoogleToken(provider)
    return made
