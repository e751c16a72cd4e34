"""Gemini's answers -> events. Each event of a stream is a whole GenerateContentResponse; there is no sentinel.

A part that the hub has no word for, or a proof that stands on plain text, is told as a reasoning block without text
whose continuation is that part: it comes back with the conversation and goes out as it came.

Sources: https://ai.google.dev/api/generate-content, the types of google-genai 3.4.0 (read 2026-11-24).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

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
    Reply,
    Start,
    Usage,
    fold,
)
from trunkline.dialects.gemini.error import stream_problem
from trunkline.dialects.gemini.grounding import Source, placed, read_sources
from trunkline.dialects.gemini.logprobs import read_tokens
from trunkline.dialects.gemini.part import NAME, read_signature
from trunkline.dialects.one_answer import Others
from trunkline.dialects.sse import Frame
from trunkline.dialects.upstream_error import cut_short, invalid_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.core.catalog import Target
    from trunkline.core.reply import Citation, Logprob

MAX_PLACED_BYTES: Final = 4 * 1024 * 1024
"""Of text that is kept for the places of its sources; those in a longer one have none."""
MAX_REASONABLE_TOKENS: Final = 1_000_000_000
"""A single answer's count over this is a broken number, not a count."""

_STOPPED: Final = ("STOP", "FINISH_REASON_UNSPECIFIED", "OTHER", "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE")
_FILTERED: Final = (
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "ESCALATION",
    "PUP_LIMITED_DISABLED",
    "MODEL_ARMOR",
)
FINISH: Final[Mapping[str, FinishReason]] = {
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,
    "FUNCTION_CALL": FinishReason.TOOL_CALLS,  # Google says STOP; compatible servers say this
    **dict.fromkeys(_STOPPED, FinishReason.STOP),
    **dict.fromkeys(_FILTERED, FinishReason.CONTENT_FILTER),
}

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_MAX_SALT: Final = 30


class _FunctionCall(msgspec.Struct):
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()
    id: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None
    executable_code: msgspec.Raw = msgspec.Raw()
    code_execution_result: msgspec.Raw = msgspec.Raw()
    tool_call: msgspec.Raw = msgspec.Raw()
    tool_response: msgspec.Raw = msgspec.Raw()
    inline_data: msgspec.Raw = msgspec.Raw()


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int | None = None
    logprobs_result: msgspec.Raw = msgspec.Raw()
    grounding_metadata: msgspec.Raw = msgspec.Raw()


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()
    prompt_feedback: _Feedback | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    total_token_count: int | None = None


class _OddUsage(msgspec.Struct, rename="camel"):
    """Decimals hold whatever number an upstream may send, to its last digit."""

    prompt_token_count: Decimal | None = None
    tool_use_prompt_token_count: Decimal | None = None
    candidates_token_count: Decimal | None = None
    thoughts_token_count: Decimal | None = None
    cached_content_token_count: Decimal | None = None
    total_token_count: Decimal | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_USAGE = msgspec.json.Decoder(_Usage | None)
_ODD_USAGE = msgspec.json.Decoder(_OddUsage | None)


