"""The seed's own dialect, `POST /api/chat`: ingress only.

In: `{"message", "temperature"?, "maxTokens"?, "model"?, "sessionId"?}`. Out: `data: {"content":"..."}` events and
one terminal, `data: [DONE]` or `data: {"error":"...","type":"..."}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import LAST_TEXT_CHARACTERS, Call, Envelope, Facts, Message, Role, Text
from trunkline.core.problem import Kind, Problem, Retry, Source, invalid
from trunkline.core.reply import BlockKind, Delta, Event, Feature, Finish, FinishReason, Start
from trunkline.dialects import sse
from trunkline.dialects.dialect import top_level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.dialects.dialect import Opening

DEFAULT_TEMPERATURE: Final = 0.7
DEFAULT_MAX_TOKENS: Final = 10_000
MAX_MESSAGE_CHARACTERS: Final = 1_000_000
MAX_TEMPERATURE: Final = 2.0
MAX_MAX_TOKENS: Final = 1_000_000
MAX_MODEL_CHARACTERS: Final = 256

ERROR_TYPE: Final[Mapping[Kind, str]] = {
    Kind.INVALID_REQUEST: "invalid_request",
    Kind.UNAUTHENTICATED: "invalid_request",
    Kind.FORBIDDEN: "invalid_request",
    Kind.NOT_FOUND: "invalid_request",
    Kind.METHOD_NOT_ALLOWED: "invalid_request",
    Kind.CONFLICT: "invalid_request",
    Kind.TOO_LARGE: "invalid_request",
    Kind.UNSUPPORTED_MEDIA_TYPE: "invalid_request",
    Kind.MISDIRECTED: "invalid_request",
    Kind.UNPROCESSABLE: "invalid_request",
    Kind.CONTEXT_TOO_LONG: "invalid_request",
    Kind.CONTENT_FILTERED: "invalid_request",
    Kind.RATE_LIMITED: "rate_limit",
    Kind.UNREACHABLE: "network_error",
    Kind.TRUNCATED: "network_error",
    Kind.TIMED_OUT: "network_error",
    Kind.KEY_REFUSED: "server_error",
    Kind.UPSTREAM_FAILED: "server_error",
    Kind.UPSTREAM_INVALID: "server_error",
    Kind.OVERLOADED: "server_error",
    Kind.DRAINING: "server_error",
    Kind.UNAVAILABLE: "server_error",
    Kind.INTERNAL: "server_error",
}
"""The one table from kind to the seed's four types."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A request, read and checked. None where the client gave nothing (or null)."""

    message: str
    temperature: float | None
    max_tokens: int | None
    model: str | None
    session_id: str | None


def read_body(body: bytes) -> Body:
    """The request. Raises Problem INVALID_REQUEST naming the field that is wrong."""
    return _read(top_level(body))


def _read(keys: Mapping[str, msgspec.Raw]) -> Body:
    return Body(
        message=_message(keys),
        temperature=_temperature(keys),
        max_tokens=_max_tokens(keys),
        model=_name(keys, "model"),
        session_id=_name(keys, "sessionId"),
    )


def _value(keys: Mapping[str, msgspec.Raw], name: str) -> object:
    raw = keys.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # `top_level` has seen that it is JSON, so it is a number with too many digits or too large an exponent.
        raise invalid(f"`{name}` is out of range.", param=name) from None


def _message(keys: Mapping[str, msgspec.Raw]) -> str:
    value = _value(keys, "message")
    if "message" not in keys:
        raise invalid("`message` is missing: give the prompt as a string.", param="message")
    if not isinstance(value, str):
        raise invalid("`message` must be a string.", param="message")
    if not value.strip():
        raise invalid("`message` must not be empty.", param="message")
    if len(value) > MAX_MESSAGE_CHARACTERS:
        raise invalid(f"`message` must have at most {MAX_MESSAGE_CHARACTERS:,} characters.", param="message")
    return value


def _temperature(keys: Mapping[str, msgspec.Raw]) -> float | None:
    value = _value(keys, "temperature")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid("`temperature` must be a number.", param="temperature")
    if not 0 <= value <= MAX_TEMPERATURE:
        raise invalid("`temperature` must be from 0 to 2.", param="temperature")
    return float(value)


