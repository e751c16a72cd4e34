"""Events -> Gemini's answers: a stream of whole GenerateContentResponses, or one.

A tool call is one part, so its arguments are gathered until they are whole. A proof of another dialect stands where
Google's own would: in `thoughtSignature`, which clients send back.

Sources: https://ai.google.dev/api/generate-content, the types of google-genai 3.4.0 (read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.problem import Kind, Problem, Retry, Source
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
    unfold,
)
from trunkline.dialects import sse
from trunkline.dialects.gemini import grounding, logprobs
from trunkline.dialects.gemini.error import write_problem
from trunkline.dialects.gemini.part import carried_signature, is_object, one_line, whole_part
from trunkline.dialects.gemini.reader import FINISH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.core.call import Opaque
    from trunkline.core.reply import Citation, Logprob
    from trunkline.dialects.dialect import Opening
    from trunkline.dialects.sse import Frame

KEEP_ALIVE: Final = b"\n"
"""What is safe between events: Google's SDK for Python takes a comment for a broken answer, and skips empty lines."""

MAX_ARGUMENTS: Final = 16 * 1024 * 1024
"""Characters of one call's arguments that are gathered."""

MAX_PLACED: Final = 4 * 1024 * 1024
"""Characters of text that are kept for the places of its sources."""

_WORD: Final[Mapping[FinishReason, str]] = {
    FinishReason.STOP: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.CONTENT_FILTER: "SAFETY",
}
_EMPTY: Final = b'{"text":""}'


class Telling:
    """What becomes of events as parts and as the words of an ending. Owns the call that is being gathered.

    `is_whole`: a thought is gathered, too, and has its proof on its own part, where every client looks for it.
    """

    def __init__(self, opening: Opening, *, is_whole: bool = False) -> None:
        self._is_whole = is_whole
        self._thought = ""
        self._id = opening.id
        self._model = opening.model
        self._open: Start | None = None
        self._arguments: list[str] = []
        self._size = 0
        self._is_malformed = False
        self._usage: Usage | None = None
        self._said: list[str] = []
        self._said_size = 0
        self._said_before = 0
        self._sources: list[tuple[Citation, str, str]] = []

    def part(self, event: Event) -> bytes | None:
        """The part that this event tells, or None."""
        match event:
            case Delta(text=text):
                return self._delta(text)
            case Start():
                self._open = event
                self._arguments, self._size = [], 0
                self._said_before = len(self._said)
            case End(opaque=opaque, citations=citations):
                if citations:
                    before, text = "".join(self._said[: self._said_before]), "".join(self._said[self._said_before :])
                    self._sources += [(citation, before, text) for citation in citations]
                return self._end(opaque)
            case Head():
                self._id = event.id or self._id
                self._model = event.model or self._model
            case Usage():
                self._usage = event
            case Finish():
                pass
        return None

    def identity(self) -> bytes:
        """The fields that stand on every chunk."""
        return b'"modelVersion":%b,"responseId":%b' % (
            msgspec.json.encode(self._model),
            msgspec.json.encode(self._id),
        )

    def grounding(self) -> bytes:
        """The sources as a field with its comma; empty where none is known."""
        return grounding.written(self._sources)

    def usage(self) -> bytes:
        """The usage as a field with its comma; empty where none is known."""
        return b'"usageMetadata":' + msgspec.json.encode(_usage(self._usage)) + b"," if self._usage else b""

    def finish(self, finish: Finish) -> bytes:
        """The ending as a field."""
        word = finish.native_reason
        if word is None or word == "FUNCTION_CALL" or FINISH.get(word) is not finish.reason:
            word = _WORD[finish.reason]
        if self._is_malformed and finish.reason is not FinishReason.LENGTH:
            word = "MALFORMED_FUNCTION_CALL"
        return b'"finishReason":"%b"' % word.encode()

    def _delta(self, text: str) -> bytes | None:
        kind = self._open.kind if self._open is not None else BlockKind.TEXT
        if kind is BlockKind.REASONING and self._is_whole:
            self._thought += text
            return None
        if kind in {BlockKind.TEXT, BlockKind.REFUSAL} and self._said_size < MAX_PLACED:
            self._said.append(text)
            self._said_size += len(text)
        if kind is not BlockKind.TOOL_CALL:
            said = msgspec.json.encode(text)
            return b'{"text":%b,"thought":true}' % said if kind is BlockKind.REASONING else b'{"text":%b}' % said
        self._size += len(text)
        if self._size > MAX_ARGUMENTS:
            raise Problem(
                Kind.UPSTREAM_INVALID,
                f"The provider sent a tool call of more than {MAX_ARGUMENTS:,} characters.",
                source=Source.UPSTREAM,
                retry=Retry.NEVER,
            )
        self._arguments.append(text)
        return None

    def _end(self, opaque: Opaque | None) -> bytes | None:
        start, self._open = self._open, None
        if start is not None and start.kind is BlockKind.TOOL_CALL:
            return self._call(start, opaque)
        thought, self._thought = self._thought, ""
        is_thought = start is not None and start.kind is BlockKind.REASONING
        fields: dict[str, object] = {"text": thought, "thought": True} if is_thought else {"text": ""}
        if opaque is not None and (whole := whole_part(opaque)) is not None:
            return msgspec.json.encode(fields) + b"," + whole if thought else whole
        if opaque is not None and (signature := carried_signature(opaque)) is not None:
            return msgspec.json.encode({**fields, "thoughtSignature": signature})
        return msgspec.json.encode(fields) if thought else None

    def _call(self, start: Start, opaque: Opaque | None) -> bytes | None:
        arguments = "".join(self._arguments)
        if not arguments.strip():
            arguments = "{}"
        if not is_object(arguments):
            self._is_malformed = True
            return None
        call: dict[str, object] = {"id": start.id} if start.id is not None else {}
        call["name"] = start.name or ""
        call["args"] = msgspec.Raw(one_line(arguments.encode()))
        part: dict[str, object] = {"functionCall": call}
        if opaque is not None and (signature := carried_signature(opaque)) is not None:
            part["thoughtSignature"] = signature
        return msgspec.json.encode(part)


