"""The client's event stream: one writer, headers when the walk says so, keep-alives only between events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from trunkline.dialects import sse

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.edge.request import Answer

HEADERS: Final = (
    (b"content-type", sse.MEDIA_TYPE.encode()),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class EventStream:
    """Writes events to one client: what is written is taken at once, and `room` waits while the client is behind.

    Headers leave with the first event, or after `early_headers_s` with a keep-alive if there is none by then; later
    silences of `keep_alive_s` are filled with keep-alives. One timer does both; a keep-alive stands between two events.
    `keep_alive` is what such a filler is in the client's dialect. `more_headers` is asked when the headers leave.

    Through our server's channel, bytes leave at the end of the loop's turn. Another server's `send` has to be awaited:
    events are held until `room` sends them, so one write fills the stream. Owns the task of a keep-alive under way.
    """

    __slots__ = (
        "_answer",
        "_channel",
        "_filler",
        "_held",
        "_is_sending",
        "_keep_alive",
        "_keep_alive_s",
        "_loop",
        "_more_headers",
        "_timer",
        "_wrote_at",
        "is_started",
    )

    def __init__(
        self,
        answer: Answer,
        more_headers: Callable[[], list[tuple[bytes, bytes]]],
        *,
        keep_alive: bytes = sse.KEEP_ALIVE,
        early_headers_s: float,
        keep_alive_s: float,
    ) -> None:
        self._answer = answer
        self._channel = answer.channel
        self._more_headers = more_headers
        self._keep_alive_s = keep_alive_s
        self._filler = keep_alive
        self._loop = asyncio.get_running_loop()
        self._is_sending = False
        self._held: list[bytes] = []
        self._wrote_at = self._loop.time()
        self._keep_alive: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(early_headers_s, self._tick)
        self.is_started = False

    @property
    def is_full(self) -> bool:
        """Whether the client is behind."""
        return bool(self._held) if self._channel is None else self._channel.is_full

    def write(self, data: bytes) -> None:
        """Take whole events."""
        channel = self._channel
        if channel is None:
            self._held.append(data)
            return
        if not self.is_started:
            self.is_started = True
            self._answer.open(200, self._head())
        channel.write(data)
        self._wrote_at = self._loop.time()

    async def room(self) -> None:
        """Wait until the client has caught up."""
        if self._channel is not None:
            await self._channel.writable()
            return
        await self._kept_alive()
        try:
            await self._send(b"".join(self._held))
        finally:
            self._held.clear()  # a server whose `send` is cancelled has them: the end must not say them again

    async def end(self, data: bytes = b"") -> None:
        """Write the last events and end the response."""
        await self.close()
        if not self.is_started:
            self.is_started = True
            await self._answer.start(200, self._head())
        await self._answer.end(b"".join([*self._held, data]) if self._held else data)
        self._held.clear()

    async def close(self) -> None:
        """Stop the keep-alives; what is being written is written whole. Idempotent."""
        self._timer.cancel()
        await self._kept_alive()

    def _head(self) -> list[tuple[bytes, bytes]]:
        return [*HEADERS, *self._more_headers()]

    async def _send(self, data: bytes) -> None:
        self._is_sending = True
        if not self.is_started:
            self.is_started = True
            await self._answer.start(200, self._head())
        await self._answer.write(data)
        self._wrote_at = self._loop.time()
        self._is_sending = False

    async def _kept_alive(self) -> None:
        """Let the keep-alive under way go first."""
        task, self._keep_alive = self._keep_alive, None
        if task is not None:
            await task

    def _tick(self) -> None:
        due = self._wrote_at + self._keep_alive_s
        now = self._loop.time()
        if not self._is_sending and not self.is_full and (not self.is_started or now >= due):
            if self._channel is not None:
                self.write(self._filler)
            else:
                self._is_sending = True
                self._keep_alive = self._loop.create_task(self._send(self._filler))
            due = now + self._keep_alive_s
        self._timer = self._loop.call_at(max(due, now + 0.001), self._tick)
