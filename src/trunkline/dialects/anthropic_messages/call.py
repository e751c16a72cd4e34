"""A messages request -> Call.

A user's message with tool results becomes a message of the tool for each, then the user's own words.
Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-24).
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import (
    Call,
    ChoiceMode,
    Document,
    Extras,
    Format,
    Image,
    Inline,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from trunkline.dialects.anthropic_messages.state import STATE_FIELDS
from trunkline.dialects.anthropic_messages.words import NAME, UNREADABLE, own_id
from trunkline.dialects.asked_models import PLANNED
from trunkline.dialects.dialect import top_level
from trunkline.dialects.json_fields import JsonFields
from trunkline.dialects.opaque import NONE, unwrap

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROLES: Final[Mapping[str, Role]] = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_CHOICES: Final[Mapping[str, ChoiceMode]] = {
    "auto": ChoiceMode.AUTO,
    "any": ChoiceMode.REQUIRED,
    "tool": ChoiceMode.NAMED,
    "none": ChoiceMode.NONE,
}
_DISPLAYS: Final[Mapping[str, bool]] = {"summarized": True, "omitted": False}

_PARTS: Final[Mapping[Role, frozenset[str]]] = {
    Role.SYSTEM: frozenset({"text"}),
    Role.USER: frozenset({"text", "image", "document", "tool_result"}),
    Role.ASSISTANT: frozenset({"text", "tool_use", "thinking", "redacted_thinking"}),
    Role.TOOL: frozenset({"text", "image", "document"}),
}
"""Which blocks may stand where; for TOOL, inside a result."""


class _CacheControl(msgspec.Struct):
    type: str
    ttl: str | None = None


_CACHE_CONTROL = msgspec.json.Decoder(_CacheControl)


def read_call(body: bytes) -> Call:
    """The whole request. Raises Problem INVALID_REQUEST naming the field."""
    fields = JsonFields(top_level(body))
    fields.drop("model", *PLANNED, *STATE_FIELDS, "mcp_servers")
    more: list[tuple[str, bytes]] = []
    output = fields.object("output_config")
    effort = output.text("effort") if output else None
    form = _format(output, "format") if output else None
    if form is None:
        form = _format(fields, "output_format")
    fields.drop("output_format")
    choice, is_parallel = _tool_choice(fields, more)
    metadata = fields.object("metadata")
    user = metadata.text("user_id") if metadata else None
    thinking = _thinking(fields, effort, more)
    for name, left in (("output_config", output), ("metadata", metadata)):
        _keep(name, left, more)
    return Call(
        messages=_messages(fields),
        temperature=fields.number("temperature"),
        max_tokens=_positive(fields, "max_tokens"),
        stream=fields.flag("stream") or False,
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        stop=tuple(fields.texts("stop_sequences")),
        tools=tuple(_tool(tool) for tool in fields.objects("tools")),
        tool_choice=choice,
        parallel_tool_calls=is_parallel,
        format=form,
        thinking=thinking,
        user=user,
        service_tier=_service_tier(fields),
        extras=fields.extras(NAME, more),
    )


def _keep(name: str, left: JsonFields | None, more: list[tuple[str, bytes]]) -> None:
    """What of an object nobody has read: it is put back into that object for a target of this dialect."""
    if left is not None and (fields := left.untaken()):
        more.append((name, msgspec.json.encode({key: msgspec.Raw(raw) for key, raw in fields})))


def _positive(fields: JsonFields, name: str) -> int | None:
    value = fields.integer(name)
    if value is not None and value < 1:
        raise fields.wrong(name, "must be at least 1")
    return value


def _service_tier(fields: JsonFields) -> str | None:
    tier = fields.text("service_tier")
    return "default" if tier == "standard_only" else tier


def _format(fields: JsonFields, name: str) -> Format | None:
    form = fields.object(name)
    if form is None:
        return None
    if form.needed_text("type") != "json_schema":
        raise form.wrong("type", "must be `json_schema`")
    schema = form.raw_object("schema")
    if schema is None:
        raise form.wrong("schema", "is missing")
    return Format(schema=schema)


def _thinking(fields: JsonFields, effort: str | None, more: list[tuple[str, bytes]]) -> Thinking | None:
    config = fields.object("thinking")
    if config is None:
        return Thinking(effort=effort) if effort is not None else None
    kind = config.needed_text("type")
    display = config.text("display")
    if display is not None and display not in _DISPLAYS:
        raise config.wrong("display", "must be `summarized` or `omitted`")
    budget = _positive(config, "budget_tokens")
    if kind not in {"enabled", "adaptive", "disabled"}:
        raise config.wrong("type", "must be `enabled`, `adaptive` or `disabled`")
    if kind == "enabled" and budget is None:
        raise config.wrong("budget_tokens", "is missing")
    _keep("thinking", config, more)
    return Thinking(
        is_on=kind != "disabled",
        effort=effort,
        budget_tokens=budget if kind == "enabled" else None,
        is_shown=None if display is None else _DISPLAYS[display],
    )


def _tool_choice(fields: JsonFields, more: list[tuple[str, bytes]]) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may come in parallel."""
    choice = fields.object("tool_choice")
    if choice is None:
        return None, None
    kind = choice.needed_text("type")
    if kind not in _CHOICES:
        raise choice.wrong("type", "must be `auto`, `any`, `tool` or `none`")
    is_single = choice.flag("disable_parallel_tool_use")
    name = choice.needed_text("name") if kind == "tool" else None
    _keep("tool_choice", choice, more)
    return ToolChoice(_CHOICES[kind], name), None if is_single is None else not is_single


