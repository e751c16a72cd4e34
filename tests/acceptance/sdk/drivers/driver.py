"""What a driver is: one real client, asked in the tests' words. And the tap, which sees the headers of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

    from acceptance.sdk.talk import Ask, Said


class Tap:
    """An HTTP client for the SDKs, which remembers the headers of the last answer."""

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {}
        self.http = httpx2.AsyncClient(
            event_hooks={"response": [self._note]}, verify=False, trust_env=False, timeout=20.0
        )

    async def _note(self, response: httpx2.Response) -> None:
        self.headers = response.headers

    @property
    def dropped(self) -> set[str]:
        """What the router says that the model was not told."""
        names = self.headers.get("x-trunkline-dropped", "")
        return set(names.split(", ")) if names else set()


class Driver(Protocol):
    """One client.

    `error` is what it raises for a status, `broken` for a stream that ends in an error. `streams_arguments` says
    whether it shows a tool call's arguments as they come.
    """

    dialect: str
    tap: Tap
    broken: type[Exception]
    streams_arguments: bool

    async def ask(self, ask: Ask) -> Said:
        """Ask, and read the answer to its end."""
        ...

    def begun(self, ask: Ask) -> AbstractAsyncContextManager[AsyncGenerator[Any]]:
        """A stream, begun: the client's own events; closed on leaving."""
        ...

    def error(self, status: int) -> type[Exception]:
        """What it raises for this status."""
        ...

    def status(self, error: Any) -> int | None:
        """The status that its error tells."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...
