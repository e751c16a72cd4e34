"""OpenAI's stream of responses becomes events.

Source: https://platform.openai.com/docs/api-reference/responses-streaming (openai-python 3.54.0, 2026-11-24). Servers
differ: some leave the indexes out, some the deltas, some say `done` of an item after the next one has begun, some send
several calls in turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from trunkline.core.reply import BlockKind, Delta, End, Event, Finish, Head, Start
from trunkline.dialects.openai_responses.answer import (
    CALLS,
    PARTS,
    UNREADABLE,
    Item,
    Response,
    proof,
    read_blocks,
    read_finish,
    read_item,
    read_part,
    read_usage,
    response_error,
    stream_error,
    thought_text,
)
from trunkline.dialects.openai_responses.call import BETWEEN_PARTS
from trunkline.dialects.token_logprobs import read_tokens
from trunkline.dialects.tool_arguments import MAX_WAITING_BYTES, ToolArguments
from trunkline.dialects.upstream_error import cut_short, invalid_answer
from trunkline.dialects.url_citations import read_citation, read_citations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trunkline.core.call import Opaque
    from trunkline.core.catalog import Target
    from trunkline.core.reply import Citation
    from trunkline.dialects.sse import Frame

_ERRORS: Final = frozenset({"error", "response.error"})
_INCOMPLETE_EVENT: Final = "response.incomplete"
_OF_CALLS: Final = frozenset(
    {
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
    }
)


class _Event(msgspec.Struct):
    """Any event of the stream: those with text first, as they are the most."""

    type: str | None = None
    delta: str | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw()
    part: msgspec.Raw = msgspec.Raw()
    annotation: msgspec.Raw = msgspec.Raw()
    item: msgspec.Raw = msgspec.Raw()
    response: Response | None = None
    error: Any = None


class _Typed(msgspec.Struct):
    type: str | None = None
    error: Any = None


_NOTHING: Final = msgspec.Raw()
_EVENT = msgspec.json.Decoder(_Event)
_TYPED = msgspec.json.Decoder(_Typed)

_Names = tuple[int | str | None, ...]
"""What an item is called: by its index, its id, its call id, as far as they are told."""

_Key = tuple[int | str, BlockKind, int]
"""A block by its item (by index, id or call id), its kind, and its place in the item."""


class Reader:
    """Frames -> events. Owns which block of which item is which of the hub's, and which one is open."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._head_sent = False
        self._blocks: dict[_Key, int] = {}
        self._index = -1
        self._open: BlockKind | None = None
        self._has_text = False
        self._part = 0
        self._citations: list[Citation] = []
        self._has_calls = False
        self._cut: set[int] = set()
        self._arguments: ToolArguments | None = None
        self._waiting: list[_Event] = []
        self._waiting_bytes = 0
        self._finish: Finish | None = None
        self.is_done = False

    @property
    def is_finished(self) -> bool:
        """Whether the answer is whole."""
        return self._finish is not None

    def read(self, frame: Frame) -> Sequence[Event]:
        """The events of one frame; none for events that are not known here.

        Raises Problem for a failed response, an error, and for what is no event of this dialect.
        """
        data = frame.data
        if self._finish is not None:
            return ()  # the answer is whole, whatever is said after it
        if data == b"[DONE]":
            self.is_done = True
            return ()
        if not data or data.startswith(b":"):
            return ()  # a keep-alive that somebody put into a data line
        try:
            event = _EVENT.decode(data)
        except UNREADABLE as error:
            return self._unread(data, error)
        handle = self._handlers.get(event.type or "")
        if handle is not None:
            events: list[Event] = []
            if self._must_wait(event):
                self._wait(event, len(data), events)
            else:
                handle(self, event, events)
            if self._waiting:
                self._tell_waiting(events)
            return events
        if event.error is not None or event.type in _ERRORS:
            raise stream_error(self._target, data)
        if event.type is None:
            raise invalid_answer(self._target, "an event without a type")
        return ()

    def close(self) -> Sequence[Event]:
        """The finish. Raises Problem TRUNCATED without one."""
        if self._finish is None:
            raise cut_short(self._target, "stream ended without a final response")
        return (self._finish,)

    def _unread(self, data: bytes, error: Exception) -> Sequence[Event]:
        """What is not as it should be: harmless where nobody here reads it."""
        try:
            typed = _TYPED.decode(data)
        except UNREADABLE:
            raise invalid_answer(self._target, "an event that is not of the responses API") from error
        if typed.error is not None or typed.type in _ERRORS:
            raise stream_error(self._target, data)
        if typed.type is None or typed.type in self._handlers:
            raise invalid_answer(self._target, "an event that is not of the responses API") from error
        return ()

    # Calls are told one after the other: what comes of other items before one is whole waits.

    def _must_wait(self, event: _Event) -> bool:
        if event.response is not None or not (self._waiting or self._call_goes_on):
            return False
        return not self._is_of_open_call(event)

    @property
    def _call_goes_on(self) -> bool:
        return self._open is BlockKind.TOOL_CALL and self._arguments is not None and self._arguments.may_go_on

    def _is_of_open_call(self, event: _Event) -> bool:
        if self._open is not BlockKind.TOOL_CALL:
            return False
        if event.item:
            item = read_item(event.item, self._target)
            return self._lookup((event.output_index, item.id, item.call_id), self._open, 0) == self._index
        if event.output_index is None and event.item_id is None:
            return event.type in _OF_CALLS
        return self._find(event, self._open, 0) == self._index

    def _wait(self, event: _Event, size: int, events: list[Event]) -> None:
        self._waiting.append(event)
        self._waiting_bytes += size
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._cut.add(self._index)
            self._end(events)

    def _tell_waiting(self, events: list[Event]) -> None:
        """What has waited, as far as it need not wait any more."""
        while self._waiting and not self._call_goes_on:
            waiting, self._waiting = self._waiting, []
            for event in waiting:
                if self._must_wait(event):
                    self._waiting.append(event)
                else:
                    self._handlers[event.type or ""](self, event, events)
        if not self._waiting:
            self._waiting_bytes = 0

    def _begun(self, event: _Event, events: list[Event]) -> None:
        response = event.response
        if not self._head_sent and response is not None and (response.id or response.model):
            self._head_sent = True
            events.append(Head(id=response.id, model=response.model))

    def _item_added(self, event: _Event, events: list[Event]) -> None:
        if not event.item:
            return
        item = read_item(event.item, self._target)
        if item.type == "reasoning":
            self._start(BlockKind.REASONING, (event.output_index, item.id), 0, events)
        elif item.type in CALLS:
            self._start_call(event, item, events)

    def _start_call(self, event: _Event, item: Item, events: list[Event]) -> None:
        call_id, name = item.call_id or item.id, item.name
        if not call_id or not name:
            raise invalid_answer(self._target, "a function call without an id or a name")
        self._has_calls = True
        names = (event.output_index, item.id, item.call_id)
        self._start(BlockKind.TOOL_CALL, names, 0, events, id=call_id, name=name)
        self._say(item.arguments or item.input, events)

    def _part_added(self, event: _Event, events: list[Event]) -> None:
        part = read_part(event.part, self._target)
        if part.type not in PARTS:
            return
        kind = PARTS[part.type]
        if self._find(event, kind, event.content_index or 0) is None:
            self._start(kind, (event.output_index, event.item_id), event.content_index or 0, events)
            self._say(part.text or part.refusal, events)

    def _text_delta(self, event: _Event, events: list[Event]) -> None:
        self._delta(BlockKind.TEXT, event.content_index or 0, event, events)

    def _refusal_delta(self, event: _Event, events: list[Event]) -> None:
        self._delta(BlockKind.REFUSAL, event.content_index or 0, event, events)

    def _summary_delta(self, event: _Event, events: list[Event]) -> None:
        self._thought(event, event.summary_index or 0, events)

    def _reasoning_delta(self, event: _Event, events: list[Event]) -> None:
        self._thought(event, ~(event.content_index or 0), events)  # below the parts of the summary

    def _thought(self, event: _Event, part: int, events: list[Event]) -> None:
        """One block for all the parts of a thought, with a blank line between them."""
        is_next = self._open is BlockKind.REASONING and self._has_text and part != self._part
        if is_next and event.delta:
            events.append(Delta(self._index, BETWEEN_PARTS))
        self._delta(BlockKind.REASONING, 0, event, events)
        self._part = part

    def _call_delta(self, event: _Event, events: list[Event]) -> None:
        index = self._find(event, BlockKind.TOOL_CALL, 0)
        if index is None:
            raise invalid_answer(self._target, "the arguments of a call that was not announced")
        self._delta(BlockKind.TOOL_CALL, 0, event, events)

    def _delta(self, kind: BlockKind, part: int, event: _Event, events: list[Event]) -> None:
        index = self._find(event, kind, part)
        if index is None:
            self._start(kind, (event.output_index, event.item_id), part, events)
        elif index != self._index or self._open is None:
            raise invalid_answer(self._target, f"more {kind.value} after its end")
        self._say(event.delta, events, event.logprobs)

    def _annotated(self, event: _Event, events: list[Event]) -> None:
        """A source of the text that is open; one of a text that has ended comes too late."""
        del events
        citation = read_citation(event.annotation)
        place = self._find(event, BlockKind.TEXT, event.content_index or 0)
        if citation is not None and place == self._index and self._open is BlockKind.TEXT:
            self._citations.append(citation)

    def _text_done(self, event: _Event, events: list[Event]) -> None:
        self._whole(BlockKind.TEXT, event.text, event, events, event.logprobs)

    def _refusal_done(self, event: _Event, events: list[Event]) -> None:
        self._whole(BlockKind.REFUSAL, event.refusal, event, events)

    def _call_done(self, event: _Event, events: list[Event]) -> None:
        self._whole(BlockKind.TOOL_CALL, event.arguments or event.input, event, events)
        if self._find(event, BlockKind.TOOL_CALL, 0) == self._index:
            self._arguments = None  # whole, whatever they are

    def _whole(
        self,
        kind: BlockKind,
        text: str | None,
        event: _Event,
        events: list[Event],
        logprobs: msgspec.Raw = _NOTHING,
    ) -> None:
        """All the text of a block: news only where there were no deltas."""
        part = event.content_index or 0
        index = self._find(event, kind, part)
        if index is None and kind is not BlockKind.TOOL_CALL:
            self._start(kind, (event.output_index, event.item_id), part, events)
            index = self._index
        if index == self._index and self._open is not None and not self._has_text:
            self._say(text, events, logprobs)
        self._check_told(index, text)

    def _part_done(self, event: _Event, events: list[Event]) -> None:
        part = read_part(event.part, self._target)
        if part.type not in PARTS:
            return
        kind = PARTS[part.type]
        self._whole(kind, part.text or part.refusal, event, events, part.logprobs)
        if self._find(event, kind, event.content_index or 0) == self._index:
            self._citations = self._citations or list(read_citations(part.annotations))
            self._end(events)

    def _item_done(self, event: _Event, events: list[Event]) -> None:
        if not event.item:
            return
        item = read_item(event.item, self._target)
        names = (event.output_index, item.id, item.call_id)
        if item.type == "message":
            self._message_done(item, names, events)
        elif item.type == "reasoning":
            if self._lookup(names, BlockKind.REASONING, 0) is None:
                self._start(BlockKind.REASONING, names, 0, events)
            self._block_done(BlockKind.REASONING, thought_text(item), names, events, proof(item))
        elif item.type in CALLS:
            if self._lookup(names, BlockKind.TOOL_CALL, 0) is None:
                self._start_call(event, item, events)
            self._block_done(BlockKind.TOOL_CALL, item.arguments or item.input, names, events)

    def _message_done(self, item: Item, names: _Names, events: list[Event]) -> None:
        for place, part in enumerate(item.content or ()):
            if part.type in PARTS and self._lookup(names, PARTS[part.type], place) is None:
                self._start(PARTS[part.type], names, place, events)
                self._say(part.text or part.refusal, events, part.logprobs)
                self._citations = list(read_citations(part.annotations))
        if self._open in {BlockKind.TEXT, BlockKind.REFUSAL}:
            self._end(events)

    def _block_done(
        self, kind: BlockKind, text: str | None, names: _Names, events: list[Event], opaque: Opaque | None = None
    ) -> None:
        """The item of this block is whole. One whose block has ended before says nothing new."""
        if self._open is not None and self._lookup(names, kind, 0) == self._index:
            if not self._has_text:
                self._say(text, events)
            self._end(events, opaque)
        self._check_told(self._lookup(names, kind, 0), text)

    def _check_told(self, index: int | None, text: str | None) -> None:
        """A call that ended before its arguments had come, because the next one had begun, is not told without them."""
        if index in self._cut and (text or "").strip() not in {"", "{}"}:
            raise invalid_answer(self._target, "the arguments of a call after the next item has begun")

    def _finished(self, event: _Event, events: list[Event]) -> None:
        response = event.response
        if response is None:
            raise invalid_answer(self._target, "a final event without a response")
        if response.error is not None or response.status == "failed":
            raise response_error(self._target, response)
        self._begun(event, events)
        self._end(events)
        while self._waiting:
            self._tell_waiting(events)
            self._end(events)
        if self._index < 0:  # nothing was streamed but the end
            for block in read_blocks(self._target, response.output):
                self._start(block.kind, (), 0, events, id=block.id, name=block.name)
                if block.text:
                    events.append(Delta(self._index, block.text, block.logprobs))
                self._citations = list(block.citations)
                self._end(events, block.opaque)
                self._has_calls = self._has_calls or block.kind is BlockKind.TOOL_CALL
        if (usage := read_usage(response.usage)) is not None:
            events.append(usage)
        if self._finish is None:
            self._finish = read_finish(
                response, is_incomplete=event.type == _INCOMPLETE_EVENT, has_calls=self._has_calls
            )
        self.is_done = True

    def _failed(self, event: _Event, events: list[Event]) -> None:
        del events
        raise response_error(self._target, event.response or Response())

    def _start(
        self,
        kind: BlockKind,
        names: _Names,
        part: int,
        events: list[Event],
        *,
        id: str | None = None,  # noqa: A002 - the event's own field
        name: str | None = None,
    ) -> None:
        self._end(events)
        self._index += 1
        self._open, self._has_text, self._part = kind, False, 0
        self._arguments = ToolArguments() if kind is BlockKind.TOOL_CALL else None
        for known in names:
            if known is not None:
                self._blocks[known, kind, part] = self._index
        events.append(Start(self._index, kind, id, name))

    def _say(self, text: str | None, events: list[Event], logprobs: msgspec.Raw = _NOTHING) -> None:
        tokens = read_tokens(logprobs) if logprobs else ()
        if text or tokens:
            self._has_text = True
            events.append(Delta(self._index, text or "", tokens))
            if self._arguments is not None:
                self._arguments.hear(text or "")

    def _end(self, events: list[Event], opaque: Opaque | None = None) -> None:
        if self._open is not None:
            if self._open is BlockKind.TOOL_CALL and not self._has_text:
                self._cut.add(self._index)
            self._open = None
            citations, self._citations = tuple(self._citations), []
            events.append(End(self._index, opaque, citations))

    def _find(self, event: _Event, kind: BlockKind, part: int) -> int | None:
        """The block that an event speaks of. One that names no item means the open block of its kind."""
        if event.output_index is None and event.item_id is None:
            return self._index if self._open is kind else None
        return self._lookup((event.output_index, event.item_id), kind, part)

    def _lookup(self, names: _Names, kind: BlockKind, part: int) -> int | None:
        for name in names:
            if name is not None and (index := self._blocks.get((name, kind, part))) is not None:
                return index
        return None

    _handlers: ClassVar[Mapping[str, Callable[[Any, _Event, list[Event]], None]]] = {
        "response.output_text.delta": _text_delta,
        "response.function_call_arguments.delta": _call_delta,
        "response.custom_tool_call_input.delta": _call_delta,
        "response.reasoning_summary_text.delta": _summary_delta,
        "response.reasoning_text.delta": _reasoning_delta,
        "response.refusal.delta": _refusal_delta,
        "response.created": _begun,
        "response.in_progress": _begun,
        "response.queued": _begun,
        "response.output_item.added": _item_added,
        "response.content_part.added": _part_added,
        "response.output_text.annotation.added": _annotated,
        "response.output_text.done": _text_done,
        "response.refusal.done": _refusal_done,
        "response.function_call_arguments.done": _call_done,
        "response.custom_tool_call_input.done": _call_done,
        "response.content_part.done": _part_done,
        "response.output_item.done": _item_done,
        "response.completed": _finished,
        _INCOMPLETE_EVENT: _finished,
        "response.failed": _failed,
    }