def _tool(tool: JsonFields) -> Tool:
    kind = tool.text("type")
    if kind not in {None, "custom"}:
        raise tool.wrong(
            "type", "names a tool of Anthropic's own, which only its own models know; describe it yourself"
        )
    schema = tool.raw_object("input_schema")
    if schema is None:
        raise tool.wrong("input_schema", "is missing")
    is_cached, more = _cache(tool)
    return Tool(
        name=tool.needed_text("name"),
        description=tool.text("description"),
        schema=schema,
        is_strict=tool.flag("strict"),
        is_cached=is_cached,
        extras=tool.extras(NAME, more),
    )


def _cache(block: JsonFields) -> tuple[bool, tuple[tuple[str, bytes], ...]]:
    """Whether the prompt is cached up to here, and the mark itself where it says more than that."""
    raw = block.raw_object("cache_control")
    if raw is None:
        return False, ()
    try:
        mark = _CACHE_CONTROL.decode(raw)
    except UNREADABLE:
        raise block.wrong("cache_control", 'must be like {"type": "ephemeral"}') from None
    return True, () if mark == _CacheControl("ephemeral") else (("cache_control", raw),)


def _messages(fields: JsonFields) -> tuple[Message, ...]:
    messages: list[Message] = []
    system = _parts(fields, "system", Role.SYSTEM)
    if system:
        messages.append(Message(Role.SYSTEM, tuple(system)))
    if not fields.starts_with("messages", b"["):
        raise fields.wrong("messages", "must be a list of messages" if fields.has("messages") else "is missing")
    for turn in fields.objects("messages"):
        role = _ROLES.get(turn.needed_text("role"))
        if role is None:
            raise turn.wrong("role", "must be `user` or `assistant`")
        if not turn.has("content"):
            raise turn.wrong("content", "is missing")
        parts = _parts(turn, "content", role)
        results = [part for part in parts if isinstance(part, ToolResult)]
        messages += [Message(Role.TOOL, (result,)) for result in results]
        rest = tuple(part for part in parts if not isinstance(part, ToolResult))
        if rest or not results:
            messages.append(Message(role, rest))
        messages[-1] = msgspec.structs.replace(messages[-1], extras=turn.extras(NAME))
    if len(messages) == bool(system):
        raise fields.wrong("messages", "must not be empty")
    return tuple(messages)


