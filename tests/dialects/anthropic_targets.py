"""Anthropic's own API as a target, its streams, and what a hub value becomes on the way through the dialect."""

from __future__ import annotations

from base64 import b64decode, b64encode
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from dialects.targets import target as any_target
from trunkline.core.call import (
    Call,
    ChoiceMode,
    Document,
    Image,
    Inline,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
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


def came_back(call: Call) -> Call:
    """What a call is after it was written and read again: less what is dropped, in this dialect's order."""
    tools = tuple(_tool(tool) for tool in call.tools)
    choice, is_parallel = call.tool_choice, call.parallel_tool_calls
    if not tools:
        choice = is_parallel = None
    elif is_parallel is not None:
        choice = choice or ToolChoice(ChoiceMode.AUTO)
        is_parallel = None if choice.mode is ChoiceMode.NONE else is_parallel
    form = call.format
    return Call(
        messages=_messages(call.messages),
        temperature=call.temperature,
        max_tokens=call.max_tokens or 4096,
        stream=call.stream,
        top_p=call.top_p,
        top_k=call.top_k,
        stop=call.stop,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=is_parallel,
        format=form and msgspec.structs.replace(form, name=None, description=None, is_strict=None),
        thinking=_thinking(call.thinking),
        user=call.user,
        service_tier=call.service_tier if call.service_tier in {"auto", "default"} else None,
    )


def _thinking(thinking: Thinking | None) -> Thinking | None:
    if thinking is None:
        return None
    effort = "low" if thinking.effort == "minimal" else thinking.effort
    return msgspec.structs.replace(thinking, effort=effort)


def _tool(tool: Tool) -> Tool:
    schema = tool.schema or b"{}"
    if "type" not in msgspec.json.decode(schema, type=dict[str, Any]):
        schema = b'{"type":"object"' + (b"," if schema != b"{}" else b"") + schema[1:]
    return msgspec.structs.replace(tool, schema=schema)


def _messages(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    system = tuple(part for m in messages if m.role is Role.SYSTEM for part in _parts(m.parts))
    read = [Message(Role.SYSTEM, system)] if system else []
    turns = (message for message in messages if message.role is not Role.SYSTEM)
    for is_assistant, group in groupby(turns, lambda message: message.role is Role.ASSISTANT):
        parts = tuple(part for message in group for part in _parts(message.parts))
        read += [Message(Role.TOOL, (part,)) for part in parts if isinstance(part, ToolResult)]
        rest = tuple(part for part in parts if not isinstance(part, ToolResult))
        if rest:
            read.append(Message(Role.ASSISTANT if is_assistant else Role.USER, rest))
    return tuple(read)


def _parts(parts: tuple[Part, ...]) -> Iterable[Part]:
    for part in parts:
        match part:
            case Text(text=text) | Refusal(text=text):
                if text.strip():
                    yield Text(text) if isinstance(part, Refusal) else part
            case Reasoning():
                if part.opaque is not None and part.opaque.dialect == "anthropic_messages":
                    yield part
            case Image():
                yield msgspec.structs.replace(part, detail=None)
            case Document(media=Inline(media_type="text/plain", data=data)):
                yield msgspec.structs.replace(part, media=Inline("text/plain", b64encode(b64decode(data)).decode()))
            case ToolCall():
                yield msgspec.structs.replace(part, arguments=arguments(part.arguments), opaque=None)
            case ToolResult():
                yield msgspec.structs.replace(part, parts=tuple(_parts(part.parts)))
            case _:
                yield part
