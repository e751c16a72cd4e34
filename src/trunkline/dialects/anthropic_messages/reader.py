"""Anthropic's stream of a message becomes events.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming (read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.reply import BlockKind, Delta, End, Event, Finish, Head, Start
from trunkline.dialects.anthropic_messages.answer import (
    ContentBlock,
    Counts,
    Message,
    arguments_of,
    placed,
    proof,
    read_block,
    read_citation,
    read_citations,
    read_counts,
    read_error_object,
)
from trunkline.dialects.anthropic_messages.words import UNREADABLE, finish_of, prove
from trunkline.dialects.opaque import NONE
from trunkline.dialects.upstream_error import cut_short, invalid_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.core.call import Opaque
    from trunkline.core.catalog import Target
    from trunkline.core.reply import Citation
    from trunkline.dialects.sse import Frame

MAX_PROVEN_CHARACTERS: Final = 4_000_000
"""How much of a thought is kept for its proof; a longer one goes on without."""


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    citation: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    type: str
    index: int | None = None
    delta: _Delta | None = None
    content_block: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    error: Any = None


class _Typed(msgspec.Struct):
    type: str


class _Unread(msgspec.Struct):
    """An event whose delta is of a type that nobody here knows, whatever else it holds."""

    type: str
    delta: _Typed


_EVENT = msgspec.json.Decoder(_Event)
_TYPED = msgspec.json.Decoder(_Typed)
_UNREAD = msgspec.json.Decoder(_Unread)
_MESSAGE = msgspec.json.Decoder(Message)

_NOTHING: Final = _Event("ping")
_KNOWN: Final = frozenset({"message_start", "content_block_start", "content_block_delta", "content_block_stop"}) | {
    "message_delta",
    "message_stop",
    "error",
}
_BLOCKS: Final[Mapping[str, BlockKind]] = {
    "text": BlockKind.TEXT,
    "thinking": BlockKind.REASONING,
    "redacted_thinking": BlockKind.REASONING,
    "tool_use": BlockKind.TOOL_CALL,
}
_DELTAS: Final[Mapping[str, BlockKind]] = {
    "text_delta": BlockKind.TEXT,
    "input_json_delta": BlockKind.TOOL_CALL,
    "thinking_delta": BlockKind.REASONING,
    "signature_delta": BlockKind.REASONING,
}


class Reader:
    """Frames -> events, for one stream. Blocks that only this dialect knows are passed over."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._head_sent = False
        self._counts = Counts()
        self._wire_index: int | None = None
        self._kind: BlockKind | None = None
        self._index = -1
        self._is_empty = True
        self._said = 0
        self._citations: list[Citation] = []
        self._begun = ContentBlock("")
        self._proof: Opaque | None = None
        self._signature = ""
        self._thought: list[str] = []
        self._thought_size = 0
        self._finish: Finish | None = None
        self.is_done = False

    @property
    def is_finished(self) -> bool:
        """Whether the answer is whole; only usage can still follow."""
        return self._finish is not None

    def read(self, frame: Frame) -> Sequence[Event]:
        """The events of one frame. Raises Problem for an error event and for what is not of this dialect."""
        data = frame.data
        if not data or data.startswith(b":") or data == b"[DONE]":
            return ()  # a keep-alive in a data line, or another dialect's last word: imitators send both
        event = self._decoded(data)
        if event.type == "error" or event.error is not None:
            raise read_error_object(self._target, 200, {}, event.error)
        events: list[Event] = []
        match event.type:
            case "content_block_delta":
                self._delta(event, events)
            case "content_block_start":
                self._start(event, events)
            case "content_block_stop":
                self._stop(event, events)
            case "message_delta":
                self._message_delta(event, events)
            case "message_start":
                self._message_start(event, events)
            case "message_stop":
                self.is_done = True
            case _:
                pass  # a ping, or what was invented later
        return events

    def close(self) -> Sequence[Event]:
        """The finish, once nothing can follow it. Raises Problem TRUNCATED without one."""
        if self._finish is None:
            raise cut_short(self._target, "stream ended without a stop reason")
        return (self._finish,)

    def _decoded(self, data: bytes) -> _Event:
        try:
            return _EVENT.decode(data)
        except UNREADABLE as error:
            if self._is_unknown(data):
                return _NOTHING
            raise invalid_answer(self._target, "an event that is not of a message") from error

    @staticmethod
    def _is_unknown(data: bytes) -> bool:
        """Whether it is an event, or a delta, of a type that was invented later: those pass."""
        try:
            if _TYPED.decode(data).type not in _KNOWN:
                return True
            event = _UNREAD.decode(data)
        except UNREADABLE:
            return False
        return event.type == "content_block_delta" and event.delta.type not in _DELTAS

    def _message_start(self, event: _Event, events: list[Event]) -> None:
        try:
            message = _MESSAGE.decode(event.message)
        except UNREADABLE as error:
            raise invalid_answer(self._target, "a message that cannot be read") from error
        if not self._head_sent:
            self._head_sent = True
            events.append(Head(id=message.id, model=message.model))
        if (counts := read_counts(message.usage)) is not None:
            self._counts = counts.at_start().over(self._counts)
            if (usage := self._counts.usage()) is not None:
                events.append(usage)

    def _start(self, event: _Event, events: list[Event]) -> None:
        if event.index is None or self._finish is not None:
            raise invalid_answer(self._target, "a content block where none can be")
        self._end(events)
        block = self._begun = read_block(event.content_block, self._target)
        self._wire_index = event.index
        kind = self._kind = _BLOCKS.get(block.type)
        if kind is None:
            return
        self._index += 1
        self._is_empty = True
        self._said = 0
        self._citations = list(read_citations(block.citations, 0))
        self._proof = proof(event.content_block) if block.type == "redacted_thinking" else None
        self._signature = block.signature
        self._thought = []
        self._thought_size = 0
        is_call = kind is BlockKind.TOOL_CALL
        events.append(Start(self._index, kind, block.id, block.name) if is_call else Start(self._index, kind))
        if block.type == "text":
            self._text(block.text, events)
        elif block.type == "thinking":
            self._think(block.thinking, events)

    def _stop(self, event: _Event, events: list[Event]) -> None:
        if event.index == self._wire_index:
            self._end(events)

    def _delta(self, event: _Event, events: list[Event]) -> None:
        delta = event.delta
        if delta is None or event.index is None or event.index != self._wire_index:
            raise invalid_answer(self._target, "a delta of a content block that is not open")
        kind = _DELTAS.get(delta.type)
        if kind is None or self._kind is None:
            if self._kind is BlockKind.TEXT and (citation := read_citation(delta.citation)) is not None:
                self._citations.append(citation)
            return  # the blocks that are passed over, and what was invented later
        if kind is not self._kind:
            raise invalid_answer(self._target, "a delta of another kind than its content block")
        if kind is BlockKind.TEXT:
            self._text(delta.text, events)
        elif kind is BlockKind.TOOL_CALL:
            self._text(delta.partial_json, events)
        elif delta.type == "signature_delta":
            self._signature += delta.signature
        else:
            self._think(delta.thinking, events)

    def _text(self, text: str, events: list[Event]) -> None:
        if text:
            self._is_empty = False
            self._said += len(text)
            events.append(Delta(self._index, text))

    def _think(self, text: str, events: list[Event]) -> None:
        self._text(text, events)
        self._thought_size += len(text)
        if self._thought_size <= MAX_PROVEN_CHARACTERS:
            self._thought.append(text)

    def _end(self, events: list[Event]) -> None:
        """Close the block that is open, if one is."""
        kind, self._kind, self._wire_index = self._kind, None, None
        if kind is None:
            return
        if kind is BlockKind.TOOL_CALL and self._is_empty:
            # Arguments may come whole at the start, and a tool without any still gets an object.
            events.append(Delta(self._index, arguments_of(self._begun, self._target)))
        if self._signature not in {"", NONE} and self._thought_size <= MAX_PROVEN_CHARACTERS:
            self._proof = prove("".join(self._thought), self._signature)
        events.append(End(self._index, self._proof, placed(self._citations, self._said)))
        self._proof, self._signature, self._thought = None, "", []

    def _message_delta(self, event: _Event, events: list[Event]) -> None:
        if (counts := read_counts(event.usage)) is not None:
            self._counts = counts.over(self._counts)
        delta = event.delta
        if delta is not None and delta.stop_reason and self._finish is None:
            self._end(events)
            self._finish = finish_of(delta.stop_reason, delta.stop_sequence)
        if counts is not None and (usage := self._counts.usage()) is not None:
            events.append(usage)