class Writer:
    """Events -> the chunks of a stream. Usage is told on the last one, with the finish."""

    def __init__(self, opening: Opening) -> None:
        self._telling = Telling(opening)
        self._tail: bytes | None = None

    def write_problem(self, problem: Problem) -> bytes:
        """The error event that ends the stream."""
        return sse.event(write_problem(problem))

    def write(self, events: Iterable[Event]) -> bytes:
        """The chunks that tell these events."""
        out: list[bytes] = []
        for event in events:
            part = self._telling.part(event)
            if part is not None:
                out.append(self._chunk(part, event.logprobs if isinstance(event, Delta) else ()))
            elif isinstance(event, Finish):
                out.append(self._last(event))
            elif isinstance(event, Head):
                self._tail = None
        return b"".join(out)

    def _chunk(self, part: bytes, tokens: tuple[Logprob, ...]) -> bytes:
        if self._tail is None:
            self._tail = b'"index":0}],' + self._telling.identity() + b"}\n\n"
        told = logprobs.written(tokens) if tokens else b""
        return b"".join((b'data: {"candidates":[{"content":{"parts":[', part, b'],"role":"model"},', told, self._tail))

    def _last(self, finish: Finish) -> bytes:
        return sse.event(
            b'{"candidates":[{"content":{"parts":[%b],"role":"model"},%b,%b"index":0}],%b%b}'
            % (
                _EMPTY,
                self._telling.finish(finish),
                self._telling.grounding(),
                self._telling.usage(),
                self._telling.identity(),
            )
        )


class Forwarder:
    """Chunks as they came. Names and comments stay behind: Google's SDK takes them for a broken answer."""

    def write_problem(self, problem: Problem) -> bytes:
        """The error event that ends the stream."""
        return sse.event(write_problem(problem))

    def forward(self, frame: Frame) -> bytes:
        """The chunk as it goes on; a sentinel or a keep-alive in a data line is not one."""
        data = frame.data
        if not data or data == b"[DONE]" or data.startswith(b":"):
            return b""
        return sse.event(data.replace(b"\n", b"\ndata: ") if b"\n" in data else data)

    def close(self) -> bytes:
        """Nothing: the finish is the last word."""
        return b""


def write_reply(reply: Reply, opening: Opening) -> bytes:
    """A whole answer as one GenerateContentResponse."""
    telling = Telling(opening, is_whole=True)
    told = [telling.part(event) for event in unfold(reply)]
    parts = [part for part in told if part is not None]
    finish = telling.finish(reply.finish) + b"," if reply.finish is not None else b""
    beside = logprobs.written(token for block in reply.blocks for token in block.logprobs) + telling.grounding()
    return b'{"candidates":[{"content":{"parts":[%b],"role":"model"},%b%b"index":0}],%b%b}' % (
        b",".join(parts) or _EMPTY,
        beside,
        finish,
        telling.usage(),
        telling.identity(),
    )


def _usage(usage: Usage | None) -> dict[str, int]:
    """Google counts thoughts beside the answer, not in it."""
    if usage is None:
        return {}
    said, thought = usage.output_tokens, usage.reasoning_tokens
    if said is not None and thought is not None:
        thought = min(thought, said)
        said -= thought
    total = None
    if usage.input_tokens is not None and usage.output_tokens is not None:
        total = usage.input_tokens + usage.output_tokens
    counts = (
        ("promptTokenCount", usage.input_tokens),
        ("candidatesTokenCount", said),
        ("cachedContentTokenCount", usage.cached_tokens),
        ("thoughtsTokenCount", thought),
        ("totalTokenCount", total),
    )
    return {name: count for name, count in counts if count is not None}
