"""A generateContent request -> Call. Google's calls may have no ids: they are given some, and results find theirs.

Sources: https://ai.google.dev/api/generate-content, the types of google-genai 3.4.0 (read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import (
    Call,
    ChoiceMode,
    Extras,
    Format,
    Message,
    Opaque,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
)
from trunkline.dialects.dialect import top_level
from trunkline.dialects.gemini.call_parts import Parts
from trunkline.dialects.gemini.fields import Fields, one_spelling
from trunkline.dialects.gemini.part import NAME
from trunkline.dialects.gemini.schema import to_json_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG: Final = "generationConfig."
"""Before the names of those extras that stand in that object."""

_TIER: Final[Mapping[str, str]] = {"standard": "default", "flex": "flex", "priority": "priority"}
_ROLES: Final[Mapping[str, Role]] = {
    "user": Role.USER,
    "function": Role.USER,
    "tool": Role.USER,
    "model": Role.ASSISTANT,
}


def read_call(body: bytes, *, stream: bool) -> Call:
    """The whole request. Raises Problem INVALID_REQUEST naming the field."""
    keys = one_spelling(top_level(body))
    if (inner := keys.get("generateContentRequest")) is not None:  # countTokens takes a whole request, too
        keys = one_spelling(top_level(bytes(inner)), "generateContentRequest")
    fields = Fields(keys)
    fields.drop("model", "store")
    messages = _system(fields) + _messages(fields)
    config = fields.inner("generationConfig") or Fields({}, "generationConfig")
    logprobs, top_logprobs = config.flag("responseLogprobs"), config.whole_number("logprobs")
    more: list[tuple[str, bytes]] = []
    return Call(
        messages=messages,
        temperature=config.number("temperature"),
        max_tokens=_max_tokens(config),
        stream=stream,
        top_p=config.number("topP"),
        top_k=config.whole_number("topK"),
        stop=tuple(config.texts("stopSequences")),
        seed=config.whole_number("seed"),
        frequency_penalty=config.number("frequencyPenalty"),
        presence_penalty=config.number("presencePenalty"),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        n=config.whole_number("candidateCount"),
        tools=_tools(fields, more),
        tool_choice=_tool_choice(fields, more),
        format=_format(config),
        thinking=_thinking(config),
        service_tier=_service_tier(fields, more),
        extras=_extras(fields, config, more),
    )


def _extras(fields: Fields, config: Fields, more: list[tuple[str, bytes]]) -> Extras | None:
    more += [(f"{CONFIG}{name}", bytes(raw)) for name, raw in config.left().items()]
    return fields.extras(NAME, more)


def _max_tokens(config: Fields) -> int | None:
    value = config.whole_number("maxOutputTokens")
    if value is not None and value < 1:
        raise config.wrong("maxOutputTokens", "must be at least 1")
    return value


def _system(fields: Fields) -> tuple[Message, ...]:
    name = "systemInstruction"
    if fields.starts_with(name, b'"'):
        text = fields.text(name)
        return (Message(Role.SYSTEM, (Text(text),)),) if text else ()
    content = fields.inner(name)
    if content is None:
        return ()
    content.drop("role")
    parts = Parts().read(content)
    if any(not isinstance(part, Text) for part in parts):
        raise fields.wrong(name, "can only hold text")
    return (Message(Role.SYSTEM, parts),) if parts else ()


def _messages(fields: Fields) -> tuple[Message, ...]:
    contents = fields.items("contents")
    if not contents:
        raise fields.wrong("contents", "is missing: give the conversation")
    reader = Parts()
    messages: list[Message] = []
    for content in contents:
        word = content.text("role")
        role = _ROLES.get(word or "user")
        if role is None:
            raise content.wrong("role", "must be `user` or `model`")
        parts = reader.read(content)
        messages += _turns(role, parts, content.extras(NAME))
    return tuple(messages)


def _turns(role: Role, parts: tuple[Part, ...], extras: Extras | None) -> list[Message]:
    """The messages of one content: each tool's result is one of its own."""
    turns: list[Message] = []
    run: list[Part] = []
    for part in parts:
        if isinstance(part, ToolResult):
            if run:
                turns.append(Message(role, tuple(run), extras=extras))
                run = []
            turns.append(Message(Role.TOOL, (part,), extras=extras))
        else:
            run.append(part)
    if run or not turns:
        turns.append(Message(role, tuple(run), extras=extras))
    return turns


