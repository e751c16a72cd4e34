"""Events, or a whole reply, -> what a client of chat completions reads; and problems in its shape.

Sources: https://platform.openai.com/docs/api-reference/chat-streaming, https://platform.openai.com/docs/guides/error-codes
and, for `reasoning`, `reasoning_details`, `native_finish_reason`, `provider` and `cost`, https://openrouter.ai/docs/api-reference/overview
(read 2026-11-24).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.problem import Kind
from trunkline.core.reply import Block, BlockKind, Delta, End, Event, Finish, Head, Reply, Start, Usage
from trunkline.dialects import sse, url_citations
from trunkline.dialects.opaque import wrap
from trunkline.dialects.openai_chat.call import span_id
from trunkline.dialects.openai_chat.wire import NAME, entries
from trunkline.dialects.token_logprobs import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.core.call import Opaque
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Citation, Logprob
    from trunkline.dialects.dialect import Opening

_INVALID = "invalid_request_error"
_SERVER = "server_error"

ERRORS: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.INVALID_REQUEST: (_INVALID, "invalid_request"),
    Kind.UNAUTHENTICATED: (_INVALID, "invalid_api_key"),
    Kind.FORBIDDEN: ("permission_error", "forbidden"),
    Kind.NOT_FOUND: (_INVALID, "not_found"),
    Kind.METHOD_NOT_ALLOWED: (_INVALID, "method_not_allowed"),
    Kind.CONFLICT: (_INVALID, "conflict"),
    Kind.TOO_LARGE: (_INVALID, "request_too_large"),
    Kind.UNSUPPORTED_MEDIA_TYPE: (_INVALID, "unsupported_media_type"),
    Kind.MISDIRECTED: (_INVALID, "misdirected"),
    Kind.UNPROCESSABLE: (_INVALID, "unprocessable"),
    Kind.CONTEXT_TOO_LONG: (_INVALID, "context_length_exceeded"),
    Kind.CONTENT_FILTERED: (_INVALID, "content_filter"),
    Kind.RATE_LIMITED: ("rate_limit_error", "rate_limit_exceeded"),
    Kind.UNREACHABLE: (_SERVER, "upstream_unreachable"),
    Kind.TRUNCATED: (_SERVER, "upstream_truncated"),
    Kind.TIMED_OUT: (_SERVER, "timeout"),
    Kind.KEY_REFUSED: (_SERVER, "upstream_key_refused"),
    Kind.UPSTREAM_FAILED: (_SERVER, "upstream_failed"),
    Kind.UPSTREAM_INVALID: (_SERVER, "upstream_invalid"),
    Kind.OVERLOADED: (_SERVER, "overloaded"),
    Kind.DRAINING: (_SERVER, "draining"),
    Kind.UNAVAILABLE: (_SERVER, "unavailable"),
    Kind.INTERNAL: (_SERVER, "internal_error"),
}
"""The one table from kind to this dialect's type and code."""

PROOF_FORMAT: Final = "unknown"
"""The format of a foreign proof among reasoning details: clients know a closed list of names, and this is the one of
them that claims nothing."""


def write_problem(problem: Problem, *, as_json: bool) -> bytes:
    """`{"error":{"message","type","param","code"}}`, as the stream's last event or as plain JSON."""
    type_, code = ERRORS[problem.kind]
    if problem.kind is Kind.NOT_FOUND and problem.param == "model":
        code = "model_not_found"
    error = {"message": problem.message, "type": type_, "param": problem.param, "code": code}
    data = msgspec.json.encode({"error": error})
    return data if as_json else sse.event(data)


def is_counted(usage: Usage) -> bool:
    """Whether it can be told: clients take these two for numbers, and unknown is neither a number nor nought."""
    return usage.input_tokens is not None and usage.output_tokens is not None


def usage_object(usage: Usage) -> dict[str, Any]:
    """The usage as this dialect tells it. What is unknown is null, or left out where the field is optional."""
    known = is_counted(usage)
    told: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0) if known else None,
    }
    prompt = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    prompt = {name: count for name, count in prompt.items() if count is not None}
    if prompt:
        told["prompt_tokens_details"] = prompt
    if usage.reasoning_tokens is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.cost_nano is not None:
        told["cost"] = msgspec.Raw(f"{Decimal(usage.cost_nano).scaleb(-9):f}".encode())
    return told


def priced(usage: Usage, opening: Opening) -> Usage:
    """The usage with what it costs, where the provider does not say and the price is known."""
    if usage.cost_nano is not None or opening.price is None:
        return usage
    return msgspec.structs.replace(usage, cost_nano=opening.price.cost_nano(usage))


