"""A responses request -> Call. Items become messages: what the assistant said, thought and called in a row is one.

Source: https://platform.openai.com/docs/api-reference/responses/create (openai-python 3.54.0, 2026-11-24).
"""

from __future__ import annotations

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
from trunkline.dialects.opaque import PREFIX, unwrap
from trunkline.dialects.openai_responses.state import STATE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "openai_responses"

CALL_PREFIX: Final = PREFIX + "call."
"""A wrapped continuation that belongs to the tool call before it, not to a thought."""

BETWEEN_PARTS: Final = "\n\n"
"""What stands between the parts of a reasoning summary, once they are one text."""

LOGPROBS: Final = "message.output_text.logprobs"
ENCRYPTED: Final = "reasoning.encrypted_content"

_ROLES: Final[Mapping[str, Role]] = {
    "user": Role.USER,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "assistant": Role.ASSISTANT,
}
_CHOICES: Final[Mapping[str, ChoiceMode]] = {
    "auto": ChoiceMode.AUTO,
    "none": ChoiceMode.NONE,
    "required": ChoiceMode.REQUIRED,
}


def read_call(body: bytes) -> Call:
    """The whole request. Raises Problem INVALID_REQUEST naming the field."""
    fields = JsonFields(top_level(body))
    fields.drop("model", "store", *PLANNED, *STATE_FIELDS)
    messages = _messages(fields)
    tools = tuple(_tool(tool) for tool in fields.objects("tools"))
    more: list[tuple[str, bytes]] = []
    includes = fields.texts("include")
    others = [name for name in includes if name not in {LOGPROBS, ENCRYPTED}]
    if others:
        more.append(("include", msgspec.json.encode(others)))
    if fields.has("truncation") and fields.text("truncation") != "disabled":
        raise fields.wrong("truncation", "can only be `disabled` here: give the conversation that the model shall see")
    user, safety = fields.text("user"), fields.text("safety_identifier")
    if safety is not None:
        more.append(("safety_identifier", msgspec.json.encode(safety)))
    fields.drop("truncation")
    stream = fields.flag("stream") or False
    return Call(
        messages=messages,
        temperature=fields.number("temperature"),
        max_tokens=fields.integer("max_output_tokens", 1),
        stream=stream,
        top_p=fields.number("top_p"),
        logprobs=True if LOGPROBS in includes else None,
        top_logprobs=fields.integer("top_logprobs", 0),
        tools=tools,
        tool_choice=_tool_choice(fields),
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        format=_format(fields, more),
        thinking=_thinking(fields, more),
        user=safety if user is None else user,
        metadata=fields.raw_object("metadata"),
        service_tier=fields.text("service_tier"),
        extras=fields.extras(NAME, more),
    )


def _messages(fields: JsonFields) -> tuple[Message, ...]:
    conversation = _Conversation()
    instructions = fields.text("instructions")
    if instructions is not None:
        conversation.say(Message(Role.SYSTEM, (Text(instructions),)))
    if not fields.has("input"):
        raise fields.wrong("input", "is missing: give the prompt as a string or a list of items")
    if fields.starts_with("input", b'"'):
        conversation.say(Message(Role.USER, (Text(fields.needed_text("input")),)))
    elif fields.starts_with("input", b"["):
        for item in fields.objects("input"):
            _item(item, conversation)
    else:
        raise fields.wrong("input", "must be a string or a list of items")
    messages = conversation.messages()
    if not messages:
        raise fields.wrong("input", "must not be empty")
    return messages


