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
    """Writes events to one client.

    Headers leave with the first event, or after `early_headers_s` with a keep-alive if there is none by then; later
    silences of `keep_alive_s` are filled with keep-alives. One timer does both; it never writes while an event is
    being written. `keep_alive` is what such a filler is in the client's dialect. `more_headers` is asked when the
    headers leave. Owns the task of a keep-alive under way.
    """

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
        self._is_writing = False
        self._wrote_at = self._loop.time()
        self._keep_alive: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(early_headers_s, self._tick)
        self.is_started = False

    async def start(self) -> None:
        """Send status 200 and the headers, unless they have left already."""
        if self.is_started:
            return
        self.is_started = True
        headers = [*HEADERS, *self._more_headers()]
        await self._answer.start(200, headers)

    async def write(self, data: bytes) -> None:
        """Send whole events. Waits while the client is slow."""
        if self._keep_alive is not None:
            await self._kept_alive()
        channel = self._channel
        if channel is not None:
            channel.write(data)
        if channel is None or channel.is_full:
            self._is_writing = True
            await (self._answer.write(data) if channel is None else channel.writable())
            self._is_writing = False
        self._wrote_at = self._loop.time()

    async def end(self, data: bytes = b"") -> None:
        """Send the last events and end the response."""
        await self.close()
        await self._answer.end(data)

    async def close(self) -> None:
        """Stop the keep-alives; what is being written is written whole. Idempotent."""
        self._timer.cancel()
        if self._keep_alive is not None:
            await self._kept_alive()

    async def _kept_alive(self) -> None:
        """Let the keep-alive under way go first."""
        task, self._keep_alive = self._keep_alive, None
        if task is not None:
            await task

    def _tick(self) -> None:
        due = self._wrote_at + self._keep_alive_s
        now = self._loop.time()
        if not self._is_writing and (not self.is_started or now >= due):
            self._is_writing = True
            self._keep_alive = self._loop.create_task(self._write_keep_alive())
            due = now + self._keep_alive_s
        self._timer = self._loop.call_at(max(due, now + 0.001), self._tick)

    async def _write_keep_alive(self) -> None:
        await self.start()
        await self._answer.write(self._filler)
        self._wrote_at = self._loop.time()
        self._is_writing = False