class _Proofs:
    """Where in a turn's reasoning a proof belongs, so that what the client echoes can be told apart again."""

    def __init__(self) -> None:
        self._start = 0
        self._end = 0
        self._count = 0

    def begin(self) -> None:
        self._start = self._end

    def grow(self, text: str) -> None:
        self._end += len(text)

    def details(self, opaque: Opaque, call_id: str | None = None) -> list[Any]:
        """The elements of `reasoning_details` that carry this proof; our own dialect's are the provider's."""
        if opaque.dialect == NAME:
            return entries(opaque.raw)
        return [self._element("reasoning.encrypted", "data", wrap(opaque), call_id)]

    def words(self, text: str) -> list[Any]:
        """The element that holds the words themselves: some clients read them nowhere else where there are details."""
        return [self._element("reasoning.text", "text", text)] if text else []

    def _element(self, kind: str, name: str, value: str, call_id: str | None = None) -> dict[str, Any]:
        self._count += 1
        place = call_id or span_id(self._start, self._end)
        return {"type": kind, name: value, "id": place, "format": PROOF_FORMAT, "index": self._count - 1}


class Writer:
    """Events -> chunks. The role goes first, usage last and only if it was asked for, then `[DONE]`."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._before = self._after = b""
        self._kind = BlockKind.TEXT
        self._call_id: str | None = None
        self._calls = -1
        self._proofs = _Proofs()
        self._said = self._said_before = 0
        self._usage: Usage | None = None

    def write_problem(self, problem: Problem) -> bytes:
        """The error event that ends the stream."""
        return write_problem(problem, as_json=False)

    def write(self, events: Iterable[Event]) -> bytes:
        """The bytes that tell these events."""
        out: list[bytes] = []
        for event in events:
            if not self._before:
                self._begin(event, out)
            self._tell(event, out)
        return b"".join(out)

    def _tell(self, event: Event, out: list[bytes]) -> None:
        match event:
            case Delta(text=text, logprobs=logprobs):
                if text or logprobs:
                    out.append(self._delta(text, logprobs))
            case Start():
                self._start(event, out)
            case End(opaque=opaque, citations=citations):
                if opaque is not None:
                    out.append(self._chunk(self._proof(opaque)))
                if citations and self._kind is BlockKind.TEXT:
                    told = _annotations(citations, self._said - self._said_before, self._said_before)
                    out.append(self._chunk(msgspec.json.encode({"annotations": told})))
            case Usage():
                self._usage = event
            case Finish():
                self._finish(event, out)
            case Head():
                pass  # the first event, if it comes at all: told by `_begin`

    def _begin(self, first: Event, out: list[bytes]) -> None:
        served = first.model if isinstance(first, Head) else None
        head = _head(self._opening, "chat.completion.chunk", served)
        self._before = b"data: " + msgspec.json.encode(head)[:-1] + b',"choices":['
        self._after = b'],"usage":null}\n\n' if self._opening.wants_usage else b"]}\n\n"
        out.append(self._chunk(b'{"role":"assistant","content":""}'))

    def _chunk(self, delta: bytes, finish: bytes = b"null", logprobs: bytes = b"null") -> bytes:
        words = (b'{"index":0,"delta":', delta, b',"logprobs":', logprobs, b',"finish_reason":', finish, b"}")
        return b"".join((self._before, *words, self._after))

    def _start(self, start: Start, out: list[bytes]) -> None:
        self._kind = start.kind
        self._said_before = self._said
        if start.kind is BlockKind.REASONING:
            self._proofs.begin()
        if start.kind is BlockKind.TOOL_CALL:
            self._calls += 1
            self._call_id = start.id or f"call_{self._opening.id}_{self._calls}"
            call = {
                "index": self._calls,
                "id": self._call_id,
                "type": "function",
                "function": {"name": start.name or "", "arguments": ""},
            }
            out.append(self._chunk(msgspec.json.encode({"tool_calls": [call]})))

    def _delta(self, text: str, logprobs: tuple[Logprob, ...]) -> bytes:
        coded = msgspec.json.encode(text)
        match self._kind:
            case BlockKind.TEXT:
                self._said += len(text)
                return self._chunk(b'{"content":%b}' % coded, logprobs=_logprobs(logprobs))
            case BlockKind.REASONING:
                self._proofs.grow(text)
                return self._chunk(b'{"reasoning":%b}' % coded)
            case BlockKind.REFUSAL:
                return self._chunk(b'{"refusal":%b}' % coded, logprobs=_logprobs((), logprobs))
            case BlockKind.TOOL_CALL:
                call = b'{"tool_calls":[{"index":%d,"function":{"arguments":' % self._calls
                return self._chunk(call + coded + b"}}]}")

    def _proof(self, opaque: Opaque) -> bytes:
        if self._kind is BlockKind.TOOL_CALL and opaque.dialect == NAME and not opaque.raw.startswith(b"["):
            call = {"index": self._calls, "extra_content": msgspec.Raw(one_line(opaque.raw))}
            return msgspec.json.encode({"tool_calls": [call]})
        call_id = self._call_id if self._kind is BlockKind.TOOL_CALL else None
        return one_line(msgspec.json.encode({"reasoning_details": self._proofs.details(opaque, call_id)}))

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        reason = msgspec.json.encode(finish.reason)
        if finish.native_reason is not None and finish.native_reason != finish.reason:
            reason += b',"native_finish_reason":' + msgspec.json.encode(finish.native_reason)
        out.append(self._chunk(b"{}", reason))
        if self._opening.wants_usage and self._usage is not None and is_counted(self._usage):
            usage = usage_object(priced(self._usage, self._opening))
            out.append(self._before + b'],"usage":' + msgspec.json.encode(usage) + b"}\n\n")
        out.append(sse.DONE)


def _head(opening: Opening, kind: str, served: str | None) -> dict[str, Any]:
    """What a whole answer and each of its chunks begin with. OpenRouter's clients insist on its `provider`."""
    head: dict[str, Any] = {
        "id": f"chatcmpl-{opening.id}",
        "object": kind,
        "created": opening.created,
        "model": served or opening.model,
    }
    return head if opening.provider is None else {**head, "provider": opening.provider}


