"""Chat completions of an upstream -> events, chunk by chunk, or a whole answer -> a reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from trunkline.core.call import Opaque
from trunkline.core.reply import (
    BlockKind,
    Delta,
    End,
    Event,
    Finish,
    FinishReason,
    Head,
    Start,
)
from trunkline.dialects.one_answer import Others
from trunkline.dialects.openai_chat.open_call import OpenCall
from trunkline.dialects.openai_chat.wire import (
    CHUNK,
    FINISH,
    NAME,
    NULL,
    WHOLE,
    Choice,
    Chunk,
    FunctionPiece,
    Piece,
    ToolPiece,
    Whole,
    entries,
    entry_text,
    joined,
    read_logprobs,
    read_sources,
    read_usage,
)
from trunkline.dialects.tool_arguments import MAX_WAITING_BYTES
from trunkline.dialects.upstream_error import classify, cut_short, invalid_answer, read_error
from trunkline.dialects.url_citations import read_citations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Citation, Logprob
    from trunkline.dialects.sse import Frame

_TEXT: Final = BlockKind.TEXT
"""By itself: until Python 3.12, a member costs ten times as much when it is asked of its enumeration."""

MAX_DETAILS_BYTES: Final = 8 * 1024 * 1024
"""Of an answer's proofs of reasoning, which are held until their block ends."""

PIECE_BYTES: Final = 256
"""What a piece of a tool call that waits takes beside its words."""


