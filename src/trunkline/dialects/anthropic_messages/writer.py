"""What Anthropic's clients get: a stream of named events, a whole message, a count, an error.

Sources: https://platform.claude.com/docs/en/build-with-claude/streaming, https://platform.claude.com/docs/en/api/errors
(read 2026-11-24). Clients ignore an event without its name, and some refuse a usage that is not complete.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.problem import Kind
from trunkline.core.reply import Block, BlockKind, Delta, End, Finish, Head, Start, Usage
from trunkline.dialects import sse
from trunkline.dialects.anthropic_messages.words import input_of, stop_reason_of, thought_of, told_id
from trunkline.dialects.opaque import NONE, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.core.call import Opaque
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Event, Reply
    from trunkline.dialects.dialect import Opening
    from trunkline.dialects.sse import Frame

ERROR_TYPE: Final[Mapping[Kind, str]] = {
    Kind.INVALID_REQUEST: "invalid_request_error",
    Kind.UNAUTHENTICATED: "authentication_error",
    Kind.FORBIDDEN: "permission_error",
    Kind.NOT_FOUND: "not_found_error",
    Kind.METHOD_NOT_ALLOWED: "invalid_request_error",
    Kind.CONFLICT: "invalid_request_error",
    Kind.TOO_LARGE: "request_too_large",
    Kind.UNSUPPORTED_MEDIA_TYPE: "invalid_request_error",
    Kind.MISDIRECTED: "invalid_request_error",
    Kind.UNPROCESSABLE: "invalid_request_error",
    Kind.CONTEXT_TOO_LONG: "invalid_request_error",
    Kind.CONTENT_FILTERED: "invalid_request_error",
    Kind.RATE_LIMITED: "rate_limit_error",
    Kind.UNREACHABLE: "api_error",
    Kind.TRUNCATED: "api_error",
    Kind.TIMED_OUT: "timeout_error",
    Kind.KEY_REFUSED: "api_error",
    Kind.UPSTREAM_FAILED: "api_error",
    Kind.UPSTREAM_INVALID: "api_error",
    Kind.OVERLOADED: "overloaded_error",
    Kind.DRAINING: "overloaded_error",
    Kind.UNAVAILABLE: "overloaded_error",
    Kind.INTERNAL: "api_error",
}
"""The one table from kind to Anthropic's types."""

_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_NOT_OF_AN_ID = re.compile(r"[^a-zA-Z0-9_-]+")

_encode: Final = msgspec.json.encode