def write_reply(reply: Reply, opening: Opening) -> bytes:
    """A whole answer. Texts of one kind are joined: a message has one place for each."""
    texts: dict[BlockKind, list[str]] = {kind: [] for kind in BlockKind}
    for block in reply.blocks:
        texts[block.kind].append(block.text)
    calls, details = _calls_and_details(reply.blocks, opening)
    tokens = [
        [token for block in reply.blocks if block.kind is kind for token in block.logprobs]
        for kind in (BlockKind.TEXT, BlockKind.REFUSAL)
    ]
    said, refused = "".join(texts[BlockKind.TEXT]), "".join(texts[BlockKind.REFUSAL])
    message: dict[str, Any] = {
        "role": "assistant",
        "content": said if said or not (calls or refused) else None,
        "refusal": refused or None,
    }
    if annotations := _annotations_of(reply.blocks):
        message["annotations"] = annotations
    if thought := "".join(texts[BlockKind.REASONING]):
        message["reasoning"] = thought
    if details:
        message["reasoning_details"] = details
    if calls:
        message["tool_calls"] = calls
    finish = reply.finish
    choice: dict[str, Any] = {
        "index": 0,
        "message": message,
        "logprobs": msgspec.Raw(_logprobs(*map(tuple, tokens))),
        "finish_reason": finish.reason if finish else None,
    }
    if finish and finish.native_reason is not None and finish.native_reason != finish.reason:
        choice["native_finish_reason"] = finish.native_reason
    whole = {**_head(opening, "chat.completion", reply.head.model), "choices": [choice]}
    if reply.usage is not None and is_counted(reply.usage):
        whole["usage"] = usage_object(priced(reply.usage, opening))
    return msgspec.json.encode(whole)


def _calls_and_details(blocks: tuple[Block, ...], opening: Opening) -> tuple[list[dict[str, Any]], list[Any]]:
    """The tool calls, and the `reasoning_details`: what was proved, and beside foreign proofs the words as well."""
    proofs = _Proofs()
    calls: list[dict[str, Any]] = []
    details: list[Any] = []
    has_foreign = any(block.opaque is not None and block.opaque.dialect != NAME for block in blocks)
    for block in blocks:
        proof = block.opaque
        if block.kind is BlockKind.REASONING:
            proofs.begin()
            proofs.grow(block.text)
            if has_foreign and (proof is None or proof.dialect != NAME):
                details += proofs.words(block.text)
            if proof is not None:
                details += proofs.details(proof)
        elif block.kind is BlockKind.TOOL_CALL:
            call = _call(block, len(calls), opening)
            calls.append(call)
            if proof is not None and "extra_content" not in call:
                details += proofs.details(proof, call["id"])
    return calls, details


def _call(block: Block, place: int, opening: Opening) -> dict[str, Any]:
    call: dict[str, Any] = {
        "id": block.id or f"call_{opening.id}_{place}",
        "type": "function",
        "function": {"name": block.name or "", "arguments": block.text},
    }
    proof = block.opaque
    if proof is not None and proof.dialect == NAME and not proof.raw.startswith(b"["):
        call["extra_content"] = msgspec.Raw(proof.raw)
    return call


def _annotations_of(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """The sources of all texts: their places count from the start of the message."""
    annotations: list[dict[str, Any]] = []
    before = 0
    for block in blocks:
        if block.kind is BlockKind.TEXT:
            annotations += _annotations(block.citations, len(block.text), before)
            before += len(block.text)
    return annotations


def _annotations(citations: tuple[Citation, ...], length: int, before: int) -> list[dict[str, Any]]:
    told = url_citations.written(citations, length, before)
    return [{"type": "url_citation", "url_citation": fields} for fields in told]


def _logprobs(said: tuple[Logprob, ...], refused: tuple[Logprob, ...] = ()) -> bytes:
    """The tokens of a choice; null where there are none."""
    if not said and not refused:
        return b"null"
    told = {"content": written(said) if said else None, "refusal": written(refused) if refused else None}
    return msgspec.json.encode(told)


def one_line(raw: bytes) -> bytes:
    """JSON without line breaks between its tokens, which would cut an event; the same bytes where it has none."""
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw
