"""Anthropic's own API as a target, its streams, and what a hub value becomes on the way through the dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dialects.targets import target as any_target
from trunkline.core.call import (
    Opaque,
)
from trunkline.core.catalog import Model, Origin
from trunkline.dialects.anthropic_messages.sides import Reader
from trunkline.dialects.dialect import Opening
from trunkline.dialects.sse import Frame, Framer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.core.catalog import Target
    from trunkline.core.reply import Event

KEY = "sk-ant-api03-canary0123456789"
OPENING = Opening(id="req_1", model="claude", created=1_795_471_983, wants_usage=True)


FULL: dict[str, Any] = {
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See:"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "über"},
                    "title": "T",
                    "citations": {"enabled": True},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}, "cache_control": {"type": "ephemeral"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "is_error": True,
                    "content": [{"type": "text", "text": "no"}],
                },
                {"type": "text", "text": "Well?"},
            ],
        },
    ],
    "stream": True,
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_k": 5,
    "top_p": 0.9,
    "metadata": {"user_id": "u", "team": "x"},
    "service_tier": "standard_only",
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True, "eager_input_streaming": True}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "inference_geo": "eu",
}
"""A request that says nearly everything."""


def target(*, model: Model | None = None, **fields: Any) -> Target:
    """A model of Anthropic's, with whatever differs."""
    row: dict[str, Any] = {
        "name": "anthropic",
        "label": "Anthropic",
        "dialect": "anthropic_messages",
        "origin": Origin("https", "api.anthropic.com", 443),
        "path": "/v1",
    }
    return any_target(model=model or Model(id="claude-opus-5"), **{**row, **fields})


def events_of(pieces: Iterable[bytes]) -> list[Event]:
    """Everything that a reader makes of a stream that ends after these pieces. Raises its Problem."""
    framer, reader = Framer(), Reader(target())
    events: list[Event] = []
    for piece in pieces:
        for frame in framer.feed(piece):
            events += reader.read(frame)
    return events + list(reader.close())


def frame(event: dict[str, Any]) -> Frame:
    """One event as a frame."""
    return Frame(msgspec.json.encode(event), event["type"].encode())


def stream(*events: dict[str, Any]) -> bytes:
    """These events as a stream."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), frame(event).data) for event in events)


def body(**fields: Any) -> bytes:
    """A request, with whatever differs."""
    request = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return msgspec.json.encode({name: value for name, value in request.items() if value is not None})


def proof(**block: str) -> Opaque:
    """A thought as it stands on the wire."""
    return Opaque("anthropic_messages", msgspec.json.encode(block))


def arguments(text: str) -> str:
    """A tool call's arguments as they come back."""
    try:
        msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return msgspec.json.encode({"INVALID_JSON": text}).decode()
    return text or "{}"