class Reader:
    """Frames -> events for the first choice. Usage may come before or after the finish, or with it."""

    __slots__ = (
        "_call_proof",
        "_calls",
        "_citations",
        "_finish",
        "_head",
        "_index",
        "_late_proof",
        "_open",
        "_others",
        "_proof",
        "_proof_bytes",
        "_said",
        "_said_before",
        "_sources",
        "_target",
        "_thinks_aloud",
        "_tokens",
        "_tool",
        "_tool_ids",
        "_waiting",
        "_waiting_bytes",
        "is_done",
    )

    def __init__(self, target: Target) -> None:
        self._target = target
        self._head: Head | None = None
        self._open: BlockKind | None = None
        self._index = -1
        self._tool: OpenCall | None = None
        self._tool_ids: dict[int, str] = {}
        self._waiting: dict[int | None, list[ToolPiece]] = {}
        self._waiting_bytes = 0
        self._calls = 0
        self._proof: list[bytes] = []
        self._late_proof: list[bytes] = []
        self._call_proof: bytes | None = None
        self._proof_bytes = 0
        self._thinks_aloud = False
        self._tokens: dict[BlockKind, tuple[Logprob, ...]] = {}
        self._said = self._said_before = 0
        self._citations: tuple[Citation, ...] = ()
        self._sources: tuple[Citation, ...] = ()
        self._finish: Finish | None = None
        self._others = Others()
        self.is_done = False

    @property
    def is_finished(self) -> bool:
        """Whether the answer is whole, and all others that were asked for; only usage can still follow."""
        return self._finish is not None and not self._others.are_due

    def expect(self, answers: int) -> None:
        """So many were asked for: one that has ended is not all."""
        self._others.expect(answers)

    def read(self, frame: Frame) -> Sequence[Event]:
        """The events of one frame. Raises Problem for an error object and for what is no chunk."""
        data = frame.data
        if not data.startswith(b"{"):
            if data == b"[DONE]":
                self.is_done = True
                return ()
            if not data or data.startswith(b":"):
                return ()  # a keep-alive that somebody put into a data line
        try:
            chunk = CHUNK.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise invalid_answer(self._target, "an event that is not a chat completion chunk") from error
        if self._open is _TEXT and (text := _text_alone(chunk)):
            self._said += len(text)
            return (Delta(self._index, text),)
        return self.take(chunk)

    def take(self, chunk: Chunk) -> list[Event]:
        """The events of one chunk."""
        if chunk.error is not None:
            raise self._error(chunk.error)
        events: list[Event] = []
        if chunk.search_results or chunk.citations:
            self._sources = read_sources(chunk)
        if self._head is None and (chunk.id or chunk.model):
            self._head = Head(id=chunk.id, model=chunk.model)
            events.append(self._head)
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._choice(choice, events)
            else:
                self._others.see(choice.index, is_finished=bool(choice.finish_reason))
        if (usage := read_usage(chunk.usage)) is not None:
            events.append(usage)
        return events

    def close(self) -> Sequence[Event]:
        """The finish, once nothing can follow it. Raises Problem TRUNCATED without one."""
        if self._finish is None or self._others.are_open:
            raise cut_short(self._target, "stream ended without a finish reason")
        events: list[Event] = []
        self._end(events)  # it may have said more after its finish
        if self._late_proof:
            self._start(BlockKind.REASONING, events)
            self._proof, self._late_proof = self._late_proof, []
            self._end(events)
        if self._calls and self._finish.reason is FinishReason.STOP:
            # OpenAI says so of a call that was forced, others of every one; clients run tools by this word.
            self._finish = Finish(FinishReason.TOOL_CALLS, self._finish.native_reason)
        events.append(self._finish)
        return events

    def _choice(self, choice: Choice, events: list[Event]) -> None:
        if choice.error is not None:
            raise self._error(choice.error)
        if choice.logprobs and choice.logprobs != NULL:
            for kind, tokens in read_logprobs(choice.logprobs).items():
                self._tokens[kind] = self._tokens.get(kind, ()) + tokens
        if choice.delta is not None:
            self._piece(choice.delta, events)
        if self._tokens and self._open is not None and self._open in self._tokens:
            # Tokens without a letter, such as the end of the answer.
            events.append(Delta(self._index, "", self._tokens.pop(self._open)))
        if choice.finish_reason and self._finish is None:
            if choice.finish_reason == "error":
                raise self._error(None)
            self._end(events)
            reason = FINISH.get(choice.finish_reason, FinishReason.STOP)
            self._finish = Finish(reason, choice.native_finish_reason or choice.finish_reason)

    def _piece(self, piece: Piece, events: list[Event]) -> None:
        reasoning = piece.reasoning or piece.reasoning_content
        self._thinks_aloud = self._thinks_aloud or bool(reasoning)
        if piece.reasoning_details:
            self._details(bytes(piece.reasoning_details), reasoning, events)
        elif reasoning:
            self._text(BlockKind.REASONING, reasoning, events)
        if piece.content:
            if isinstance(piece.content, str):
                self._text(BlockKind.TEXT, piece.content, events)
            else:
                self._parts(piece.content, events)
        if piece.audio is not None and (transcript := _text_of(piece.audio, "transcript")):
            self._text(BlockKind.TEXT, transcript, events)
        if piece.annotations:
            before = self._said_before if self._open is BlockKind.TEXT else self._said
            self._citations += read_citations(piece.annotations, before)
        if piece.refusal:
            self._text(BlockKind.REFUSAL, piece.refusal, events)
        for tool in piece.tool_calls or ():
            self._call(tool, events)
        if piece.function_call is not None:
            self._call(ToolPiece(index=0, function=piece.function_call), events)

    def _text(self, kind: BlockKind, text: str, events: list[Event]) -> None:
        if self._open is not kind:
            self._end(events)
            self._start(kind, events)
        if kind is BlockKind.TEXT:
            self._said += len(text)
        events.append(Delta(self._index, text, self._tokens.pop(kind, ()) if self._tokens else ()))

    def _parts(self, parts: list[Any], events: list[Event]) -> None:
        """Content in parts: text, and thoughts that hold text themselves."""
        for part in parts:
            if text := _text_of(part, "text"):
                self._text(BlockKind.TEXT, text, events)
            for thought in _list_of(part, "thinking"):
                if text := _text_of(thought, "text"):
                    self._text(BlockKind.REASONING, text, events)

    def _details(self, raw: bytes, reasoning: str | None, events: list[Event]) -> None:
        """Keep the proof for its block's end: that of the open thought or call, else of a thought told at the end."""
        told = entries(raw)
        if not self._thinks_aloud:
            reasoning = "".join(entry_text(entry, "text") or entry_text(entry, "summary") or "" for entry in told)
        if reasoning:
            self._text(BlockKind.REASONING, reasoning, events)
        if not told:
            return
        self._proof_bytes += len(raw)
        if self._proof_bytes > MAX_DETAILS_BYTES:
            raise invalid_answer(self._target, f"over {MAX_DETAILS_BYTES} bytes of reasoning details")
        if self._open is None and self._finish is None:
            self._start(BlockKind.REASONING, events)
        if self._open is BlockKind.REASONING:
            self._proof.append(raw)
        elif self._tool is not None and all(entry_text(entry, "id") == self._tool.id for entry in told):
            self._call_proof = raw
        else:
            self._late_proof.append(raw)

    def _call(self, piece: ToolPiece, events: list[Event]) -> None:
        """A piece of a call. Those of several may come in turns: they are told one after the other."""
        while (tool := self._tool) is not None and piece.index != tool.index:
            if tool.keeps_waiting(piece) and self._waiting_bytes < MAX_WAITING_BYTES:
                self._wait(piece)
                return
            if not self._waiting:
                break
            self._tell_waiting(events)
        self._tell(piece, events)
        while self._waiting and not (self._tool is not None and self._tool.is_cut):
            self._tell_waiting(events)

    def _wait(self, piece: ToolPiece) -> None:
        self._waiting.setdefault(piece.index, []).append(piece)
        self._waiting_bytes += PIECE_BYTES + len(piece.id or "") + len(piece.extra_content)
        if piece.function is not None:
            piece.function.arguments = arguments = self._arguments(piece.function.arguments)
            self._waiting_bytes += len(piece.function.name or "") + len(arguments)

    def _tell_waiting(self, events: list[Event]) -> None:
        """What has come of the call that is next."""
        for piece in self._waiting.pop(next(iter(self._waiting))):
            self._tell(piece, events)
        if not self._waiting:
            self._waiting_bytes = 0

    def _tell(self, piece: ToolPiece, events: list[Event]) -> None:
        if self._is_next(piece):
            self._end_block(events)
            self._open = BlockKind.TOOL_CALL
            self._tool = OpenCall(piece.index, piece.id or "")
        tool = self._tool
        function = piece.function or FunctionPiece()
        arguments = self._arguments(function.arguments)
        if tool is None:
            if arguments:
                raise invalid_answer(self._target, "more of a tool call that has ended")
            return
        if not tool.id and piece.id:
            tool.id, tool.is_given_id = piece.id, True
        if not tool.is_started and function.name:
            tool.is_started = True
            tool.name = function.name
            self._calls += 1
            tool.id = tool.id or self._invented_id()
            if tool.index is not None:
                self._tool_ids[tool.index] = tool.id
            self._index += 1
            events.append(Start(self._index, BlockKind.TOOL_CALL, tool.id, function.name))
        if arguments:
            if not tool.is_started:
                raise invalid_answer(self._target, "arguments for a tool without a name")
            tool.arguments.hear(arguments)
            events.append(Delta(self._index, arguments))
        if piece.extra_content and bytes(piece.extra_content) != b"null":
            self._call_proof = bytes(piece.extra_content)

    def _is_next(self, piece: ToolPiece) -> bool:
        """Whether another call begins. Some number all calls 0, and some none."""
        tool = self._tool
        if tool is not None and piece.index in {None, tool.index}:
            return tool.is_followed_by(piece)
        if piece.index is not None and piece.index in self._tool_ids:
            if not piece.id or piece.id == self._tool_ids[piece.index]:
                self._tool_is_late(piece)
                return False
            return True
        if piece.id or (piece.function and piece.function.name):
            return True
        # What nobody has announced is not the open call's, unless that one has no number.
        is_anothers = tool is not None and tool.index is not None
        return is_anothers and bool(piece.function and piece.function.arguments)

    def _tool_is_late(self, piece: ToolPiece) -> None:
        if piece.function and piece.function.arguments:
            raise invalid_answer(self._target, "more of a tool call that has ended")

    def _arguments(self, value: object) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, dict | list):
            return msgspec.json.encode(value).decode()
        raise invalid_answer(self._target, "arguments of a tool call that are no JSON text")

    def _invented_id(self) -> str:
        """For upstreams that give calls no id: not two alike in one conversation, as far as they name their answers."""
        answer = self._head.id if self._head and self._head.id else "0"
        return f"call_{answer}_{self._calls}"

    def _start(self, kind: BlockKind, events: list[Event]) -> None:
        self._index += 1
        self._open = kind
        self._said_before = self._said
        events.append(Start(self._index, kind))

    def _end(self, events: list[Event]) -> None:
        """End the block that is open, and the calls that wait for its end."""
        while self._waiting:
            self._tell_waiting(events)
        self._end_block(events)

    def _end_block(self, events: list[Event]) -> None:
        """End the block that is open, with the proof that came for it."""
        if self._open is None:
            return
        opaque: Opaque | None = None
        citations: tuple[Citation, ...] = ()
        if self._open is BlockKind.TEXT:
            citations = self._citations or self._sources
            self._citations = self._sources = ()
        elif self._open is BlockKind.REASONING and self._proof:
            raw = self._proof[0] if len(self._proof) == 1 else joined(self._proof)
            opaque = Opaque(NAME, raw)
            self._proof = []
        elif self._open is BlockKind.TOOL_CALL:
            if self._tool is None or not self._tool.is_started:
                raise invalid_answer(self._target, "a tool call without a name")
            if self._call_proof is not None:
                opaque = Opaque(NAME, self._call_proof)
            self._tool, self._call_proof = None, None
        self._open = None
        events.append(End(self._index, opaque, citations))

    def _error(self, error: object) -> Problem:
        return classify(self._target, 200, {}, read_error(error))


