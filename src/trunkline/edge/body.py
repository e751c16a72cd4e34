"""Reading a request's body: counted, bounded and timed while it streams in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import msgspec

from trunkline.core.problem import Kind, Problem, Source, invalid
from trunkline.edge.request import ClientLeft

if TYPE_CHECKING:
    from trunkline.edge.request import Receive, Request


class BodyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds: of one body, of all bodies held at once, and of the wait for the next piece of one."""

    max_bytes: int = 32 * 1024 * 1024
    budget_bytes: int = 512 * 1024 * 1024
    stall_s: float = 30.0


class Bodies:
    """Reads bodies. Owns the count of bytes that are held in memory for all requests together."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self.held_bytes = 0

    def hold(self) -> HeldBody:
        """A place for one body, as a context; leaving it gives its bytes back to the budget."""
        return HeldBody(self)

    def _check_declared(self, request: Request) -> None:
        """Content-Length alone may tell, before anything is read."""
        declared = request.declared_length()
        if declared is not None and declared > self._limits.max_bytes:
            raise self._too_large()

    async def read(self, held: HeldBody, request: Request, receive: Receive) -> bytes:
        """The whole body. Raises Problem when it is too large or stalls, ClientLeft when the client goes away."""
        whole = request.channel.take_body() if request.channel is not None else None
        if whole is not None:
            self._take(held, len(whole))
            request.is_read = True
            return whole
        self._check_declared(request)
        pieces: list[bytes] = []
        while True:
            try:
                async with asyncio.timeout(self._limits.stall_s):
                    message = await receive()
            except TimeoutError:
                raise invalid(f"The body stalled: nothing came for {self._limits.stall_s:g} s.") from None
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece: bytes = message.get("body", b"")
            self._take(held, len(piece))
            pieces.append(piece)
            if not message.get("more_body", False):
                request.is_read = True
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take(self, held: HeldBody, size: int) -> None:
        if held.size + size > self._limits.max_bytes:
            raise self._too_large()
        if self.held_bytes + size > self._limits.budget_bytes:
            raise Problem(
                Kind.OVERLOADED,
                "The router holds as many large requests as it can. Try again in a moment.",
                source=Source.ROUTER,
                retry_after_s=1,
            )
        held.size += size
        self.held_bytes += size

    def _too_large(self) -> Problem:
        limit = self._limits.max_bytes // (1024 * 1024)
        return invalid(f"The body is over the limit of {limit} MiB.", kind=Kind.TOO_LARGE)


class HeldBody:
    """How much of the budget one request holds."""

    __slots__ = ("_bodies", "size")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bodies.held_bytes -= self.size
