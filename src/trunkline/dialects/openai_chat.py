"""OpenAI's chat completions, as most of the field speaks it: the egress.

Sources: https://platform.openai.com/docs/api-reference/chat and, for errors inside an answer, the provider and
cost fields, https://openrouter.ai/docs/api-reference/overview (read 2026-08-22).
"""

from __future__ import annotations

import math
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
from trunkline.dialects.upstream_error import classify, invalid_answer, parse_error_body, read_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.dialects.sse import Frame

NANO: Final = 1_000_000_000
MAX_REASONABLE_COST: Final = 1_000_000
"""Dollars. A single answer's cost over this is a broken number, not a price."""

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


_CHUNK = msgspec.json.Decoder(_Chunk)


class Reader:
    """Frames -> events for the first choice. Usage may come before or after the finish, or with it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._head_sent = False
        self._open: BlockKind | None = None
        self._index = -1
        self._finish: Finish | None = None
        self.is_done = False

    @property
    def is_finished(self) -> bool:
        """Whether the answer is whole; only usage can still follow."""
        return self._finish is not None

    def read(self, frame: Frame) -> Sequence[Event]:
        """The events of one frame. Raises Problem for an error object and for what is no chunk."""
        if frame.data == b"[DONE]":
            self.is_done = True
            return ()
        if not frame.data or frame.data.startswith(b":"):
            return ()  # a keep-alive that somebody put into a data line
        try:
            chunk = _CHUNK.decode(frame.data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise invalid_answer(self._target, "an event that is not a chat completion chunk") from error
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
        return classify(self._target, 200, {}, read_error(error))


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
                raise invalid(f"{target.name} does not take a temperature: leave it out.", param="temperature")
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
        error = parse_error_body(body)
        if 200 <= status < 300 and error is None:
            kind = headers.get("content-type", "no content type").partition(";")[0][:60]
            return invalid_answer(target, f"status {status}, {kind}, {len(body)} bytes")
        return classify(target, status, headers, read_error(error))


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
        reasoning_tokens=usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None,
        cost_nano=cost_nano,
    )