class Writer:
    """Events -> Anthropic's stream.

    A thought waits for its first word or its end: only then is it known whether it is redacted. A proof from
    another dialect stands where a client sends it back: as a thought's signature, or, for a tool call, as a
    redacted thought right after it.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._head = Head()
        self._usage: Usage | None = None
        self._has_started = False
        self._kind = BlockKind.TEXT
        self._waits = False
        self._index = 0

    def write_problem(self, problem: Problem) -> bytes:
        """The error event that ends the stream."""
        return write_problem(problem, self._opening.id)

    def write(self, events: Iterable[Event]) -> bytes:
        """The bytes that tell these events."""
        out: list[bytes] = []
        for event in events:
            match event:
                case Delta(text=text):
                    if text:
                        self._delta(text, out)
                case Start():
                    self._message_start(out)
                    self._start(event, out)
                case End(opaque=opaque):
                    self._end(opaque, out)
                case Head():
                    self._head = event
                case Usage():
                    self._usage = event
                case Finish():
                    self._message_start(out)
                    self._finish(event, out)
        return b"".join(out)

    def _message_start(self, out: list[bytes]) -> None:
        if self._has_started:
            return
        self._has_started = True
        message: dict[str, Any] = {
            **_message(self._head, self._opening),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage_at_start(self._usage),
        }
        out.append(_event(b"message_start", {"type": "message_start", "message": message}))

    def _start(self, start: Start, out: list[bytes]) -> None:
        self._kind = start.kind
        self._waits = start.kind is BlockKind.REASONING
        if start.kind is BlockKind.TOOL_CALL:
            call_id = _call_id(start.id, self._opening, self._index)
            self._begin({"type": "tool_use", "id": call_id, "name": start.name or "", "input": {}}, out)
        elif not self._waits:
            self._begin({"type": "text", "text": ""}, out)

    def _begin(self, block: dict[str, Any], out: list[bytes]) -> None:
        event = {"type": "content_block_start", "index": self._index, "content_block": block}
        out.append(_event(b"content_block_start", event))

    def _delta(self, text: str, out: list[bytes]) -> None:
        match self._kind:
            case BlockKind.TOOL_CALL:
                shape: Any = b'{"type":"input_json_delta","partial_json":%b}'
            case BlockKind.REASONING:
                shape = b'{"type":"thinking_delta","thinking":%b}'
                self._begin_thought(out)
            case _:
                shape = b'{"type":"text_delta","text":%b}'
        self._change(shape % _encode(text), out)

    def _begin_thought(self, out: list[bytes]) -> None:
        if self._waits:
            self._waits = False
            self._begin({"type": "thinking", "thinking": "", "signature": ""}, out)

    def _change(self, delta: bytes, out: list[bytes]) -> None:
        out.append(
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n'
            % (self._index, delta)
        )

    def _end(self, opaque: Opaque | None, out: list[bytes]) -> None:
        if self._kind is not BlockKind.REASONING:
            self._stop(out)
            if self._kind is BlockKind.TOOL_CALL and opaque is not None:
                self._redacted(wrap(opaque), out)
            return
        thought = thought_of(opaque)
        if thought is not None and thought.type == "redacted_thinking":
            if not self._waits:
                self._stop(out)
            self._redacted(thought.data, out)
            return
        if opaque is not None:
            self._begin_thought(out)
        if not self._waits:
            self._change(b'{"type":"signature_delta","signature":%b}' % _encode(_signature(opaque)), out)
            self._stop(out)

    def _redacted(self, data: str, out: list[bytes]) -> None:
        self._begin({"type": "redacted_thinking", "data": data}, out)
        self._stop(out)

    def _stop(self, out: list[bytes]) -> None:
        out.append(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index)
        self._index += 1

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        event = {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason_of(finish), "stop_sequence": finish.stop_sequence},
            "usage": _usage_at_end(self._usage),
        }
        out += [_event(b"message_delta", event), _STOP]


class Forwarder:
    """An upstream's own events, each under its name. The last is held back until the answer is known to be whole."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._stop: bytes | None = None

    def write_problem(self, problem: Problem) -> bytes:
        """The error event that ends the stream."""
        return write_problem(problem, self._opening.id)

    def forward(self, frame: Frame) -> bytes:
        """The event as it came; one without a name gets that of its type, because clients ignore it without."""
        if self._stop is not None or frame.data == b"[DONE]":
            return b""
        name = frame.event
        if name is None:
            name = _type_of(frame.data)
            if name is None:
                return b""
            frame = sse.Frame(frame.data, name)
        data = sse.forward(frame)
        if name == b"message_stop":
            self._stop = data
            return b""
        return data

    def close(self) -> bytes:
        """The terminal event: the upstream's own, or one in its place."""
        return self._stop or _STOP


class _Typed(msgspec.Struct):
    type: str


_TYPED = msgspec.json.Decoder(_Typed)


def _type_of(data: bytes) -> bytes | None:
    """What an event calls itself; None for what is no event, such as a keep-alive in a data line."""
    try:
        name = _TYPED.decode(data).type
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return name.encode() if name and name.isprintable() else None


def write_reply(reply: Reply, opening: Opening) -> bytes:
    """A whole answer as a JSON body."""
    finish = reply.finish
    return _encode(
        {
            **_message(reply.head, opening),
            "content": [
                content for index, block in enumerate(reply.blocks) for content in _content(block, index, opening)
            ],
            "stop_reason": stop_reason_of(finish) if finish else None,
            "stop_sequence": finish.stop_sequence if finish else None,
            "usage": _usage(reply.usage),
        }
    )