def _parts(fields: JsonFields, name: str, role: Role) -> list[Part]:
    """Text or a list of blocks."""
    if not fields.has(name):
        fields.drop(name)
        return []
    if fields.starts_with(name, b'"'):
        return [Text(fields.needed_text(name))]
    if not fields.starts_with(name, b"["):
        raise fields.wrong(name, "must be a string or a list of blocks")
    parts: list[Part] = []
    for block in fields.objects(name):
        part = _part(block, role)
        if isinstance(part, Reasoning) and part.is_redacted and part.opaque and part.opaque.dialect != NAME:
            last = parts[-1] if parts else None
            if isinstance(last, ToolCall) and last.opaque is None:
                parts[-1] = msgspec.structs.replace(last, opaque=part.opaque)
                continue
        parts.append(part)
    return parts


def _part(block: JsonFields, role: Role) -> Part:
    kind = block.needed_text("type")
    if kind not in _PARTS[role]:
        raise block.wrong("type", f"is {kind[:60]!r}, which this model cannot be told here")
    match kind:
        case "text":
            is_cached, more = _cache(block)
            return Text(block.needed_text("text"), is_cached, block.extras(NAME, more))
        case "image":
            is_cached, more = _cache(block)
            media = _media(block, "image")
            return Image(media, is_cached=is_cached, extras=block.extras(NAME, more))
        case "document":
            return _document(block)
        case "tool_use":
            return _tool_use(block)
        case "tool_result":
            return _tool_result(block)
        case _:
            return _thought(block, is_redacted=kind == "redacted_thinking")


def _media(block: JsonFields, what: str) -> Media:
    """The source of an image or a document: bytes or an address."""
    source = block.object("source")
    if source is None:
        raise block.wrong("source", "is missing")
    match source.needed_text("type"):
        case "base64":
            return Inline(source.needed_text("media_type"), source.needed_text("data"))
        case "url":
            return Url(source.needed_text("url"))
        case "text" if what == "document":
            return Inline("text/plain", b64encode(source.needed_text("data").encode()).decode())
        case "content" if what == "document":
            words = "\n".join(part.text for part in _parts(source, "content", Role.SYSTEM) if isinstance(part, Text))
            return Inline("text/plain", b64encode(words.encode()).decode())
        case "file":
            raise source.wrong("file_id", "names a file in the provider's account, which this router does not share")
        case kind:
            raise source.wrong("type", f"is {kind[:60]!r}, which is not a source of {what}s")


def _document(block: JsonFields) -> Document:
    source = block.raw("source")
    is_cached, more = _cache(block)
    media = _media(block, "document")
    extras = _extras_of_document(block, more, source)
    return Document(media, block.text("title"), is_cached, extras)


def _extras_of_document(block: JsonFields, more: tuple[tuple[str, bytes], ...], source: bytes | None) -> Extras | None:
    block.drop("title", "type")
    kind = block.object("source")
    if source is not None and kind is not None and kind.text("type") == "content":
        more += (("source", source),)  # as one text for everybody else, in its own blocks for Anthropic
    return block.extras(NAME, more)


def _tool_use(block: JsonFields) -> ToolCall:
    arguments = block.raw_object("input")
    is_cached, more = _cache(block)
    return ToolCall(
        id=own_id(block.needed_text("id")),
        name=block.needed_text("name"),
        arguments=(arguments or b"{}").decode(),
        is_cached=is_cached,
        extras=block.extras(NAME, more),
    )


def _tool_result(block: JsonFields) -> ToolResult:
    is_cached, more = _cache(block)
    parts = tuple(part for part in _parts(block, "content", Role.TOOL) if isinstance(part, Text | Image | Document))
    return ToolResult(
        call_id=own_id(block.needed_text("tool_use_id")),
        parts=parts,
        is_error=block.flag("is_error") or False,
        is_cached=is_cached,
        extras=block.extras(NAME, more),
    )


def _thought(block: JsonFields, *, is_redacted: bool) -> Reasoning:
    """A thought, and its proof: ours to unwrap, or Anthropic's, for which the whole block is kept."""
    text = "" if is_redacted else block.needed_text("thinking")
    proof = block.needed_text("data") if is_redacted else block.text("signature")
    if not proof or proof == NONE:
        return Reasoning(text, is_redacted=is_redacted)
    opaque = unwrap(proof) or Opaque(NAME, block.whole())
    return Reasoning(text, opaque, is_redacted=is_redacted)