def _max_tokens(keys: Mapping[str, msgspec.Raw]) -> int | None:
    value = _value(keys, "maxTokens")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid("`maxTokens` must be an integer.", param="maxTokens")
    if not 1 <= value <= MAX_MAX_TOKENS:
        raise invalid(f"`maxTokens` must be from 1 to {MAX_MAX_TOKENS:,}.", param="maxTokens")
    return value


def _name(keys: Mapping[str, msgspec.Raw], name: str) -> str | None:
    value = _value(keys, name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise invalid(f"`{name}` must be a string that is not empty.", param=name)
    if len(value) > MAX_MODEL_CHARACTERS or not value.isprintable():
        raise invalid(f"`{name}` must be at most {MAX_MODEL_CHARACTERS} printable characters.", param=name)
    return value


class Writer:
    """Events -> the seed's stream. Reasoning and tool calls have no word here; a refusal is what a reader sees."""

    def __init__(self) -> None:
        self._hidden: set[int] = set()

    def write(self, events: Iterable[Event]) -> bytes:
        """The bytes that tell these events. Raises Problem CONTENT_FILTERED for that finish."""
        out = b""
        for event in events:
            match event:
                case Delta(index=index, text=text):
                    if text and index not in self._hidden:
                        out += b'data: {"content":%b}\n\n' % msgspec.json.encode(text)
                case Start(index=index, kind=BlockKind.REASONING | BlockKind.TOOL_CALL):
                    self._hidden.add(index)
                case Finish(reason=FinishReason.CONTENT_FILTER):
                    raise Problem(
                        Kind.CONTENT_FILTERED,
                        "The provider's content filter stopped this answer. Rephrase the message and try again.",
                        source=Source.CALLER,
                        retry=Retry.NEVER,
                    )
                case Finish():
                    out += sse.DONE
                case _:
                    pass
        return out

    def write_problem(self, problem: Problem) -> bytes:
        """The error event that ends the stream."""
        return write_problem(problem)


class Simple:
    """The ingress of `POST /api/chat`."""

    name = "simple"
    commits_on_reasoning = False
    keep_alive = sse.KEEP_ALIVE
    takes_receipts = False
    unsaid = frozenset(Feature)
    carries: Mapping[str, bool] = {}

    def peek(self, body: bytes) -> Envelope:
        """All of the request is shallow, so all of it is checked here."""
        keys = top_level(body)
        request = _read(keys)
        return Envelope(
            model=request.model,
            stream=True,
            max_tokens=request.max_tokens or DEFAULT_MAX_TOKENS,
            session_id=request.session_id,
            is_kept=True,
            conversation=request.session_id,
            keys=keys,
        )

    def facts(self, envelope: Envelope) -> Facts:
        """A message of text needs nothing more of a model."""
        text = _message(envelope.keys)
        said = text[:LAST_TEXT_CHARACTERS]
        return Facts(messages=1, text_bytes=len(text.encode(errors="replace")), last_text=said, opening=said)

    def provider_state(self, envelope: Envelope) -> str | None:
        """Nothing here can name what a provider keeps."""
        del envelope

    def provider_tool(self, envelope: Envelope) -> str | None:
        """Nothing here can have a provider run tools."""
        del envelope

    def read_call(self, body: bytes) -> Call:
        """One user message, with the seed's defaults for what is not given."""
        request = read_body(body)
        defaulted = {
            name
            for name, value in (("temperature", request.temperature), ("max_tokens", request.max_tokens))
            if value is None
        }
        return Call(
            messages=(Message(Role.USER, (Text(request.message),)),),
            temperature=DEFAULT_TEMPERATURE if request.temperature is None else request.temperature,
            max_tokens=request.max_tokens or DEFAULT_MAX_TOKENS,
            stream=True,
            defaulted=frozenset(defaulted),
        )

    def writer(self, opening: Opening | None = None) -> Writer:
        """A writer for one stream; nothing of an opening is told in this dialect."""
        del opening
        return Writer()

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """`{"error","type"}`, as the stream's last event or as plain JSON."""
        del request_id
        return write_problem(problem, as_json=as_json)


def write_problem(problem: Problem, *, as_json: bool = False) -> bytes:
    """`{"error","type"}`, as the stream's last event or as plain JSON."""
    data = msgspec.json.encode({"error": problem.message, "type": ERROR_TYPE[problem.kind]})
    return data if as_json else sse.event(data)
