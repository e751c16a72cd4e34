"""OpenAI's chat completions, as most of the field speaks it: the egress.

Sources: https://platform.openai.com/docs/api-reference/chat and, for errors inside an answer, the provider and
cost fields, https://openrouter.ai/docs/api-reference/overview (read 2026-08-22).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.problem import Kind, Problem, Retry, Source, invalid
from trunkline.core.reply import (
    BlockKind,
    Delta,
    End,
    Event,
    Finish,
    FinishReason,
    Head,
    Start,
    Usage,
)
from trunkline.dialects.dialect import WireRequest
from trunkline.dialects.retry_after import read_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.dialects.sse import Frame

NANO: Final = 1_000_000_000
MAX_UPSTREAM_WORDS: Final = 300
MAX_REASONABLE_COST: Final = 1_000_000
"""Dollars. A single answer's cost over this is a broken number, not a price."""

_SECRET_SHAPED = re.compile(r"\b(?:sk|gsk|xai|pk|rk|key|org|proj|tl)[-_][\w*-]{6,}", re.ASCII)

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    cost: float | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    index: int = 0
    error: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None


class _Metadata(msgspec.Struct):
    error_type: str | None = None


class _Error(msgspec.Struct):
    """Numbers and words both occur as `code`; OpenRouter has `metadata.error_type`, others `type`."""

    message: str | None = None
    code: int | str | None = None
    type: str | None = None
    error_type: str | None = None
    http_status: int | None = None
    metadata: _Metadata | None = None


class _ErrorBody(msgspec.Struct):
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_ERROR_BODY = msgspec.json.Decoder(_ErrorBody)


