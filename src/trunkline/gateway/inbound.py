"""An upstream's stream as the gateway reads it: bytes, cut into frames, read as events, batch by batch."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.problem import Problem
from trunkline.core.reply import Event
from trunkline.dialects.sse import Frame

if TYPE_CHECKING:
    from trunkline.dialects.dialect import EventReader
    from trunkline.dialects.sse import Framer
    from trunkline.upstream.client import WireStream

FINISHED_GRACE_S: Final = 2.0
"""How long a finished answer is waited on for its usage and its end."""


class Batch(msgspec.Struct, gc=False):
    """What came in one go: frames, and the events in them. `is_over`: the upstream has said its last word.

    Who writes it empties it: nobody keeps what it held while a slow client takes it.
    """

    frames: Sequence[Frame]
    events: Sequence[Event]
    is_over: bool


class Inbound:
    """Reads one stream. Owns the framer, the reader, and a failure that is told only after what came before it."""

    __slots__ = ("_failure", "_framer", "_reader", "stream")

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
        """What the upstream says next. Raises as `take` does, and TimeoutError when the deadline passes."""
        while (batch := self.take()) is None:
            if self._reader.is_finished:
                deadline = min(deadline, get_running_loop().time() + FINISHED_GRACE_S)
            if not await self.stream.arrival(deadline):
                if self._reader.is_finished:
                    return self.end()
                raise TimeoutError
        return batch

    def take(self) -> Batch | None:
        """What the upstream has said; None where it has said nothing since.

        A finished answer is whole, whatever becomes of the connection after it. Raises Problem for an error in the
        stream and for one that is cut.
        """
        if self._failure is not None:
            raise self._failure
        try:
            chunk = self.stream.take()
        except Problem:
            if not self._reader.is_finished:
                raise
            return self.end()
        if not chunk:
            return None if chunk is None else self.end()
        reader = self._reader
        frames = self._framer.feed(chunk)
        events: Sequence[Event] = []
        read = 0
        try:
            if len(frames) == 1:  # nearly always: no list is made
                events = reader.read(frames[0])
                read = 1
            else:
                for frame in frames:
                    events += reader.read(frame)
                    read += 1
            if reader.is_done:
                events = [*events, *reader.close()]
        except Problem as failure:
            if not events:
                raise
            self._failure = failure
            return Batch(frames[:read], events, False)  # noqa: FBT003 - a keyword costs
        return Batch(frames, events, reader.is_done)

    def end(self) -> Batch:
        """The end of the stream: the events still due. Raises Problem TRUNCATED where it has not finished."""
        return Batch((), self._reader.close(), is_over=True)
