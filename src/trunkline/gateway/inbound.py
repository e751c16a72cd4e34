"""An upstream's stream as the gateway reads it: bytes, cut into frames, read as events, pulled batch by batch."""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Final, NamedTuple

from trunkline.core.problem import Problem

if TYPE_CHECKING:
    from trunkline.core.reply import Event
    from trunkline.dialects.dialect import EventReader
    from trunkline.dialects.sse import Frame, Framer
    from trunkline.upstream.client import WireStream

FINISHED_GRACE_S: Final = 2.0
"""How long a finished answer is waited on for its usage and its end."""


class Batch(NamedTuple):
    """What came in one go: frames, and the events in them. `is_over`: the upstream has said its last word."""

    frames: list[Frame]
    events: list[Event]
    is_over: bool

    def clear(self) -> None:
        """It has been written: nobody keeps what it held while a slow client takes it."""
        self.frames.clear()
        self.events.clear()


class Inbound:
    """Reads one stream. Owns the framer, the reader, and a failure that is told only after what came before it."""

    def __init__(self, stream: WireStream, framer: Framer, reader: EventReader) -> None:
        self.stream = stream
        self._framer = framer
        self._reader = reader
        self._failure: Problem | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the answer has come to its finish; only usage and its end can still follow."""
        return self._reader.is_finished

    async def pull(self, deadline: float) -> Batch:
        """What the upstream says next.

        A finished answer is whole, whatever becomes of the connection after it. Raises Problem for an error in the
        stream and for one that is cut; TimeoutError when the deadline passes.
        """
        if self._failure is not None:
            raise self._failure
        reader = self._reader
        if reader.is_finished:
            deadline = min(deadline, get_running_loop().time() + FINISHED_GRACE_S)
        try:
            chunk = await self.stream.read(deadline)
        except (Problem, TimeoutError):
            if not reader.is_finished:
                raise
            chunk = b""
        frames: list[Frame] = []
        events: list[Event] = []
        is_over = not chunk
        try:
            for frame in self._framer.feed(chunk) if chunk else ():
                events += reader.read(frame)
                frames.append(frame)
            if reader.is_done or not chunk:
                events += reader.close()
                is_over = True
        except Problem as failure:
            if not events:
                raise
            self._failure = failure
            is_over = False
        return Batch(frames, events, is_over)