class Reader:
    """Frames -> events for the first choice. Usage may come before or after the finish, or with it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._head_sent = False
        self._open: BlockKind | None = None
        self._index = -1
        self._finish: Finish | None = None

    def read(self, frame: Frame) -> Sequence[Event]:
        """The events of one frame. Raises Problem for an error object and for what is no chunk."""
        if frame.data == b"[DONE]":
            return ()
        if not frame.data or frame.data.startswith(b":"):
            return ()  # a keep-alive that somebody put into a data line
        try:
            chunk = _CHUNK.decode(frame.data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise _invalid_answer(self._target, "an event that is not a chat completion chunk") from error
        if chunk.error is not None:
            raise self._stream_error(chunk.error)
        events: list[Event] = []
        if not self._head_sent and (chunk.id or chunk.model):
            self._head_sent = True
            events.append(Head(id=chunk.id, model=chunk.model))
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._choice(choice, events)
        if chunk.usage is not None:
            events.append(_usage(chunk.usage))
        return events

    def close(self) -> Sequence[Event]:
        """The finish, once nothing can follow it. Raises Problem TRUNCATED without one."""
        if self._finish is None:
            raise Problem(
                Kind.TRUNCATED,
                f"{self._target.provider.label} ended its answer in the middle. Try again.",
                source=Source.UPSTREAM,
                retry=Retry.ELSEWHERE,
                detail="stream ended without a finish reason",
            )
        return (self._finish,)

    def _choice(self, choice: _Choice, events: list[Event]) -> None:
        if choice.error is not None:
            raise self._stream_error(choice.error)
        delta = choice.delta
        if delta is not None:
            if reasoning := delta.reasoning or delta.reasoning_content:
                self._text(BlockKind.REASONING, reasoning, events)
            if delta.content:
                self._text(BlockKind.TEXT, delta.content, events)
            if delta.refusal:
                self._text(BlockKind.REFUSAL, delta.refusal, events)
        if choice.finish_reason and self._finish is None:
            if choice.finish_reason == "error":
                raise self._stream_error(None)
            if self._open is not None:
                events.append(End(self._index))
                self._open = None
            reason = _FINISH.get(choice.finish_reason, FinishReason.STOP)
            self._finish = Finish(reason, choice.native_finish_reason or choice.finish_reason)

    def _text(self, kind: BlockKind, text: str, events: list[Event]) -> None:
        if self._open is not kind:
            if self._open is not None:
                events.append(End(self._index))
            self._index += 1
            self._open = kind
            events.append(Start(self._index, kind))
        events.append(Delta(self._index, text))

    def _stream_error(self, error: object) -> Problem:
        return _classify(self._target, 200, {}, _read_error(error))


class OpenAIChat:
    """The egress of every provider that speaks chat completions."""

    name = "openai_chat"

    def write_call(self, call: Call, target: Target) -> WireRequest:
        """`POST {base}/chat/completions`. Raises Problem where an explicit value is over the target's limit."""
        provider, model = target.provider, target.model
        body: dict[str, object] = {
            "model": model.id,
            "messages": [{"role": message.role.value, "content": message.text} for message in call.messages],
            "stream": call.stream,
        }
        if call.temperature is not None:
            if provider.quirks.takes_temperature:
                body["temperature"] = call.temperature
            elif "temperature" not in call.defaulted:
                raise invalid(
                    f"{target.name} does not take a temperature: leave it out.", param="temperature"
                )
        if call.max_tokens is not None:
            body[provider.quirks.max_tokens_key] = _max_tokens(call.max_tokens, call, target)
        if call.stream and provider.quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
        headers = [
            ("content-type", "application/json"),
            ("accept", "text/event-stream" if call.stream else "application/json"),
            *provider.headers,
        ]
        if provider.credential is not None:
            headers.append(("authorization", f"Bearer {provider.credential.reveal()}"))
        return WireRequest(
            method="POST",
            origin=provider.origin,
            path=f"{provider.path}/chat/completions",
            headers=tuple(headers),
            body=msgspec.json.encode(body),
            allow_private=provider.allow_private,
        )

    def reader(self, target: Target) -> Reader:
        """A reader for one stream of this target."""
        return Reader(target)

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What a status that is not 200, or a 200 that is no stream, means."""
        error: object = None
        if body:
            try:
                error = _ERROR_BODY.decode(body).error
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                error = None
        if 200 <= status < 300 and error is None:
            kind = headers.get("content-type", "no content type").partition(";")[0][:60]
            return _invalid_answer(target, f"status {status}, {kind}, {len(body)} bytes")
        return _classify(target, status, headers, _read_error(error))


def _max_tokens(wanted: int, call: Call, target: Target) -> int:
    limit = target.model.max_output_tokens
    if limit is None or wanted <= limit:
        return wanted
    if "max_tokens" in call.defaulted:
        return limit
    raise invalid(
        f"{target.name} gives at most {limit:,} tokens in an answer; {wanted:,} were asked for.",
        param="maxTokens",
    )


def _usage(usage: _Usage) -> Usage:
    cost = usage.cost
    cost_nano = None
    if cost is not None and math.isfinite(cost) and 0 <= cost <= MAX_REASONABLE_COST:
        cost_nano = round(cost * NANO)
    return Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cached_tokens=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None,
        reasoning_tokens=usage.completion_tokens_details.reasoning_tokens
        if usage.completion_tokens_details
        else None,
        cost_nano=cost_nano,
    )


def _read_error(error: object) -> _Error:
    if isinstance(error, str):
        return _Error(message=error)
    try:
        return msgspec.convert(error, _Error)
    except msgspec.ValidationError:
        return _Error()


def _invalid_answer(target: Target, detail: str) -> Problem:
    return Problem(
        Kind.UPSTREAM_INVALID,
        f"{target.provider.label} sent something that is not an answer. Try again, or try another model.",
        source=Source.UPSTREAM,
        retry=Retry.ELSEWHERE,
        detail=detail,
    )


_CONTEXT = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",
        "max_tokens_exceeded",
        "token_limit_exceeded",
        "string_too_long",
    }
)
_FILTERED = frozenset({"content_policy_violation", "content_filter", "moderation", "refusal"})
_TYPE_STATUS: Final[Mapping[str, int]] = {
    "authentication": 401,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_denied": 403,
    "payment_required": 402,
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "provider_overloaded": 503,
    "overloaded_error": 503,
    "provider_unavailable": 502,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "not_found": 404,
    "model_not_found": 404,
    "payload_too_large": 413,
    "unprocessable": 422,
    "server": 500,
    "server_error": 500,
    "timeout": 504,
}
"""What an error inside a 200 would have been as a status: OpenRouter's `error_type`s and OpenAI's `type`s and `code`s."""


def _effective_status(status: int, error: _Error) -> int:
    """The status that the error itself names, where the HTTP status does not tell."""
    if status >= 400:
        return status
    if isinstance(error.code, int) and 400 <= error.code <= 599:
        return error.code
    if error.http_status is not None and 400 <= error.http_status <= 599:
        return error.http_status
    for word in _words(error):
        if word in _TYPE_STATUS:
            return _TYPE_STATUS[word]
        if word.isdigit() and 400 <= int(word[:9]) <= 599:
            return int(word)
    return 500


def _words(error: _Error) -> list[str]:
    words = [
        error.metadata.error_type if error.metadata else None,
        error.error_type,
        error.code if isinstance(error.code, str) else None,
        error.type,
    ]
    return [word for word in words if word]


def _classify(target: Target, http_status: int, headers: Mapping[str, str], error: _Error) -> Problem:
    """Who is at fault, and whether another attempt could help. Failure modes F08, F23 and F24 of the field."""
    status = _effective_status(http_status, error)
    words = _words(error)
    label = target.provider.label
    detail = f"status {http_status}" + (f", error {status}" if status != http_status else "")
    for word in words[:1]:
        if re.fullmatch(r"[a-z0-9_.-]{1,60}", word):
            detail += f", {word}"

    def problem(kind: Kind, message: str, source: Source, retry: Retry) -> Problem:
        return Problem(
            kind,
            message,
            source=source,
            retry=retry,
            retry_after_s=read_retry_after(headers),
            upstream_status=http_status,
            detail=detail,
        )

    if _CONTEXT.intersection(words):
        return problem(
            Kind.CONTEXT_TOO_LONG,
            f"The conversation is longer than {target.name} can take." + _said(error, target),
            Source.CALLER,
            Retry.ELSEWHERE,
        )
    if _FILTERED.intersection(words):
        return problem(
            Kind.CONTENT_FILTERED,
            f"{label} refused this message by its content policy. Rephrase it and try again.",
            Source.CALLER,
            Retry.NEVER,
        )
    match status:
        case 401 | 402 | 403:
            why = "has no credit left" if status == 402 else "was refused"
            return problem(
                Kind.KEY_REFUSED,
                f"The router's key for {label} {why}. Whoever runs this router must check it (`trunkline doctor`).",
                Source.ROUTER,
                Retry.ELSEWHERE,
            )
        case 404:
            return problem(
                Kind.NOT_FOUND,
                f"{label} does not serve the model {target.model.id!r}." + _said(error, target),
                Source.CALLER,
                Retry.ELSEWHERE,
            )
        case 429:
            return problem(
                Kind.RATE_LIMITED,
                f"{label} limits how often {target.model.id} may be asked. Wait a little and try again.",
                Source.UPSTREAM,
                Retry.ELSEWHERE,
            )
        case 413:
            return problem(
                Kind.TOO_LARGE, f"{label} finds the request too large.", Source.CALLER, Retry.NEVER
            )
        case 408 | 409:
            pass
        case _ if 400 <= status < 500:
            return problem(
                Kind.INVALID_REQUEST,
                f"{label} refused the request as invalid." + _said(error, target),
                Source.CALLER,
                Retry.NEVER,
            )
        case _ if 300 <= status < 400:
            return _invalid_answer(target, f"status {status}: a redirect, which is not followed")
        case _:
            pass
    return problem(
        Kind.UPSTREAM_FAILED,
        f"{label} has a problem of its own (status {status}). Try again, or try another model.",
        Source.UPSTREAM,
        Retry.ELSEWHERE,
    )


def _said(error: _Error, target: Target) -> str:
    """The provider's own sentence, for a caller who has something to mend: short, one line, no secret in it."""
    if not error.message:
        return ""
    words = " ".join(error.message.split())
    if target.provider.credential is not None:
        words = words.replace(target.provider.credential.reveal(), "***")
    words = "".join(character for character in _SECRET_SHAPED.sub("***", words) if character.isprintable())
    if len(words) > MAX_UPSTREAM_WORDS:
        words = words[:MAX_UPSTREAM_WORDS] + "..."
    return f" It says: {words}"