def read_whole(body: bytes, target: Target) -> list[Event]:
    """A whole answer as events. Raises Problem for an error inside it and for what is no answer."""
    try:
        whole = WHOLE.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise invalid_answer(target, "a body that is not a chat completion") from error
    if (plain := _plain(whole)) is not None:
        return plain
    choices: list[Choice] = []
    for choice in whole.choices or ():
        for place, tool in enumerate((choice.message and choice.message.tool_calls) or ()):
            tool.index = place  # each is a call of its own, numbered or not
        choices.append(
            Choice(
                choice.message,
                choice.finish_reason,
                choice.native_finish_reason,
                choice.index,
                choice.error,
                choice.logprobs,
            )
        )
    chunk = Chunk(choices, whole.id, whole.model, whole.usage, whole.error, whole.search_results, whole.citations)
    reader = Reader(target)
    events = reader.take(chunk)
    if not any(choice.index == 0 and choice.delta is not None for choice in choices):
        raise invalid_answer(target, "a chat completion without a message")
    return [*events, *reader.close()]


def _text_alone(chunk: Chunk) -> str | None:
    """The text of a chunk that adds text to the first choice and tells of nothing else, as nearly all do."""
    choices = chunk.choices
    if not choices or len(choices) > 1 or chunk.error is not None or (chunk.usage and chunk.usage != NULL):
        return None
    choice = choices[0]
    piece = choice.delta
    if piece is None or choice.index or choice.finish_reason or choice.error is not None:
        return None
    if (choice.logprobs and choice.logprobs != NULL) or chunk.search_results or chunk.citations:
        return None
    if piece.reasoning or piece.reasoning_content or piece.refusal or piece.tool_calls or piece.reasoning_details:
        return None
    if piece.function_call is not None or piece.audio is not None or piece.annotations:
        return None
    return piece.content if isinstance(piece.content, str) else None