class _Conversation:
    """The messages so far. The assistant's items in a row are one message, as long as their extras agree."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._parts: list[Part] = []
        self._extras: Extras | None = None

    def say(self, message: Message) -> None:
        """A message of its own."""
        self._flush()
        self._messages.append(message)

    def continue_turn(self, parts: tuple[Part, ...], extras: Extras | None = None) -> None:
        """More of what the assistant says, thinks and calls."""
        if extras is not None:
            if self._extras is not None and self._extras != extras:
                self._flush()
            self._extras = extras
        self._parts += parts

    def prove_call(self, opaque: Opaque) -> None:
        """The continuation of the tool call that came last; without one it proves nothing."""
        if self._parts and isinstance(last := self._parts[-1], ToolCall):
            self._parts[-1] = msgspec.structs.replace(last, opaque=opaque)

    def messages(self) -> tuple[Message, ...]:
        """All of them."""
        self._flush()
        return tuple(self._messages)

    def _flush(self) -> None:
        if self._parts:
            self._messages.append(Message(Role.ASSISTANT, tuple(self._parts), extras=self._extras))
        self._parts, self._extras = [], None


def _item(item: JsonFields, conversation: _Conversation) -> None:
    kind = item.text("type")
    if kind == "message" or (kind is None and item.has("role")):
        _message(item, conversation)
    elif kind == "function_call":
        item.drop("id", "status")
        call = ToolCall(
            id=item.needed_text("call_id"),
            name=item.needed_text("name"),
            arguments=item.needed_text("arguments"),
        )
        conversation.continue_turn((msgspec.structs.replace(call, extras=item.extras(NAME)),))
    elif kind == "function_call_output":
        item.drop("id", "status")
        result = ToolResult(call_id=item.needed_text("call_id"), name=item.text("name"), parts=_output(item))
        conversation.say(Message(Role.TOOL, (msgspec.structs.replace(result, extras=item.extras(NAME)),)))
    elif kind == "reasoning":
        _reasoning(item, conversation)
    elif kind is None or kind == "item_reference":
        raise item.wrong("type" if kind else "id", "names an item that the provider keeps: send the item itself")
    else:
        raise item.wrong("type", f"{kind[:60]!r} is known to OpenAI alone: this model cannot be told of it")


def _output(item: JsonFields) -> tuple[Text | Image | Document, ...]:
    parts: list[Text | Image | Document] = []
    for part in _content(item, "output"):
        if not isinstance(part, Text | Image | Document):
            raise item.wrong("output", "may hold text, images and files")
        parts.append(part)
    return tuple(parts)


def _message(item: JsonFields, conversation: _Conversation) -> None:
    role = _ROLES.get(item.needed_text("role"))
    if role is None:
        raise item.wrong("role", "must be user, assistant, system or developer")
    item.drop("id", "status")
    parts = _content(item, "content")
    if role is Role.ASSISTANT:
        conversation.continue_turn(parts, item.extras(NAME))
    else:
        conversation.say(Message(role, parts, extras=item.extras(NAME)))


def _reasoning(item: JsonFields, conversation: _Conversation) -> None:
    item.drop("id", "status")
    texts = [part.needed_text("text") for name in ("summary", "content") for part in item.objects(name)]
    proof = item.text("encrypted_content") or None
    raw = item.raw("encrypted_content")
    opaque: Opaque | None = None
    if proof is not None and raw is not None:
        if proof.startswith(CALL_PREFIX):
            if (opaque := unwrap(PREFIX + proof[len(CALL_PREFIX) :])) is not None:
                conversation.prove_call(opaque)
            return
        opaque = unwrap(proof) or Opaque(NAME, raw)
    text = BETWEEN_PARTS.join(texts)
    if text or opaque is not None:
        conversation.continue_turn((Reasoning(text, opaque, extras=item.extras(NAME)),))


def _content(item: JsonFields, name: str) -> tuple[Part, ...]:
    if item.starts_with(name, b'"'):
        return (Text(item.needed_text(name)),)
    if not item.starts_with(name, b"["):
        raise item.wrong(name, "must be a string or a list of parts")
    return tuple(_part(part) for part in item.objects(name))


def _part(part: JsonFields) -> Part:
    kind = part.needed_text("type")
    is_cached = part.has("prompt_cache_breakpoint")
    if part.has("file_id"):
        raise part.wrong("file_id", "names a file that the provider keeps: send the file itself")
    match kind:
        case "input_text" | "output_text" | "text":
            _drop_empty(part, "annotations", "logprobs")
            return Text(part.needed_text("text"), is_cached, part.extras(NAME))
        case "refusal":
            return Refusal(part.needed_text("refusal"))
        case "input_image":
            url, detail = part.needed_text("image_url"), part.text("detail")
            return Image(_inline(part, "image_url", url) or Url(url), detail, is_cached, part.extras(NAME))
        case "input_file":
            name = part.text("filename")
            return Document(_file(part), name, is_cached, part.extras(NAME))
        case "input_audio":
            sound = part.object("input_audio")
            if sound is None:
                raise part.wrong("input_audio", "is missing")
            return Audio(sound.needed_text("data"), sound.needed_text("format"), part.extras(NAME))
        case _:
            raise part.wrong("type", f"{kind[:60]!r} is not a kind of content that is known here")


def _drop_empty(part: JsonFields, *names: str) -> None:
    for name in names:
        if part.starts_with(name, b"[]"):
            part.drop(name)


def _inline(part: JsonFields, name: str, url: str) -> Inline | None:
    """The media of a `data:` URL; None for another URL."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[len("data:") :].partition(",")
    media_type, semicolon, coding = head.rpartition(";")
    if not comma or not semicolon or coding != "base64":
        raise part.wrong(name, "must be an https URL or `data:<type>;base64,<data>`")
    return Inline(media_type.partition(";")[0], data)


