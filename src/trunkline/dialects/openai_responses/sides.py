"""OpenAI's responses, `POST /v1/responses`: ingress and egress. Stateless: nothing is kept by the provider.

Source: https://platform.openai.com/docs/api-reference/responses (openai-python 3.54.0, 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Envelope, Need
from trunkline.core.reply import Feature, unfold
from trunkline.dialects import sse
from trunkline.dialects.asked_models import conversation_name, read_models, read_preferences
from trunkline.dialects.dialect import WireRequest, post, top_level
from trunkline.dialects.json_fields import JsonFields
from trunkline.dialects.openai_responses.answer import read_failure, read_reply
from trunkline.dialects.openai_responses.call import NAME, read_call
from trunkline.dialects.openai_responses.facts import facts_of
from trunkline.dialects.openai_responses.problem import write_problem
from trunkline.dialects.openai_responses.reader import Reader
from trunkline.dialects.openai_responses.request import limited, write_body
from trunkline.dialects.openai_responses.splice import spliced
from trunkline.dialects.openai_responses.state import provider_state, provider_tool
from trunkline.dialects.openai_responses.writer import Writer, write_reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.core.call import Call, Facts
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Event, Reply
    from trunkline.dialects.dialect import Opening
    from trunkline.dialects.sse import Frame

PATH: Final = "/responses"
STATELESS: Final = ("previous_response_id", "background")
"""What cannot work where no answer is kept, whatever a caller may do."""


class Forwarder:
    """Upstream frames, passed on: their names and payloads untouched, unknown events among them.

    The dialect needs no `[DONE]`. Where an upstream sends one it follows the finish.
    """

    def __init__(self) -> None:
        self._last = b""
        self._has_sentinel = False

    def forward(self, frame: Frame) -> bytes:
        """The frame as it goes on; empty for a keep-alive in a data line, which clients take for a broken event."""
        if frame.data == b"[DONE]":
            self._has_sentinel = True
            return b""
        if not frame.data or frame.data.startswith(b":"):
            return b""
        self._last = frame.data
        return sse.forward(frame)

    def close(self) -> bytes:
        """The sentinel, if the upstream sent one."""
        return sse.DONE if self._has_sentinel else b""

    def write_problem(self, problem: Problem) -> bytes:
        """The `error` event that ends a stream that breaks, numbered after the last frame that went on."""
        try:
            last = _NUMBERED.decode(self._last).sequence_number
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            last = None
        return write_problem(problem) if last is None else write_problem(problem, sequence_number=last + 1)


class _Numbered(msgspec.Struct):
    sequence_number: int | None = None


_NUMBERED = msgspec.json.Decoder(_Numbered)


class OpenAIResponses:
    """Both sides of `POST /v1/responses`."""

    name = NAME
    commits_on_reasoning = True
    keep_alive = sse.KEEP_ALIVE
    takes_receipts = True
    unsaid = frozenset({Feature.STOP_SEQUENCE})
    carries: Mapping[str, bool] = {}
    offers = frozenset(Need) - {Need.AUDIO, Need.EMBEDDINGS, Need.TOKENS}

    def peek(self, body: bytes) -> Envelope:
        """The top-level keys that planning needs. Raises Problem INVALID_REQUEST naming the field."""
        keys = top_level(body)
        fields = JsonFields(keys)
        for name in STATELESS:
            if name in keys and bytes(keys[name]) not in {b"null", b"false"}:
                raise fields.wrong(name, "needs an answer that the provider has kept, and none is: send it in `input`")
        model, fallbacks = read_models(fields)
        return Envelope(
            model=model,
            fallbacks=fallbacks,
            preferences=read_preferences(fields),
            stream=fields.flag("stream") or False,
            max_tokens=fields.integer("max_output_tokens", 1),
            wants_usage=True,
            conversation=conversation_name(fields),
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
        return read_call(body)

    def writer(self, opening: Opening) -> Writer:
        """A writer for one stream."""
        return Writer(opening)

    def write_reply(self, reply: Reply, opening: Opening) -> bytes:
        """A whole answer as a JSON body."""
        return write_reply(reply, opening)

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """`{"error":{...}}`, or the `error` event.

        A stream's own writer or forwarder has a `write_problem` that numbers it rightly.
        """
        del request_id
        return write_problem(problem, as_json=as_json)

    def forwarder(self, opening: Opening) -> Forwarder:
        """What passes an upstream's frames on; nothing of an opening is told there."""
        del opening
        return Forwarder()

    def write_call(self, call: Call, target: Target) -> WireRequest:
        """`POST {base}/responses`. Raises Problem where the target cannot take what is asked for."""
        body, dropped = write_body(call, target)
        return post(target, PATH, body, is_stream=call.stream, dropped=dropped)

    def splice(self, body: bytes, envelope: Envelope, target: Target) -> WireRequest:
        """The client's own body for this target. Raises Problem where its limit is over the target's."""
        if envelope.max_tokens is not None:
            limited(envelope.max_tokens, target, "max_output_tokens")
        del body
        data, dropped = spliced(envelope.keys, target.model.id)
        return post(target, PATH, data, is_stream=envelope.stream, dropped=dropped)

    def read_reply(self, body: bytes, target: Target) -> Reply:
        """A whole answer. Raises Problem for an error inside it and for what is no answer."""
        return read_reply(body, target)

    def read_events(self, body: bytes, target: Target) -> Sequence[Event]:
        """The same as the events that tell it."""
        return unfold(self.read_reply(body, target))

    def reader(self, target: Target) -> Reader:
        """A reader for one stream of this target."""
        return Reader(target)

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What a status that is not 200, or a 200 that is no stream, means."""
        return read_failure(target, status, headers, body)
