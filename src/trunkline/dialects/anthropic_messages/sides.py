"""Anthropic's messages, towards clients and towards upstreams; and its count of tokens.

Sources: https://platform.claude.com/docs/en/api/messages, https://platform.claude.com/docs/en/api/messages-count-tokens
(read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Envelope, Operation
from trunkline.core.problem import invalid
from trunkline.dialects import sse
from trunkline.dialects.anthropic_messages import answer as anthropic_answer
from trunkline.dialects.anthropic_messages import call as anthropic_call
from trunkline.dialects.anthropic_messages import writer as anthropic_writer
from trunkline.dialects.anthropic_messages.body import PLANNED, without_foreign_thoughts
from trunkline.dialects.anthropic_messages.reader import Reader
from trunkline.dialects.anthropic_messages.request import request_body
from trunkline.dialects.anthropic_messages.state import provider_state, provider_tool
from trunkline.dialects.anthropic_messages.words import DEFAULT_MAX_TOKENS, NAME
from trunkline.dialects.anthropic_messages.writer import Forwarder, Writer
from trunkline.dialects.dialect import WireRequest, key_header, splice, top_level
from trunkline.dialects.json_fields import JsonFields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Reply
    from trunkline.dialects.dialect import Opening

VERSION: Final = "2023-06-01"
MAX_MODEL_CHARACTERS: Final = 256

__all__ = ["AnthropicMessages", "AnthropicMessagesIngress", "Forwarder", "Reader", "Writer", "provider_state"]


class AnthropicMessagesIngress:
    """The ingress of `POST /v1/messages` and, for Operation.COUNT, of `POST /v1/messages/count_tokens`."""

    name = NAME
    commits_on_reasoning = True
    keep_alive = sse.KEEP_ALIVE

    def __init__(self, operation: Operation = Operation.GENERATE) -> None:
        self._operation = operation

    def peek(self, body: bytes) -> Envelope:
        """The top-level keys. Raises Problem INVALID_REQUEST naming the field, also for what a tenant may not name."""
        keys = top_level(body)
        fields = JsonFields(keys)
        model = fields.text("model")
        if model is None:
            raise fields.wrong("model", "is missing")
        if not model.strip() or len(model) > MAX_MODEL_CHARACTERS or not model.isprintable():
            raise fields.wrong("model", f"must be 1 to {MAX_MODEL_CHARACTERS} printable characters")
        if not fields.starts_with("messages", b"["):
            raise fields.wrong("messages", "must be a list of messages" if fields.has("messages") else "is missing")
        stream = fields.flag("stream") or False
        max_tokens = fields.integer("max_tokens")
        if max_tokens is not None and max_tokens < 1:
            raise fields.wrong("max_tokens", "must be at least 1")
        if (found := provider_state(keys)) is not None:
            what = (
                f"`{found}` names something that the provider keeps for its account, which this router does not share."
            )
            raise invalid(what, param=found)
        if (found := provider_tool(keys)) is not None:
            raise invalid(f"`{found}` asks for a tool that the provider runs, which is not allowed here.", param=found)
        is_count = self._operation is Operation.COUNT
        return Envelope(
            model=model,
            operation=self._operation,
            stream=stream and not is_count,
            max_tokens=max_tokens,
            wants_usage=True,
        )

    def read_call(self, body: bytes) -> Call:
        """The whole request. Raises Problem INVALID_REQUEST naming the field."""
        return anthropic_call.read_call(body)

    def writer(self, opening: Opening) -> Writer:
        """A writer for one stream."""
        return Writer(opening)

    def forwarder(self, opening: Opening) -> Forwarder:
        """What passes an upstream's frames on, for one stream; they say all that an opening could."""
        del opening
        return Forwarder()

    def write_reply(self, reply: Reply, opening: Opening) -> bytes:
        """A whole answer as a JSON body."""
        return anthropic_writer.write_reply(reply, opening)

    def write_count(self, tokens: int) -> bytes:
        """A count of tokens as a JSON body."""
        return anthropic_writer.write_count(tokens)

    def write_problem(self, problem: Problem, *, as_json: bool = False) -> bytes:
        """The problem as the last event of a stream, or as a JSON body."""
        return anthropic_writer.write_problem(problem, as_json=as_json)


class AnthropicMessages:
    """The egress of every provider that speaks messages."""

    name = NAME

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
        changes: dict[str, bytes | None] = {"model": msgspec.json.encode(target.model.id), **PLANNED}
        if envelope.operation is Operation.GENERATE and envelope.max_tokens is None:
            changes["max_tokens"] = msgspec.json.encode(target.model.max_output_tokens or DEFAULT_MAX_TOKENS)
        messages = without_foreign_thoughts(body)
        if messages is not None:
            changes["messages"] = messages
        dropped = () if messages is None else ("reasoning",)
        spliced = splice(body, changes)
        return _request(target, spliced, dropped, is_stream=envelope.stream, operation=envelope.operation)

    def read_reply(self, body: bytes, target: Target) -> Reply:
        """A whole answer. Raises Problem for an error inside it and for what is no answer."""
        return anthropic_answer.read_reply(body, target)

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
) -> WireRequest:
    provider = target.provider
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if is_stream else "application/json"),
    ]
    if not any(name.lower() == "anthropic-version" for name, _ in provider.headers):
        headers.append(("anthropic-version", VERSION))
    headers += provider.headers
    headers += key_header(provider)
    action = "/messages/count_tokens" if operation is Operation.COUNT else "/messages"
    return WireRequest(
        method="POST",
        origin=provider.origin,
        path=f"{provider.path}{action}",
        headers=tuple(headers),
        body=body,
        allow_private=provider.allow_private,
        dropped=dropped,
    )
