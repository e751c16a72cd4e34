"""A target that speaks Gemini, and streams of it to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import strategies as st

from dialects.hub_strategies import BASE64, RAW_OBJECTS
from trunkline.core.call import Opaque
from trunkline.core.caller import Secret
from trunkline.core.catalog import Model, Origin, Provider, Target
from trunkline.core.problem import Problem
from trunkline.dialects.dialect import Opening
from trunkline.dialects.gemini.reader import Reader
from trunkline.dialects.sse import Framer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trunkline.core.reply import Event

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "gemini"
STREAMS = sorted(TRANSCRIPTS.glob("*.sse"))
KEY = "AIzaSyCanary0123456789abcdefghijklmnopq"
OPENING = Opening(id="req-1", model="gemini/gemini-3-pro", created=1_795_500_000)

SIGNATURES = BASE64.map(lambda text: Opaque("gemini", msgspec.json.encode(text)))
"""Google's own proofs."""

FOREIGN = st.builds(Opaque, st.sampled_from(["anthropic_messages", "openai_responses"]), RAW_OBJECTS)
"""Proofs of other dialects."""


def target(*, model: Model | None = None, **fields: Any) -> Target:
    """A model at Google, with whatever differs."""
    row: dict[str, Any] = {
        "name": "gemini",
        "label": "Google Gemini",
        "dialect": "gemini",
        "origin": Origin("https", "generativelanguage.googleapis.com", 443),
        "path": "/v1beta",
        "credential": Secret(KEY),
    }
    return Target(Provider(**{**row, **fields}), model or Model(id="gemini-3-pro"))


def events_of(pieces: Iterable[bytes]) -> list[Event]:
    """Everything that a reader makes of a stream that ends after these pieces. Raises its Problem."""
    framer, reader = Framer(), Reader(target())
    events: list[Event] = []
    for piece in pieces:
        for frame in framer.feed(piece):
            events += reader.read(frame)
    return events + list(reader.close())


def stream(*chunks: object) -> bytes:
    """These chunks as the events of a stream."""
    return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks)


def says(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of an answer."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **more}


def problem_of(read: Callable[[bytes], object], data: bytes) -> Problem | None:
    """The problem that this ends in, if it is one; any other exception is nobody's answer."""
    try:
        read(data)
    except Problem as problem:
        return problem
    return None


def encoded(value: object) -> bytes:
    """JSON, also of numbers that are too long for most."""
    return json.dumps(value).encode()
