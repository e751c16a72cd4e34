"""Messages of the hub -> `messages` of a chat completion.

A block that has no place in its message gets the nearest one that models read in the same way: a tool's result its
own message, a picture in a tool's result a user message after the results. What has none is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trunkline.core.call import (
    Audio,
    Document,
    Image,
    Inline,
    Message,
    Reasoning,
    Refusal,
    Role,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Url,
)
from trunkline.core.problem import invalid
from trunkline.dialects.openai_chat.call import is_ours
from trunkline.dialects.openai_chat.wire import NAME, entries, put

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.core.call import Extras, Media, Opaque, Part
    from trunkline.core.catalog import Quirks

EPHEMERAL = msgspec.Raw(b'{"type":"ephemeral"}')


class MessageWriter:
    """Writes the messages of one call. `dropped` names what was left out, possibly more than once."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._written: list[dict[str, Any]] = []
        self._late: list[dict[str, Any]] = []
        self._waiting: set[str] = set()
        self._row_end = 0
        self.dropped: list[str] = []

    def write(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """All of them, in order. Raises Problem INVALID_REQUEST for a block that its place cannot hold."""
        for message in messages:
            if message.role is Role.ASSISTANT:
                self._show_late()
                self._written.append(self._assistant(message))
                self._waiting = {part.id for part in message.parts if isinstance(part, ToolCall)}
                self._row_end = len(self._written)
            else:
                self._said_to_the_model(message)
        self._show_late()
        return self._written

    def _said_to_the_model(self, message: Message) -> None:
        parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                self._turn(message, parts)
                parts = []
                self._tool_result(part, message)
            else:
                parts.append(part)
        self._turn(message, parts)

    def _turn(self, message: Message, parts: list[Part]) -> None:
        if not parts and message.parts:
            return
        if message.role is Role.TOOL and parts:
            raise invalid("A tool's message holds its result and nothing else.", param="messages")
        self._show_late()
        written: dict[str, Any] = {"role": message.role.value, "content": self._content(parts, message.role)}
        self._finish(written, message)

    def _finish(self, written: dict[str, Any], message: Message) -> None:
        if message.name is not None:
            written["name"] = message.name
        self._extras(written, message.extras)
        self._written.append(written)

    def _show_late(self) -> None:
        """A user message with the pictures of the tool results before it: these must stand in one row."""
        if self._late:
            self._written.append({"role": "user", "content": self._late})
            self._late = []

    def _tool_result(self, result: ToolResult, message: Message) -> None:
        shown: list[Part] = [part for part in result.parts if isinstance(part, Text)]
        content = self._content(shown, Role.TOOL)
        self._late += [self._part(part, Role.USER) for part in result.parts if not isinstance(part, Text)]
        if result.is_cached and self._takes_cache():
            marked: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
            if marked:
                marked[-1]["cache_control"] = EPHEMERAL
            content = marked
        written: dict[str, Any] = {"role": "tool", "tool_call_id": result.call_id, "content": content}
        if result.name is not None:
            written["name"] = result.name
        if result.is_error:
            self.dropped.append("tool_result.is_error")
        self._extras(written, result.extras)
        if message.role is Role.TOOL:
            self._extras(written, message.extras)
        self._answer(result.call_id, written)

    def _answer(self, call_id: str, written: dict[str, Any]) -> None:
        """A tool's result in the row right after the call, where alone it may stand, whatever was said before it."""
        if call_id not in self._waiting:
            self._written.append(written)
            return
        self._waiting.remove(call_id)
        self._written.insert(self._row_end, written)
        self._row_end += 1

    def _content(self, parts: list[Part], role: Role) -> str | list[dict[str, Any]]:
        """One string where that says it all: more servers take it. Instructions and results are a line each."""
        if all(isinstance(part, Text) and not self._is_marked(part) for part in parts):
            between = "\n" if role in {Role.SYSTEM, Role.TOOL} else ""
            return between.join(part.text for part in parts if isinstance(part, Text))
        return [self._part(part, role) for part in parts]

    def _is_marked(self, part: Text) -> bool:
        if part.extras is not None and part.extras.dialect == NAME:
            return True
        if part.extras is not None:
            self._extras({}, part.extras)
        return part.is_cached and self._takes_cache()

    def _takes_cache(self) -> bool:
        if not self._quirks.takes_cache_control:
            self.dropped.append("cache_control")
        return self._quirks.takes_cache_control

    def _part(self, part: Part, role: Role) -> dict[str, Any]:
        written: dict[str, Any]
        match part:
            case Text(text=text, is_cached=is_cached):
                written = {"type": "text", "text": text}
            case Image(media=media, detail=detail, is_cached=is_cached) if role is Role.USER:
                image: dict[str, Any] = {"url": _address(media, "image")}
                if detail is not None:
                    image["detail"] = detail
                written = {"type": "image_url", "image_url": image}
            case Document(media=media, name=name, is_cached=is_cached) if role is Role.USER:
                file: dict[str, Any] = {"file_data": _address(media, "document")}
                if name is not None:
                    file["filename"] = name
                written = {"type": "file", "file": file}
            case Audio(data=data, format=form) if role is Role.USER:
                is_cached = False
                written = {"type": "input_audio", "input_audio": {"data": data, "format": form}}
            case _:
                kind = type(part).__name__.lower()
                raise invalid(f"A message of the {role.value} role cannot hold this: {kind}.", param="messages")
        self._extras(written, part.extras)
        if is_cached and "cache_control" not in written and self._takes_cache():
            written["cache_control"] = EPHEMERAL
        return written

    def _assistant(self, message: Message) -> dict[str, Any]:
        said: list[Part] = []
        calls: list[dict[str, Any]] = []
        thoughts: list[Reasoning] = []
        refusals: list[str] = []
        proofs: list[msgspec.Raw | dict[str, msgspec.Raw]] = []
        for part in message.parts:
            match part:
                case ToolCall():
                    calls.append(self._call(part, proofs))
                case Reasoning():
                    thoughts.append(part)
                    self._proof(part.opaque, proofs)
                case Refusal(text=text):
                    refusals.append(text)
                case _:
                    said.append(part)
        written: dict[str, Any] = {"role": "assistant"}
        written["content"] = self._content(said, Role.ASSISTANT) if said else None
        if refusals:
            written["refusal"] = "".join(refusals)
        elif not said and not calls:
            written["content"] = ""
        if calls:
            written["tool_calls"] = calls
        self._thoughts(written, thoughts, proofs)
        if message.name is not None:
            written["name"] = message.name
        self._extras(written, message.extras)
        return written

    def _thoughts(self, written: dict[str, Any], thoughts: list[Reasoning], proofs: list[Any]) -> None:
        text = "".join(thought.text for thought in thoughts)
        key = self._quirks.reasoning_echo_key
        if text and key:
            written[key] = text
        elif text:
            self.dropped.append("reasoning")
        if proofs and key:
            written["reasoning_details"] = proofs
        elif proofs:
            self.dropped.append("reasoning.signature")
        for thought in thoughts:
            self._extras({}, thought.extras)

    def _proof(self, opaque: Opaque | None, proofs: list[Any]) -> None:
        if opaque is None:
            return
        if opaque.dialect == NAME:
            proofs += entries(opaque.raw)
        else:
            self.dropped.append("reasoning.signature")

    def _call(self, call: ToolCall, proofs: list[Any]) -> dict[str, Any]:
        written: dict[str, Any] = {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        if call.opaque is not None:
            if call.opaque.dialect != NAME:
                self.dropped.append("tool_call.signature")
            elif call.opaque.raw.startswith(b"["):
                proofs += entries(call.opaque.raw)
            else:
                written["extra_content"] = msgspec.Raw(call.opaque.raw)
        if call.is_cached:
            self.dropped.append("cache_control")
        self._extras(written, call.extras)
        return written

    def _extras(self, written: dict[str, Any], extras: Extras | None) -> None:
        if extras is None:
            return
        for name, raw in extras.fields:
            if extras.dialect == NAME and name == "cache_control" and not self._takes_cache():
                continue
            if extras.dialect != NAME or not put(written, name, raw):
                self.dropped.append(name)


def _address(media: Media, what: str) -> str:
    match media:
        case Url(url=url):
            return url
        case Inline(media_type=media_type, data=data):
            return f"data:{media_type};base64,{data}"
        case Stored():
            raise invalid(f"A {what} that another provider stores cannot be sent here.", param="messages")


_MESSAGES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def without_foreign_proofs(messages: bytes) -> bytes | None:
    """Raw messages less the proofs of other dialects that the client echoes; None where there are none."""
    try:
        told = _MESSAGES.decode(messages)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    is_changed = False
    for message in told:
        given = entries(message.get("reasoning_details", b""))
        own = [entry for entry in given if not is_ours(entry)]
        if len(own) == len(given):
            continue
        is_changed = True
        del message["reasoning_details"]
        if own:
            message["reasoning_details"] = msgspec.Raw(msgspec.json.encode(own))
    return msgspec.json.encode(told) if is_changed else None