class Reader:
    """Frames -> events for the first candidate. Usage stands on every chunk and counts up."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._head: Head | None = None
        self._open: BlockKind | None = None
        self._index = -1
        self._calls = 0
        self._tokens: tuple[Logprob, ...] = ()
        self._sources: list[Source] = []
        self._said = bytearray()
        self._said_before = 0
        self._usage: Usage | None = None
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
        if not data or data.startswith(b":"):
            return ()  # a keep-alive that somebody put into a data line
        if data == b"[DONE]":  # not Google's, but some of those who speak like it
            self.is_done = True
            return ()
        chunk = self._chunk(data)
        events: list[Event] = []
        if self._head is None and (chunk.response_id or chunk.model_version):
            self._head = Head(id=chunk.response_id, model=chunk.model_version)
            events.append(self._head)
        for candidate in chunk.candidates or ():
            if not candidate.index:
                self._candidate(candidate, events)
            else:
                self._others.see(candidate.index, is_finished=bool(candidate.finish_reason))
        if chunk.prompt_feedback is not None:
            self._blocked(chunk.prompt_feedback, events)
        if chunk.usage_metadata:
            usage = _usage(chunk.usage_metadata)
            if usage is not None and usage != self._usage:
                self._usage = usage
                events.append(usage)
        return events

    def close(self) -> Sequence[Event]:
        """The finish, once nothing can follow it. Raises Problem TRUNCATED without one."""
        if self._finish is None or self._others.are_open:
            raise cut_short(self._target, "stream ended without a finish reason")
        events: list[Event] = []
        self._end(events)  # it said more after its finish
        finish = self._finish
        if self._calls and finish.reason is FinishReason.STOP:
            finish = Finish(FinishReason.TOOL_CALLS, finish.native_reason)
        events.append(finish)
        return events

    def _chunk(self, data: bytes) -> _Chunk:
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            problem = stream_problem(self._target, data)
            raise problem or invalid_answer(self._target, "an event that is not a Gemini answer") from error
        if chunk.error and bytes(chunk.error) != b"null":
            raise stream_problem(self._target, data) or invalid_answer(self._target, "an error without words")
        return chunk

    def _blocked(self, feedback: _Feedback, events: list[Event]) -> None:
        """The prompt itself was refused: there is no candidate."""
        if feedback.block_reason and self._finish is None:
            self._end(events)
            self._finish = Finish(FinishReason.CONTENT_FILTER, feedback.block_reason)
            self._others.expect(1)

    def _candidate(self, candidate: _Candidate, events: list[Event]) -> None:
        if candidate.logprobs_result:
            self._tokens += read_tokens(candidate.logprobs_result)
        if candidate.grounding_metadata:
            self._sources = read_sources(candidate.grounding_metadata)
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._part(part, events)
        if self._tokens and self._open is BlockKind.TEXT:  # tokens without a letter, such as the end of the answer
            events.append(Delta(self._index, "", self._take_tokens()))
        if candidate.finish_reason and self._finish is None:
            self._end(events)
            reason = FINISH.get(candidate.finish_reason, FinishReason.STOP)
            self._finish = Finish(reason, candidate.finish_reason)

    def _part(self, part: _Part, events: list[Event]) -> None:
        signature = part.thought_signature
        if part.text is not None:
            if part.text:
                self._text(BlockKind.REASONING if part.thought else BlockKind.TEXT, part.text, events)
            if not signature:
                return
            if part.thought:
                self._proof(read_signature(signature), events)
            else:
                opaque = read_signature(signature)
                if opaque is not None and opaque.dialect == NAME:
                    opaque = Opaque(NAME, msgspec.json.encode({"text": "", "thoughtSignature": signature}))
                self._aside(opaque, events)
        elif part.function_call is not None:
            if part.function_call.name:  # without one it only goes on with another, in pieces that we never ask for
                self._call(part.function_call, part.function_call.name, read_signature(signature), events)
        else:
            self._other(part, events)

    def _call(self, call: _FunctionCall, name: str, opaque: Opaque | None, events: list[Event]) -> None:
        self._end(events)
        self._index += 1
        args = bytes(call.args)
        try:
            arguments = args.decode() if args and args != b"null" else "{}"
        except UnicodeDecodeError as error:
            raise invalid_answer(self._target, "a function call that is not UTF-8") from error
        events.append(Start(self._index, BlockKind.TOOL_CALL, call.id or self._call_id(), name))
        events.append(Delta(self._index, arguments))
        events.append(End(self._index, opaque))
        self._calls += 1

    def _call_id(self) -> str:
        """An id for a call that has none: the same each time, and another one in the next answer."""
        salt = _NOT_IN_AN_ID.sub("", (self._head and self._head.id) or "")[:_MAX_SALT]
        return f"call_{salt}_{self._calls}" if salt else f"call_{self._calls}"

    def _other(self, part: _Part, events: list[Event]) -> None:
        for name, raw in (
            ("executableCode", part.executable_code),
            ("codeExecutionResult", part.code_execution_result),
            ("toolCall", part.tool_call),
            ("toolResponse", part.tool_response),
            ("inlineData", part.inline_data),
        ):
            if raw:
                fields: dict[str, object] = {name: raw}
                if part.thought is not None:
                    fields["thought"] = part.thought
                if part.thought_signature:
                    fields["thoughtSignature"] = part.thought_signature
                self._aside(Opaque(NAME, msgspec.json.encode(fields)), events)
                return
        if part.thought_signature:
            self._proof(read_signature(part.thought_signature), events)

    def _text(self, kind: BlockKind, text: str, events: list[Event]) -> None:
        if self._open is not kind:
            self._end(events)
            self._index += 1
            self._open = kind
            self._said_before = len(self._said)
            events.append(Start(self._index, kind))
        if kind is BlockKind.TEXT and len(self._said) < MAX_PLACED_BYTES:
            self._said += text.encode(errors="replace")
        tokens = self._take_tokens() if self._tokens and kind is BlockKind.TEXT else ()
        events.append(Delta(self._index, text, tokens))

    def _cited(self) -> tuple[Citation, ...]:
        """The sources of the text that ends; those of what comes after it wait."""
        text = bytes(self._said[self._said_before :])
        size = len(self._said)
        later = [one for one in self._sources if (one.start or 0) >= size and (one.end or 0) > size]
        citations = tuple([placed(one, self._said_before, text) for one in self._sources if one not in later])
        self._sources = later
        return citations

    def _take_tokens(self) -> tuple[Logprob, ...]:
        tokens, self._tokens = self._tokens, ()
        return tokens

    def _proof(self, opaque: Opaque | None, events: list[Event]) -> None:
        """Ends the thought that is open; a proof without one is a block of its own."""
        if self._open is BlockKind.REASONING:
            self._end(events, opaque)
        else:
            self._aside(opaque, events)

    def _aside(self, opaque: Opaque | None, events: list[Event]) -> None:
        if opaque is None:
            return
        self._end(events)
        self._index += 1
        events.append(Start(self._index, BlockKind.REASONING))
        events.append(End(self._index, opaque))

    def _end(self, events: list[Event], opaque: Opaque | None = None) -> None:
        if self._open is not None:
            citations = self._cited() if self._sources and self._open is BlockKind.TEXT else ()
            events.append(End(self._index, opaque, citations))
            self._open = None


def read_reply(body: bytes, target: Target) -> Reply:
    """A whole answer: one chunk that must hold its finish. Raises Problem for an error and for what is no answer."""
    reader = Reader(target)
    events = list(reader.read(Frame(body.strip())))
    if not events and not reader.is_finished:
        raise invalid_answer(target, f"an answer without candidates, {len(body)} bytes")
    return fold([*events, *reader.close()])


def _usage(raw: msgspec.Raw) -> Usage | None:
    """The usage; None where there is none that can be read: a good answer does not fail for its bill."""
    usage: _Usage | _OddUsage | None
    try:
        usage = _USAGE.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:
            usage = _ODD_USAGE.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
    if usage is None:
        return None
    prompt, tools = _count(usage.prompt_token_count), _count(usage.tool_use_prompt_token_count)
    said, thought = _count(usage.candidates_token_count), _count(usage.thoughts_token_count)
    total = _count(usage.total_token_count)
    output = None
    if said is not None or thought is not None:
        output = (said or 0) + (thought or 0)
    elif prompt is not None and total is not None and total >= prompt + (tools or 0):
        output = total - prompt - (tools or 0)  # Google leaves a count of zero out
    return Usage(
        input_tokens=None if prompt is None else prompt + (tools or 0),
        output_tokens=output,
        cached_tokens=_count(usage.cached_content_token_count),
        reasoning_tokens=thought,
    )


def _count(number: Decimal | int | None) -> int | None:
    """A count of tokens; None, unknown, for what cannot be one."""
    if number is None:
        return None
    if isinstance(number, Decimal):
        if not number.is_finite() or not 0 <= number <= MAX_REASONABLE_TOKENS or number != int(number):
            return None
        number = int(number)
    return number if 0 <= number <= MAX_REASONABLE_TOKENS else None
