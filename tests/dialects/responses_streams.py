"""Streams of OpenAI's responses to read, and what is read of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dialects.targets import target
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import Event, Reply, fold
from trunkline.dialects.dialect import Opening
from trunkline.dialects.openai_responses.reader import Reader
from trunkline.dialects.sse import Frame, Framer

if TYPE_CHECKING:
    from collections.abc import Iterable

STREAMS = sorted((Path(__file__).parent / "transcripts" / "openai_responses").glob("*.sse"))
OPENING = Opening(id="req-1", model="gpt-5.2", created=1795500000)


def events_of(pieces: Iterable[bytes]) -> list[Event]:
    """Everything that a reader makes of a stream that ends after these pieces. Raises its Problem."""
    framer, reader = Framer(), Reader(target())
    events: list[Event] = []
    for piece in pieces:
        for one in framer.feed(piece):
            events += reader.read(one)
    return events + list(reader.close())


def told(pieces: Iterable[bytes]) -> Reply | Kind:
    """The reply that a stream tells, or how it fails."""
    try:
        return fold(events_of(pieces))
    except Problem as problem:
        return problem.kind


def frame(kind: str, **fields: Any) -> Frame:
    """One event as a frame."""
    return Frame(msgspec.json.encode({"type": kind, **fields}), kind.encode())


def stream(*frames: Frame) -> bytes:
    """These events as bytes."""
    return b"".join(b"event: " + (one.event or b"") + b"\ndata: " + one.data + b"\n\n" for one in frames)


def completed(**fields: Any) -> Frame:
    """The end of an answer."""
    return frame("response.completed", response={"id": "resp_1", "status": "completed", **fields})


def added(index: int, **item: Any) -> Frame:
    """An item begins."""
    return frame("response.output_item.added", output_index=index, item=item)


def says(text: str, index: int = 0, **fields: Any) -> Frame:
    """A piece of text."""
    return frame("response.output_text.delta", output_index=index, content_index=0, delta=text, **fields)


def frames_of(data: bytes) -> list[dict[str, Any]]:
    """The events of a stream, decoded; each must be named as its type says."""
    events: list[dict[str, Any]] = []
    for one in Framer().feed(data):
        event = msgspec.json.decode(one.data)
        assert one.event == event["type"].encode()
        events.append(event)
    return events
