"""A client's chat completion request -> Call.

Source: https://platform.openai.com/docs/api-reference/chat/create and, for `reasoning`, `reasoning_details` and
`cache_control`, https://openrouter.ai/docs/api-reference/parameters (read 2026-11-24).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import (
    Audio,
    Call,
    ChoiceMode,
    Document,
    Extras,
    Format,
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
    Url,
)
from trunkline.dialects.asked_models import PLANNED
from trunkline.dialects.dialect import top_level
from trunkline.dialects.json_fields import JsonFields
from trunkline.dialects.opaque import unwrap
from trunkline.dialects.openai_chat.wire import NAME, Entry, entries, entry_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROLES: Final[Mapping[str, Role]] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}
_CHOICES: Final[Mapping[str, ChoiceMode]] = {
    "auto": ChoiceMode.AUTO,
    "none": ChoiceMode.NONE,
    "required": ChoiceMode.REQUIRED,
}
_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^;,]+)*;base64,", re.ASCII | re.IGNORECASE)
_SPAN = re.compile(r"tl-([0-9]{1,9})-([0-9]{1,9})", re.ASCII)
"""Where in the turn's reasoning a foreign proof belongs: first character, and one past the last."""


def span_id(start: int, end: int) -> str:
    """The id under which a foreign proof of `reasoning[start:end]`, and these words beside it, go to the client."""
    return f"tl-{start}-{end}"


def is_ours(entry: Entry) -> bool:
    """Whether this element of `reasoning_details` is ours, no provider's: a foreign proof, or the words beside it."""
    is_proof = unwrap(entry_text(entry, "data") or "") is not None
    return is_proof or _SPAN.fullmatch(entry_text(entry, "id") or "") is not None


def read_call(body: bytes) -> Call:
    """The whole request. Raises Problem INVALID_REQUEST naming the field."""
    fields = JsonFields(top_level(body))
    fields.drop("model", "store", "usage", "stream_options", *PLANNED)
    for name in ("functions", "function_call"):
        if fields.has(name):
            raise fields.wrong(name, "cannot be translated: use `tools` and `tool_choice`")
    if not fields.starts_with("messages", b"["):
        raise fields.wrong("messages", "must be a list of objects")
    more: list[tuple[str, bytes]] = []
    return Call(
        messages=tuple(_message(message) for message in fields.objects("messages")),
        temperature=fields.number("temperature"),
        max_tokens=read_limit(fields),
        stream=fields.flag("stream") or False,
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        stop=_stop(fields),
        seed=fields.integer("seed"),
        frequency_penalty=fields.number("frequency_penalty"),
        presence_penalty=fields.number("presence_penalty"),
        logprobs=fields.flag("logprobs"),
        top_logprobs=fields.integer("top_logprobs"),
        n=fields.integer("n"),
        tools=tuple(_tool(tool) for tool in fields.objects("tools")),
        tool_choice=_tool_choice(fields, more),
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        format=_format(fields, more),
        thinking=_thinking(fields, more),
        user=fields.text("user"),
        metadata=fields.raw_object("metadata"),
        service_tier=fields.text("service_tier"),
        extras=fields.extras(NAME, more),
    )


def _stop(fields: JsonFields) -> tuple[str, ...]:
    if fields.starts_with("stop", b'"'):
        return (fields.needed_text("stop"),)
    return tuple(fields.texts("stop"))


def _message(fields: JsonFields) -> Message:
    word = fields.needed_text("role")
    role = _ROLES.get(word)
    if role is None:
        raise fields.wrong("role", f"must be one of {', '.join(_ROLES)}")
    if role is Role.ASSISTANT:
        return _assistant(fields)
    if role is Role.TOOL:
        call_id = fields.needed_text("tool_call_id")
        name = fields.text("name")
        parts = tuple(part for part in _content(fields, role) if isinstance(part, Text | Image | Document))
        return Message(role, (ToolResult(call_id, parts, name),), extras=fields.extras(NAME))
    if not fields.has("content"):
        raise fields.wrong("content", "is missing")
    return Message(role, tuple(_content(fields, role)), fields.text("name"), fields.extras(NAME))


def _content(fields: JsonFields, role: Role) -> list[Part]:
    if not fields.has("content"):
        fields.drop("content")
        return []
    if fields.starts_with("content", b'"'):
        return [Text(fields.needed_text("content"))]
    if not fields.starts_with("content", b"["):
        raise fields.wrong("content", "must be a string or a list of parts")
    return [_part(part, role) for part in fields.objects("content")]


