"""Anthropic's messages, towards clients and towards upstreams; and its count of tokens.

Sources: https://platform.claude.com/docs/en/api/messages, https://platform.claude.com/docs/en/api/messages-count-tokens
(read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Envelope, Need, Operation
from trunkline.core.reply import Feature, unfold
from trunkline.dialects import sse
from trunkline.dialects.anthropic_messages import answer as anthropic_answer
from trunkline.dialects.anthropic_messages import call as anthropic_call
from trunkline.dialects.anthropic_messages import writer as anthropic_writer
from trunkline.dialects.anthropic_messages.body import without_foreign_thoughts
from trunkline.dialects.anthropic_messages.facts import facts_of
from trunkline.dialects.anthropic_messages.reader import Reader
from trunkline.dialects.anthropic_messages.request import request_body
from trunkline.dialects.anthropic_messages.state import provider_state, provider_tool
from trunkline.dialects.anthropic_messages.words import DEFAULT_MAX_TOKENS, NAME
from trunkline.dialects.anthropic_messages.writer import Forwarder, Writer
from trunkline.dialects.asked_models import PLANNED, read_models, read_preferences
from trunkline.dialects.dialect import WireRequest, join, post, top_level
from trunkline.dialects.json_fields import JsonFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.core.call import Call, Facts
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Event, Reply
    from trunkline.dialects.dialect import Opening

VERSION: Final = "2023-06-01"

__all__ = ["AnthropicMessages", "AnthropicMessagesIngress", "Forwarder", "Reader", "Writer", "provider_state"]


class AnthropicMessagesIngress:
    """The ingress of `POST /v1/messages` and, for Operation.COUNT, of `POST /v1/messages/count_tokens`."""

    name = NAME
    commits_on_reasoning = True
    keep_alive = sse.KEEP_ALIVE
    takes_receipts = True
    unsaid = frozenset({Feature.CITATIONS, Feature.LOGPROBS})
    carries: Mapping[str, bool] = {"anthropic-version": False, "anthropic-beta": True}

    def __init__(self, operation: Operation = Operation.GENERATE) -> None:
        self._operation = operation

    def peek(self, body: bytes) -> Envelope:
        """The top-level keys that planning needs. Raises Problem INVALID_REQUEST naming the field."""
        keys = top_level(body)
        fields = JsonFields(keys)
        model, fallbacks = read_models(fields)
        if not fields.starts_with("messages", b"["):
            raise fields.wrong("messages", "must be a list of messages" if fields.has("messages") else "is missing")
        stream = fields.flag("stream") or False
        return Envelope(
            model=model,
            fallbacks=fallbacks,
            preferences=read_preferences(fields),
            operation=self._operation,
            stream=stream and self._operation is Operation.GENERATE,
            max_tokens=fields.integer("max_tokens", 1),
            wants_usage=True,
            keys=keys,
        )

    def facts(self, envelope: Envelope) -> Facts:
        """What the request needs."""
        return facts_of(envelope.keys)

    def provider_state(self, envelope: Envelope) -> str | None:
        """The path of the first field that names what a provider keeps for its account."""
        return provider_state(envelope.keys)

    def provider_tool(self, envelope: Envelope) -> str | None:
        """The path of the first field that has the provider run tools."""
        return provider_tool(envelope.keys)

    def read_call(self, body: bytes) -> Call:
        """The whole request. Raises Problem INVALID_REQUEST naming the field."""
        return anthropic_call.read_call(body)

    def writer(self, opening: Opening) -> Writer:
        """A writer for one stream."""
        return Writer(opening)

    def forwarder(self, opening: Opening) -> Forwarder:
        """What passes an upstream's frames on, for one stream."""
        return Forwarder(opening)

    def write_reply(self, reply: Reply, opening: Opening) -> bytes:
        """A whole answer as a JSON body."""
        return anthropic_writer.write_reply(reply, opening)

    def write_count(self, tokens: int) -> bytes:
        """A count of tokens as a JSON body."""
        return anthropic_writer.write_count(tokens)

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """The problem as the last event of a stream, or as a JSON body."""
        return anthropic_writer.write_problem(problem, request_id, as_json=as_json)


class AnthropicMessages:
    """The egress of every provider that speaks messages."""

    name = NAME
    offers = frozenset({Need.IMAGES, Need.FILES, Need.TOOLS, Need.SCHEMA})

    def write_call(self, call: Call, target: Target) -> WireRequest:
        """`POST {base}/messages`. Raises Problem where the dialect or the target cannot take what was asked for."""
        body, dropped = request_body(call, target)
        return _request(target, body, dropped, is_stream=call.stream)

    def write_count_call(self, call: Call, target: Target) -> WireRequest:
        """`POST {base}/messages/count_tokens`: only what is part of the prompt. Raises Problem as `write_call` does."""
        body, dropped = request_body(call, target, is_count=True)
        return _request(target, body, dropped, operation=Operation.COUNT)

    def splice(self, body: bytes, envelope: Envelope, target: Target) -> WireRequest:
        """The client's own body with the target's model, a limit where it has none, and no proofs of others."""
        changes: dict[str, bytes | None] = {"model": msgspec.json.encode(target.model.id), **dict.fromkeys(PLANNED)}
        if envelope.operation is Operation.GENERATE and envelope.max_tokens is None:
            changes["max_tokens"] = msgspec.json.encode(target.model.max_output_tokens or DEFAULT_MAX_TOKENS)
        thoughts, dropped = without_foreign_thoughts(body, envelope.keys)
        return _request(
            target,
            join(envelope.keys, {**changes, **thoughts}),
            dropped,
            is_stream=envelope.stream,
            operation=envelope.operation,
            carried=envelope.headers,
        )

    def read_reply(self, body: bytes, target: Target) -> Reply:
        """A whole answer. Raises Problem for an error inside it and for what is no answer."""
        return anthropic_answer.read_reply(body, target)

    def read_events(self, body: bytes, target: Target) -> Sequence[Event]:
        """The same as the events that tell it."""
        return unfold(self.read_reply(body, target))

    def read_count(self, body: bytes, target: Target) -> int:
        """The answer to a count of tokens. Raises Problem for what is none."""
        return anthropic_answer.read_count(body, target)

    def reader(self, target: Target) -> Reader:
        """A reader for one stream of this target."""
        return Reader(target)

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What a status that is not 200, or a 200 that is no answer, means."""
        return anthropic_answer.read_problem(target, status, headers, body)


def _request(
    target: Target,
    body: bytes,
    dropped: tuple[str, ...],
    *,
    is_stream: bool = False,
    operation: Operation = Operation.GENERATE,
    carried: tuple[tuple[str, str], ...] = (),
) -> WireRequest:
    path = "/messages/count_tokens" if operation is Operation.COUNT else "/messages"
    return post(
        target,
        path,
        body,
        is_stream=is_stream,
        dropped=dropped,
        carried=carried,
        defaults=(("anthropic-version", VERSION),),
    )
