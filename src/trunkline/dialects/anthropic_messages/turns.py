"""Messages -> Anthropic's system text and turns.

Turns of the same side are joined, a tool's results come first in the user's turn, and all system text stands before
the conversation: models before Opus 4.8 take it nowhere else.
Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-24).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import (
    Audio,
    Document,
    Extras,
    Image,
    Inline,
    Part,
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
from trunkline.dialects.anthropic_messages.words import NAME, input_of, thought_of, told_id

if TYPE_CHECKING:
    from trunkline.core.call import Media, Message

_EPHEMERAL: Final = {"type": "ephemeral"}


class Dropped:
    """The names of what could not be told, each once, in the order in which it was met."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """This was asked for and is not told."""
        self._names[name] = None

    def extras(self, extras: Extras | None) -> tuple[tuple[str, bytes], ...]:
        """The extras that are of this dialect; others are noted."""
        if extras is None:
            return ()
        if extras.dialect == NAME:
            return extras.fields
        for name, _ in extras.fields:
            self.add(name)
        return ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._names)


def marked(block: dict[str, Any], extras: Extras | None, dropped: Dropped, *, is_cached: bool) -> dict[str, Any]:
    """The block with its extras and its cache mark."""
    if is_cached:
        block["cache_control"] = _EPHEMERAL
    for name, raw in dropped.extras(extras):
        if name not in block or name in {"cache_control", "source"}:
            block[name] = msgspec.Raw(raw)
    return block


class _Turn:
    """One turn as it grows: a tool's results, and what comes after them."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.results: list[Any] = []
        self.rest: list[Any] = []
        self.extras: dict[str, msgspec.Raw] = {}

    def written(self) -> dict[str, Any]:
        return {**self.extras, "role": self.role, "content": self.results + self.rest}


class Conversation:
    """Messages -> the system text and the turns."""

    def __init__(self, dropped: Dropped) -> None:
        self._dropped = dropped
        self._system: list[Any] = []
        self._turns: list[_Turn] = []

    def write(self, messages: tuple[Message, ...]) -> tuple[list[Any], list[dict[str, Any]]]:
        """The blocks of the system text, and the turns. Raises Problem INVALID_REQUEST for what cannot be told."""
        for message in messages:
            if message.name is not None:
                self._dropped.add("name")
            if message.role is Role.SYSTEM:
                self._instruct(message)
            else:
                self._say(message)
        turns = [turn.written() for turn in self._turns if turn.results or turn.rest]
        if not turns:
            raise invalid("`messages` must hold at least one message that says something.", param="messages")
        return self._system, turns

    def _instruct(self, message: Message) -> None:
        if self._turns:
            self._dropped.add("system.position")
        self._dropped.extras(message.extras)
        for part in message.parts:
            if not isinstance(part, Text):
                raise invalid("A system message holds only text here.", param="messages")
            self._system += self._blocks(part)

    def _say(self, message: Message) -> None:
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        if not self._turns or self._turns[-1].role != role:
            self._turns.append(_Turn(role))
        turn = self._turns[-1]
        turn.extras |= {name: msgspec.Raw(raw) for name, raw in self._dropped.extras(message.extras)}
        for part in message.parts:
            if role == "assistant" and isinstance(part, Image | Document):
                raise invalid("An assistant's message cannot hold an image or a file here.", param="messages")
            (turn.results if isinstance(part, ToolResult) else turn.rest).extend(self._blocks(part))

    def _blocks(self, part: Part) -> list[Any]:
        """The block that tells a part; none where it cannot be told."""
        match part:
            case Text(text=text):
                return self._text(text, part)
            case Refusal(text=text):
                return self._text(text, None)
            case Reasoning():
                return self._thought(part)
            case Audio():
                raise invalid("This model takes no audio: send text, an image or a file.", param="messages")
            case _:
                return [self._marked(self._block(part), part)]

    def _block(self, part: Image | Document | ToolCall | ToolResult) -> dict[str, Any]:
        match part:
            case Image():
                if part.detail not in {None, "auto"}:
                    self._dropped.add("image.detail")
                return {"type": "image", "source": _source(part.media)}
            case Document():
                block: dict[str, Any] = {"type": "document", "source": _document_source(part.media)}
                return block if part.name is None else {**block, "title": part.name}
            case ToolCall():
                if part.opaque is not None:
                    self._dropped.add("tool_call.signature")
                block = {"type": "tool_use", "id": told_id(part.id), "name": part.name}
                return {**block, "input": input_of(part.arguments)}
            case ToolResult():
                return self._result(part)

    def _text(self, text: str, part: Text | None) -> list[Any]:
        """Text without a word in it is refused upstream, and says nothing."""
        if not text.strip():
            if text:
                self._dropped.add("text.blank")
            return []
        block = {"type": "text", "text": text}
        return [block if part is None else self._marked(block, part)]

    def _marked(self, block: dict[str, Any], part: Text | Image | Document | ToolCall | ToolResult) -> dict[str, Any]:
        return marked(block, part.extras, self._dropped, is_cached=part.is_cached)

    def _result(self, result: ToolResult) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": told_id(result.call_id)}
        content = [block for part in result.parts for block in self._blocks(part)]
        if content:
            block["content"] = content
        if result.is_error:
            block["is_error"] = True
        return block

    def _thought(self, thought: Reasoning) -> list[Any]:
        """The block exactly as the model gave it. Without that proof a thought is refused."""
        self._dropped.extras(None if thought.extras and thought.extras.dialect == NAME else thought.extras)
        if thought.opaque is None or thought_of(thought.opaque) is None:
            self._dropped.add("reasoning")
            return []
        return [msgspec.Raw(thought.opaque.raw)]


def _source(media: Media) -> dict[str, str]:
    match media:
        case Url(url=url):
            return {"type": "url", "url": url}
        case Inline(media_type=media_type, data=data):
            return {"type": "base64", "media_type": media_type, "data": data}
        case Stored():
            what = "A file that a provider keeps for its account cannot be sent through this router."
            raise invalid(what, param="file_id")


def _document_source(media: Media) -> dict[str, str]:
    """A PDF goes as it is, plain text as text; other files this dialect does not take."""
    if not isinstance(media, Inline) or media.media_type == "application/pdf":
        return _source(media)
    if media.media_type.partition(";")[0].strip() == "text/plain":
        try:
            words = b64decode(media.data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise invalid("A text file must be base64 of UTF-8.", param="messages") from None
        return {"type": "text", "media_type": "text/plain", "data": words}
    raise invalid(f"A file must be a PDF or plain text here, not {media.media_type[:100]!r}.", param="messages")