def write_count(tokens: int) -> bytes:
    """A count of tokens as a JSON body."""
    return _encode({"input_tokens": tokens})


def write_problem(problem: Problem, request_id: str | None, *, as_json: bool = False) -> bytes:
    """The problem as the last event of a stream, or as a JSON body."""
    message = problem.message
    if problem.kind is Kind.CONTEXT_TOO_LONG:
        message = f"prompt is too long: {message}"  # the words by which clients know when to shorten a conversation
    error = {"type": ERROR_TYPE[problem.kind], "message": message}
    data = _encode({"type": "error", "error": error, "request_id": request_id})
    return data if as_json else sse.event(data, b"error")


def _event(name: bytes, event: dict[str, Any]) -> bytes:
    return sse.event(_encode(event), name)


def _message(head: Head, opening: Opening) -> dict[str, Any]:
    return {
        "id": head.id or f"msg_{opening.id}",
        "type": "message",
        "role": "assistant",
        "model": head.model or opening.model,
    }


def _content(block: Block, index: int, opening: Opening) -> list[dict[str, Any] | msgspec.Raw]:
    """A block as this dialect's: none for a thought without words and without a proof."""
    match block.kind:
        case BlockKind.TOOL_CALL:
            call = {
                "type": "tool_use",
                "id": _call_id(block.id, opening, index),
                "name": block.name or "",
                "input": input_of(block.text),
            }
            if block.opaque is None:
                return [call]
            return [call, {"type": "redacted_thinking", "data": wrap(block.opaque)}]
        case BlockKind.REASONING:
            if block.opaque is not None and thought_of(block.opaque) is not None:
                return [msgspec.Raw(block.opaque.raw)]
            if not block.text and block.opaque is None:
                return []
            return [{"type": "thinking", "thinking": block.text, "signature": _signature(block.opaque)}]
        case _:
            return [{"type": "text", "text": block.text}]


def _call_id(call_id: str | None, opening: Opening, index: int) -> str:
    """A call's id as Anthropic takes it back; one for a call that came without: the same for the same answer."""
    return told_id(call_id) if call_id else f"toolu_{_NOT_OF_AN_ID.sub('_', opening.id)}_{index}"


def _signature(opaque: Opaque | None) -> str:
    """What stands as a thought's signature: its own, another dialect's proof, or that there is none."""
    if opaque is None:
        return NONE
    thought = thought_of(opaque)
    return thought.signature if thought is not None else wrap(opaque)


def _fresh(usage: Usage) -> int:
    """The input less what the cache held: this dialect counts them apart."""
    return max(0, (usage.input_tokens or 0) - (usage.cached_tokens or 0) - (usage.cache_write_tokens or 0))


def _usage(usage: Usage | None) -> dict[str, Any]:
    """A complete usage. What must be a number is 0 where it is unknown; the rest is null."""
    known = usage or Usage()
    written = known.cache_write_tokens
    counts: dict[str, Any] = {
        "input_tokens": _fresh(known),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": known.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": written or 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": known.output_tokens or 0,
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
        "service_tier": "standard",
    }
    if known.reasoning_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": known.reasoning_tokens}
    return counts


def _usage_at_start(usage: Usage | None) -> dict[str, Any]:
    """The same before the answer: every count a number, because clients add to it."""
    counts = _usage(usage)
    return {name: 0 if count is None else count for name, count in counts.items()} | {"output_tokens": 0}


def _usage_at_end(usage: Usage | None) -> dict[str, Any]:
    """The totals. What is unknown is left out, and what the start said holds."""
    known = usage or Usage()
    counts: dict[str, Any] = {"output_tokens": known.output_tokens or 0}
    if known.input_tokens is not None:
        counts["input_tokens"] = _fresh(known)
    if known.cache_write_tokens is not None:
        counts["cache_creation_input_tokens"] = known.cache_write_tokens
    if known.cached_tokens is not None:
        counts["cache_read_input_tokens"] = known.cached_tokens
    if known.reasoning_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": known.reasoning_tokens}
    return counts