def _part(fields: JsonFields, role: Role) -> Part:
    kind = fields.needed_text("type")
    match kind:
        case "text":
            text = fields.needed_text("text")
            return Text(text, _is_cached(fields), fields.extras(NAME))
        case "image_url" if role in {Role.USER, Role.TOOL}:
            if fields.starts_with("image_url", b'"'):  # older clients give the address alone
                image = JsonFields({})
                media = _media(fields.needed_text("image_url"), fields, "image_url")
            else:
                image = _needed_object(fields, "image_url")
                media = _media(image.needed_text("url"), image, "url")
            detail = image.text("detail")
            return Image(media, detail, _is_cached(fields), fields.extras_within("image_url", image, NAME))
        case "file" if role in {Role.USER, Role.TOOL}:
            file = _needed_object(fields, "file")
            media = _media(file.needed_text("file_data"), file, "file_data")
            return Document(media, file.text("filename"), _is_cached(fields), fields.extras_within("file", file, NAME))
        case "input_audio" if role is Role.USER:
            audio = _needed_object(fields, "input_audio")
            data, form = audio.needed_text("data"), audio.needed_text("format")
            return Audio(data, form, fields.extras_within("input_audio", audio, NAME))
        case "refusal" if role is Role.ASSISTANT:
            return Refusal(fields.needed_text("refusal"))
        case _:
            raise fields.wrong("type", f"is a part that cannot be translated in a message of the {role.value} role")


def _needed_object(fields: JsonFields, name: str) -> JsonFields:
    found = fields.object(name)
    if found is None:
        raise fields.wrong(name, "is missing")
    return found


def _is_cached(fields: JsonFields) -> bool:
    """Whether the prompt up to here is to be cached. More than the plain wish stays among the extras."""
    if not fields.has("cache_control"):
        return False
    if not fields.starts_with("cache_control", b"{"):
        raise fields.wrong("cache_control", "must be an object")
    left = fields.extras(NAME)
    control = {name: msgspec.Raw(raw) for name, raw in left.fields if name == "cache_control"} if left else {}
    told = JsonFields(control).object("cache_control")
    if told is not None and told.text("type") == "ephemeral" and told.extras(NAME) is None:
        fields.drop("cache_control")
    return True


def _media(url: str, fields: JsonFields, name: str) -> Url | Inline:
    if url[:5].lower() != "data:":
        if url[:4].lower() == "http":
            return Url(url)
        if name == "file_data" and url:
            return Inline("application/pdf", url)  # base64 alone: a PDF is all that the field was made for
        raise fields.wrong(name, "must be an http(s) or a data: address")
    head = _DATA_URL.match(url)
    if head is None:
        raise fields.wrong(name, "must hold its data as base64")
    return Inline(head.group(1) or "text/plain", url[head.end() :])


def _assistant(fields: JsonFields) -> Message:
    for name, what in (
        ("audio", "names an answer in sound that its provider keeps: send its words"),
        ("function_call", "cannot be translated: use `tool_calls`"),
    ):
        if fields.has(name):
            raise fields.wrong(name, what)
    content = _content(fields, Role.ASSISTANT)
    if (refusal := fields.text("refusal")) is not None:
        content.append(Refusal(refusal))
    calls = [_tool_call(call) for call in fields.objects("tool_calls")]
    thoughts, proofs = _reasoning(fields, {call.id for call in calls})
    calls = [
        msgspec.structs.replace(call, opaque=proofs[call.id]) if call.opaque is None and call.id in proofs else call
        for call in calls
    ]
    name = fields.text("name")
    if fields.starts_with("annotations", b"[]"):
        fields.drop("annotations")
    return Message(Role.ASSISTANT, (*thoughts, *content, *calls), name, fields.extras(NAME))


def _tool_call(fields: JsonFields) -> ToolCall:
    if (kind := fields.text("type")) not in {None, "function"}:
        raise fields.wrong("type", f"{kind!r} cannot be translated")
    id_ = fields.needed_text("id")
    function = _needed_object(fields, "function")
    fields.drop("index")
    proof = fields.raw_object("extra_content")
    return ToolCall(
        id_,
        function.needed_text("name"),
        function.needed_text("arguments"),
        Opaque(NAME, proof) if proof is not None else None,
        extras=fields.extras_within("function", function, NAME),
    )


def _reasoning(fields: JsonFields, calls: set[str]) -> tuple[list[Reasoning], dict[str, Opaque]]:
    """The turn's thoughts, and the foreign proofs of its tool calls by the call's id."""
    text = fields.text("reasoning")
    other = fields.text("reasoning_content")
    text = (other if text is None else text) or ""
    if fields.has("reasoning_details") and not fields.starts_with("reasoning_details", b"["):
        raise fields.wrong("reasoning_details", "must be a list of objects")
    raw = fields.raw("reasoning_details") or b"[]"
    told = entries(raw)
    native = [entry for entry in told if not is_ours(entry)]
    if not text:
        text = "".join(entry_text(entry, "text") or entry_text(entry, "summary") or "" for entry in native or told)
    spans: list[tuple[int, int, Opaque]] = []
    proofs: dict[str, Opaque] = {}
    for entry in told:
        opaque = unwrap(entry_text(entry, "data") or "")
        id_ = entry_text(entry, "id") or ""
        if opaque is not None and id_ in calls:
            proofs[id_] = opaque
        elif opaque is not None:
            span = _SPAN.fullmatch(id_)
            spans.append((int(span[1]), int(span[2]), opaque) if span else (0, len(text), opaque))
    thoughts = _cut(text, spans)
    if native:
        opaque = Opaque(NAME, raw if len(native) == len(told) else msgspec.json.encode(native))
        place = next((place for place, thought in enumerate(thoughts) if thought.opaque is None), None)
        if place is None:
            thoughts.append(Reasoning("", opaque))
        else:
            thoughts[place] = msgspec.structs.replace(thoughts[place], opaque=opaque)
    return thoughts, proofs