def _file(part: JsonFields) -> Inline | Url:
    data, url = part.text("file_data"), part.text("file_url")
    if data is not None:
        return _inline(part, "file_data", data) or Inline("application/pdf", data)
    if url is not None:
        return Url(url)
    raise part.wrong("file_data", "is missing: give the file as `file_data` or `file_url`")


def _tool(tool: JsonFields) -> Tool:
    kind = tool.needed_text("type")
    if kind != "function":
        raise tool.wrong("type", f"{kind[:60]!r} is a tool of OpenAI's own: this model knows only functions")
    read = Tool(
        name=tool.needed_text("name"),
        description=tool.text("description"),
        schema=tool.raw_object("parameters"),
        is_strict=tool.flag("strict"),
    )
    return msgspec.structs.replace(read, extras=tool.extras(NAME))


def _tool_choice(fields: JsonFields) -> ToolChoice | None:
    if not fields.starts_with("tool_choice", b"{"):
        word = fields.text("tool_choice")
        if word is None:
            return None
        if word not in _CHOICES:
            raise fields.wrong("tool_choice", "must be auto, none, required or a function's name in an object")
        return ToolChoice(_CHOICES[word])
    choice = fields.object("tool_choice")
    assert choice is not None  # noqa: S101 - it starts with a brace
    kind = choice.needed_text("type")
    if kind != "function":
        raise choice.wrong("type", f"{kind[:60]!r} is known to OpenAI alone: name a `function`")
    return ToolChoice(ChoiceMode.NAMED, choice.needed_text("name"))


def _format(fields: JsonFields, more: list[tuple[str, bytes]]) -> Format | None:
    text = fields.object("text")
    if text is None:
        return None
    wanted = text.object("format")
    more += text.untaken("text")
    kind = wanted.needed_text("type") if wanted is not None else "text"
    if wanted is None or kind == "text":
        return None
    if kind == "json_object":
        return Format()
    if kind != "json_schema":
        raise wanted.wrong("type", "must be text, json_object or json_schema")
    schema = wanted.raw_object("schema")
    if schema is None:
        raise wanted.wrong("schema", "is missing")
    return Format(
        schema=schema,
        name=wanted.needed_text("name"),
        description=wanted.text("description"),
        is_strict=wanted.flag("strict"),
    )


def _thinking(fields: JsonFields, more: list[tuple[str, bytes]]) -> Thinking | None:
    reasoning = fields.object("reasoning")
    if reasoning is None:
        return None
    effort = reasoning.text("effort")
    summary = reasoning.text("summary")
    if summary not in {None, "auto"}:
        more.append(("reasoning.summary", msgspec.json.encode(summary)))
    more += reasoning.untaken("reasoning")
    if effort == "none":
        return Thinking(is_on=False)
    if effort is None and summary is None:
        return None
    return Thinking(effort=effort, is_shown=True if summary is not None else None)