def _plain(whole: Whole) -> list[Event] | None:
    """The events of an answer that is one text to its end and nothing else, as most are; None for any other."""
    choices = whole.choices
    if whole.error is not None or whole.search_results or whole.citations or not choices or len(choices) > 1:
        return None
    choice = choices[0]
    message, reason = choice.message, _PLAIN_FINISH.get(choice.finish_reason or "")
    if message is None or reason is None or choice.index or choice.error is not None:
        return None
    text, told = message.content, (choice.logprobs, message.annotations, message.reasoning_details)
    if not (text and isinstance(text, str)) or (any(told) and not _NOTHING.issuperset(map(bytes, told))):
        return None
    if message.reasoning or message.reasoning_content or message.refusal or message.tool_calls:
        return None
    if message.function_call is not None or message.audio is not None:
        return None
    events: list[Event] = [Head(id=whole.id, model=whole.model)] if whole.id or whole.model else []
    events += (Start(0, BlockKind.TEXT), Delta(0, text), End(0))
    if (usage := read_usage(whole.usage)) is not None:
        events.append(usage)
    events.append(Finish(reason, choice.native_finish_reason or choice.finish_reason))
    return events


_PLAIN_FINISH: Final = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
_NOTHING: Final = frozenset({b"", b"null", b"[]"})


def _text_of(value: object, name: str) -> str:
    """A string of an object of any shape; empty where there is none."""
    found = cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _list_of(value: object, name: str) -> list[object]:
    found = cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
    return cast("list[object]", found) if isinstance(found, list) else []