def _cut(text: str, spans: list[tuple[int, int, Opaque]]) -> list[Reasoning]:
    """The thoughts that these proofs stand for. A proof whose place is gone stands alone."""
    thoughts: list[Reasoning] = []
    place = 0
    for start, end, opaque in sorted(spans, key=lambda span: span[:2]):
        if not place <= start <= end <= len(text):
            thoughts.append(Reasoning("", opaque))
            continue
        if start > place:
            thoughts.append(Reasoning(text[place:start]))
        thoughts.append(Reasoning(text[start:end], opaque))
        place = end
    if place < len(text):
        thoughts.append(Reasoning(text[place:]))
    return thoughts


def _tool(fields: JsonFields) -> Tool:
    if (kind := fields.text("type")) not in {None, "function"}:
        raise fields.wrong("type", f"{kind!r} cannot be translated")
    function = _needed_object(fields, "function")
    return Tool(
        name=function.needed_text("name"),
        description=function.text("description"),
        schema=function.raw_object("parameters"),
        is_strict=function.flag("strict"),
        is_cached=_is_cached(fields),
        extras=_without_cache(fields.extras_within("function", function, NAME)),
    )


def _without_cache(extras: Extras | None) -> Extras | None:
    if extras is None:
        return None
    left = tuple(field for field in extras.fields if field[0] != "cache_control")
    return Extras(extras.dialect, left) if left else None


def _tool_choice(fields: JsonFields, more: list[tuple[str, bytes]]) -> ToolChoice | None:
    if not fields.has("tool_choice"):
        fields.drop("tool_choice")
        return None
    if fields.starts_with("tool_choice", b'"'):
        mode = _CHOICES.get(fields.needed_text("tool_choice"))
        if mode is None:
            raise fields.wrong("tool_choice", f"must be one of {', '.join(_CHOICES)}, or name a function")
        return ToolChoice(mode)
    choice = _needed_object(fields, "tool_choice")
    if choice.text("type") != "function":
        raise choice.wrong("type", "cannot be translated: only a function can be chosen")
    function = _needed_object(choice, "function")
    name = function.needed_text("name")
    more += choice.untaken("tool_choice") + function.untaken("tool_choice.function")
    return ToolChoice(ChoiceMode.NAMED, name)


def _format(fields: JsonFields, more: list[tuple[str, bytes]]) -> Format | None:
    told = fields.object("response_format")
    if told is None:
        return None
    match told.needed_text("type"):
        case "text":
            return None
        case "json_object":
            return Format()
        case "json_schema":
            schema = _needed_object(told, "json_schema")
            form = Format(
                schema=schema.raw_object("schema"),
                name=schema.text("name"),
                description=schema.text("description"),
                is_strict=schema.flag("strict"),
            )
            more += told.untaken("response_format") + schema.untaken("response_format.json_schema")
            return form
        case _:
            raise told.wrong("type", "must be text, json_object or json_schema")


def _thinking(fields: JsonFields, more: list[tuple[str, bytes]]) -> Thinking | None:
    effort = fields.text("reasoning_effort")
    shows = fields.flag("include_reasoning")
    told = fields.object("reasoning")
    if told is None:
        if effort is None and shows is None:
            return None
        return Thinking(is_on=effort != "none", effort=effort, is_shown=shows)
    effort = told.text("effort") or effort
    hides = told.flag("exclude")
    thinking = Thinking(
        is_on=told.flag("enabled") is not False and effort != "none",
        effort=effort,
        budget_tokens=told.integer("max_tokens"),
        is_shown=shows if hides is None else not hides,
    )
    more += told.untaken("reasoning")
    return thinking


def read_limit(keys: JsonFields) -> int | None:
    """The limit of the answer, under either of its names. Raises Problem where the two differ."""
    newer, older = keys.integer("max_completion_tokens"), keys.integer("max_tokens")
    for name, value in (("max_completion_tokens", newer), ("max_tokens", older)):
        if value is not None and value < 1:
            raise keys.wrong(name, "must be at least 1")
    if newer is not None and older is not None and newer != older:
        raise keys.wrong("max_tokens", "says another limit than `max_completion_tokens`: give one of them")
    return older if newer is None else newer