def _tools(fields: Fields, more: list[tuple[str, bytes]]) -> tuple[Tool, ...]:
    """The functions; a tool that the provider runs is left as it is, for targets of this dialect."""
    tools: list[Tool] = []
    others: list[dict[str, msgspec.Raw]] = []
    for entry in fields.items("tools"):
        tools += [_tool(declaration) for declaration in entry.items("functionDeclarations")]
        if left := entry.left():
            others.append(left)
    if others:
        more.append(("tools", msgspec.json.encode(others)))
    return tuple(tools)


def _tool(fields: Fields) -> Tool:
    name = fields.needed_text("name")
    description = fields.text("description")
    schema = fields.raw_object("parametersJsonSchema")
    native = fields.raw_object("parameters")
    if schema is None and native is not None:
        schema = to_json_schema(native)
        if schema is None:
            raise fields.wrong("parameters", "is not a schema")
    own = None if native is None else Opaque(NAME, native)
    return Tool(name=name, description=description, schema=schema, own_schema=own, extras=fields.extras(NAME))


def _tool_choice(fields: Fields, more: list[tuple[str, bytes]]) -> ToolChoice | None:
    """What the hub can say of it; the rest goes to targets of this dialect as it came."""
    raw = fields.raw("toolConfig")
    if raw is None:
        return None
    outer = Fields.of(raw, "toolConfig")
    config = outer.inner("functionCallingConfig") or Fields({}, "toolConfig.functionCallingConfig")
    mode = (config.text("mode") or "AUTO").upper()
    names = config.texts("allowedFunctionNames")
    is_whole = not outer.left() and not config.left()
    choice: ToolChoice | None
    match mode:
        case "ANY" if len(names) == 1:
            choice = ToolChoice(ChoiceMode.NAMED, names[0])
        case "ANY":
            choice = ToolChoice(ChoiceMode.REQUIRED)
            is_whole = is_whole and not names
        case "NONE":
            choice = ToolChoice(ChoiceMode.NONE)
        case "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED":
            choice = ToolChoice(ChoiceMode.AUTO) if config.has("mode") else None
            is_whole = is_whole and not names and mode != "VALIDATED"
        case _:
            raise config.wrong("mode", "must be AUTO, ANY, NONE or VALIDATED")
    if not is_whole:
        more.append(("toolConfig", raw))
    return choice


def _format(config: Fields) -> Format | None:
    name = "responseMimeType"
    is_json = config.starts_with(name, b'"application/json"')
    if config.has(name) and not is_json and not config.starts_with(name, b'"text/plain"'):
        return None  # a form of its own, such as text/x.enum: it stays as it is, for targets of this dialect
    config.drop(name)
    schema = config.raw_object("responseJsonSchema")
    native = config.raw_object("responseSchema")
    if schema is None and native is not None:
        schema = to_json_schema(native)
        if schema is None:
            raise config.wrong("responseSchema", "is not a schema")
    return Format(schema=schema) if is_json or schema is not None else None


def _thinking(config: Fields) -> Thinking | None:
    fields = config.inner("thinkingConfig")
    if fields is None:
        return None
    budget = fields.whole_number("thinkingBudget")
    level = fields.text("thinkingLevel")
    shown = fields.flag("includeThoughts")
    if left := fields.left():
        name = next(iter(left))
        raise fields.wrong(name, "is not known here")
    if budget is not None and budget < -1:
        raise fields.wrong("thinkingBudget", "must be -1 or more")
    effort = None if level in {None, "THINKING_LEVEL_UNSPECIFIED"} else level.lower() if level else None
    if budget == 0:
        return Thinking(is_on=False, is_shown=shown)
    return Thinking(effort=effort, budget_tokens=budget if budget and budget > 0 else None, is_shown=shown)


def _service_tier(fields: Fields, more: list[tuple[str, bytes]]) -> str | None:
    tier = fields.text("serviceTier")
    if tier is None or tier == "unspecified":
        return None
    known = _TIER.get(tier.lower())
    if known is None:
        more.append(("serviceTier", msgspec.json.encode(tier)))
    return known
