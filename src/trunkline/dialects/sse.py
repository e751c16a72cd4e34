"""Server-sent events: bytes -> frames -> bytes. The only code that knows the format.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from trunkline.core.problem import Kind, Problem, Retry, Source

MEDIA_TYPE: Final = "text/event-stream"

KEEP_ALIVE: Final = b": keep-alive\n"
"""A comment line without a blank line after it: some clients take an empty event for data."""

DONE: Final = b"data: [DONE]\n\n"
"""The sentinel that ends a stream in OpenAI's chat dialect and in the seed's."""

_FIELDS: Final = (b"data", b"event")
_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"[\r\n]")
_CR: Final = 0x0D
_LF: Final = 0x0A
"""As numbers, because they are found in a tenth of the time in which a `bytes` of one byte is."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event: its `data` lines joined by LF, and its name where it has one. Bytes as they came."""

    data: bytes
    event: bytes | None = None


def event(data: bytes, name: bytes | None = None) -> bytes:
    """One event, unnamed where it has no name. `data` must hold no line break: compact JSON never does."""
    if name is None:
        return b"".join((b"data: ", data, b"\n\n"))  # one copy: an event may be many megabytes
    return b"".join((b"event: ", name, b"\ndata: ", data, b"\n\n"))


def forward(frame: Frame) -> bytes:
    """A frame that came in, as it goes out: its name, and its payload untouched."""
    return event(frame.data.replace(b"\n", b"\ndata: "), frame.event)


class Framer:
    """Cuts a byte stream into frames, however it arrives: LF, CRLF and CR, with or without a space after the colon.

    A line is decoded by nobody here, so a character that the network cut in two is whole again in its frame.
    An event that is not closed by a blank line at the end of the stream is dropped, as the specification says.
    `limit` bounds, in bytes, the lines of one event with their ends, and any other single line.
    """

    __slots__ = ("_data", "_event", "_is_between", "_limit", "_rest", "_scanned", "_size", "_skip_lf", "_started")

    def __init__(self, limit: int = 16 * 1024 * 1024) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._scanned = 0
        self._data: list[bytes] = []
        self._size = 0
        self._event: bytes | None = None
        self._started = False
        self._skip_lf = False
        self._is_between = False
        """Whether the next byte begins an event: nothing of one is here."""

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that this chunk completes. Raises Problem when one event outgrows the limit."""
        if not self._started:
            chunk = self._without_bom(chunk)
            self._is_between = self._started and not self._rest
        if self._is_between and chunk.endswith(b"\n\n") and _CR not in chunk and len(chunk) <= self._limit:
            if chunk.startswith(b"data: ") and chunk.find(_LF) == len(chunk) - 2:
                return [Frame(chunk[6:-2])]
            return self._whole_events(chunk)
        rest = self._rest
        rest += chunk
        if self._skip_lf and rest:
            if rest[0] == 0x0A:
                del rest[0]
            self._skip_lf = False
        frames: list[Frame] = []
        start = 0
        has_cr = rest.find(b"\r", self._scanned) >= 0
        while (end := self._line_end(rest, max(start, self._scanned), has_cr=has_cr)) >= 0:
            self._check(end - start)
            self._line(rest, start, end, frames)
            start = end + 1
            if rest[end] == 0x0D:
                if start == len(rest):
                    self._skip_lf = True
                elif rest[start] == 0x0A:
                    start += 1
            self._scanned = start
        del rest[:start]
        self._scanned = len(rest)
        self._check(len(rest))
        self._is_between = not (rest or self._data or self._event or self._skip_lf)
        return frames

    def _whole_events(self, chunk: bytes) -> list[Frame]:
        """The frames of whole events with plain line ends: what nearly every read from an upstream holds."""
        frames: list[Frame] = []
        for event in chunk[:-2].split(b"\n\n"):
            if event.startswith(b"data: ") and _LF not in event:
                frames.append(Frame(event[6:]))
                continue
            for line in event.split(b"\n"):
                self._line(line, 0, len(line), frames)
            self._line(b"", 0, 0, frames)
        return frames

    def _check(self, line: int) -> None:
        """Whether a line of this length still fits into its event."""
        if self._size + line > self._limit:
            raise Problem(
                Kind.UPSTREAM_INVALID,
                f"The provider sent an event over the limit of {self._limit // 1024} KiB.",
                source=Source.UPSTREAM,
                retry=Retry.ELSEWHERE,
            )

    @staticmethod
    def _line_end(rest: bytearray, start: int, *, has_cr: bool) -> int:
        if not has_cr:
            return rest.find(b"\n", start)
        found = _LINE_END.search(rest, start)
        return found.start() if found else -1

    def _without_bom(self, chunk: bytes) -> bytes:
        """The start of the stream, less a byte order mark, which may itself come in pieces."""
        head = bytes(self._rest) + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            return chunk
        self._started = True
        if head.startswith(_BOM):
            self._rest.clear()
            self._scanned = 0
            return head[len(_BOM) :]
        return chunk

    def _line(self, lines: bytes | bytearray, start: int, end: int, frames: list[Frame]) -> None:
        """Take the line at this place of `lines`. What it says is copied once."""
        if start == end:
            if self._data:
                frames.append(Frame(b"\n".join(self._data), self._event))
                self._data = []
                self._size = 0
            self._event = None
            return
        colon = lines.find(b":", start, end)
        name = bytes(lines[start : end if colon < 0 else colon])
        if name not in _FIELDS:
            return  # comments (an empty name), `id`, `retry` and unknown fields mean nothing between servers
        place = end if colon < 0 else colon + 1
        if lines.startswith(b" ", place):
            place += 1
        with memoryview(lines) as view:
            value = bytes(view[place:end])
        if name == b"data":
            self._data.append(value)
            self._size += end - start + 1
        else:
            self._event = value or None
