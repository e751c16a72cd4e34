"""Targets to read and write for, and streams to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trunkline.core.caller import Secret
from trunkline.core.catalog import Model, Origin, Provider, Target
from trunkline.dialects.openai_chat.egress import Reader
from trunkline.dialects.sse import Frame, Framer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.core.reply import Event

KEY = "sk-or-v1-canary0123456789abcdef"


def target(*, model: Model | None = None, **fields: Any) -> Target:
    """A model at an aggregator, with whatever differs."""
    row: dict[str, Any] = {
        "name": "openrouter",
        "label": "OpenRouter",
        "dialect": "openai_chat",
        "origin": Origin("https", "openrouter.ai", 443),
        "path": "/api/v1",
        "credential": Secret(KEY),
    }
    return Target(Provider(**{**row, **fields}), model or Model(id="openai/gpt-4o"))


def events_of(pieces: Iterable[bytes]) -> list[Event]:
    """Everything that a reader makes of a stream that ends after these pieces. Raises its Problem."""
    framer, reader = Framer(), Reader(target())
    events: list[Event] = []
    for piece in pieces:
        for frame in framer.feed(piece):
            events += reader.read(frame)
    return events + list(reader.close())


def stream(*chunks: object, done: bool = True) -> bytes:
    """These chunks as the events of a stream."""
    return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + (
        b"data: [DONE]\n\n" if done else b""
    )


def says(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of an answer."""
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def frame(chunk: object) -> Frame:
    """One chunk as a frame."""
    return Frame(msgspec.json.encode(chunk))
