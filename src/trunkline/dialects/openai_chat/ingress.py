"""OpenAI's chat completions: the ingress of `POST /v1/chat/completions`, for clients of OpenAI and of OpenRouter.

Sources: https://platform.openai.com/docs/api-reference/chat, https://openrouter.ai/docs/api-reference/overview
(read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Call, Envelope, Facts
from trunkline.core.price import dollars
from trunkline.core.problem import Problem
from trunkline.core.reply import Feature
from trunkline.dialects import sse
from trunkline.dialects.asked_models import (
    CONVERSATION_NAMES,
    conversation_name,
    read_model,
    read_models,
    read_preferences,
)
from trunkline.dialects.dialect import splice, top_level
from trunkline.dialects.json_fields import JsonFields
from trunkline.dialects.openai_chat.call import read_call, read_limit
from trunkline.dialects.openai_chat.facts import facts_of
from trunkline.dialects.openai_chat.fields import provider_state, provider_tool
from trunkline.dialects.openai_chat.wire import NAME, read_usage
from trunkline.dialects.openai_chat.writer import Writer, write_problem, write_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.reply import Reply
    from trunkline.dialects.dialect import Opening
    from trunkline.dialects.sse import Frame

ATTRIBUTION: Final[Mapping[str, bool]] = dict.fromkeys(
    ("http-referer", "x-title", "x-openrouter-title", "x-openrouter-categories"), False
)
"""By these headers OpenRouter knows an application; they mean nothing to anybody else.
Source: https://openrouter.ai/docs/app-attribution (read 2026-11-25)."""

MAX_ANSWERS: Final = 128

_SELDOM: Final = frozenset(
    {
        *("models", "fallbacks", "provider", "n", "service_tier", "stream_options", "usage"),
        *("max_tokens", "max_completion_tokens"),
        *CONVERSATION_NAMES,
    }
)
"""What planning looks at beside the model and whether to stream: many requests have none of it."""


class OpenAIChatIngress:
    """The ingress of chat completions."""

    name = NAME
    commits_on_reasoning = True
    keep_alive = sse.KEEP_ALIVE
    takes_receipts = True
    unsaid = frozenset({Feature.STOP_SEQUENCE})
    carries: Mapping[str, bool] = ATTRIBUTION

    def peek(self, body: bytes) -> Envelope:
        """The top-level keys that planning needs. Raises Problem INVALID_REQUEST naming the field."""
        keys = top_level(body)
        fields = JsonFields(keys)
        is_plain = fields.has_none_of(_SELDOM)
        model, fallbacks = (read_model(fields), ()) if is_plain else read_models(fields)
        if not fields.starts_with("messages", b"["):
            raise fields.wrong("messages", "must be a list of objects")
        stream = fields.flag("stream") or False
        if is_plain:
            return Envelope(model=model, stream=stream, keys=keys)
        n = fields.integer("n")
        if n is not None and not 1 <= n <= MAX_ANSWERS:
            raise fields.wrong("n", f"must be from 1 to {MAX_ANSWERS}")
        fields.text("service_tier")
        return Envelope(
            model=model,
            fallbacks=fallbacks,
            preferences=read_preferences(fields),
            stream=stream,
            max_tokens=read_limit(fields),
            wants_usage=wants_usage(fields),
            conversation=conversation_name(fields),
            answers=n or 1,
            keys=keys,
        )

    def facts(self, envelope: Envelope) -> Facts:
        """What the request needs."""
        return facts_of(envelope.keys)

    def provider_state(self, envelope: Envelope) -> str | None:
        """The path of the first field that names what a provider keeps for its account."""
        return provider_state(envelope)

    def provider_tool(self, envelope: Envelope) -> str | None:
        """The path of the first field that has the provider run tools."""
        return provider_tool(envelope)

    def read_call(self, body: bytes) -> Call:
        """The whole request. Raises Problem INVALID_REQUEST naming the field."""
        return read_call(body)

    def writer(self, opening: Opening) -> Writer:
        """A writer for one stream."""
        return Writer(opening)

    def write_reply(self, reply: Reply, opening: Opening) -> bytes:
        """A whole answer as a JSON body."""
        return write_reply(reply, opening)

    def forwarder(self, opening: Opening) -> Forwarder:
        """What passes an upstream's frames on, for one stream."""
        return Forwarder(opening)

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """The problem as the last event of a stream, without a `[DONE]` after it, or as a JSON body."""
        del request_id
        return write_problem(problem, as_json=as_json)


def wants_usage(fields: JsonFields) -> bool:
    """OpenAI's way to ask for usage in a stream, or OpenRouter's."""
    options, usage = fields.object("stream_options"), fields.object("usage")
    asked = options is not None and options.flag("include_usage") is True
    return asked or (usage is not None and usage.flag("include") is True)


class _Seen(msgspec.Struct):
    """As much of a chunk as forwarding must know."""

    choices: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = msgspec.Raw()


_SEEN = msgspec.json.Decoder(_Seen)

_IS_NULL: Final = (b":null", b": null")


class Forwarder:
    """Chunks go on, payload untouched, without event names. Nothing else does.

    Clients of this dialect take every event for a chunk. A chunk of usage alone is withheld where the client did
    not ask for it: strict ones look at `choices[0]`. `[DONE]` waits for the end of the answer.
    """

    __slots__ = ("_opening",)

    def __init__(self, opening: Opening) -> None:
        self._opening = opening

    def write_problem(self, problem: Problem) -> bytes:
        """The error event that ends the stream."""
        return write_problem(problem, as_json=False)

    def forward(self, frame: Frame) -> bytes:
        """The frame as it goes on; empty for what is no chunk, and for usage that nobody asked for."""
        data = frame.data
        usage = data.find(b'"usage"')
        has_none = usage < 0 or data.startswith(_IS_NULL, usage + 7)
        if has_none and data.find(b'"choices"') >= 0 and data.startswith(b"{"):  # nearly all of them
            return sse.event(data.replace(b"\n", b"\ndata: "))
        if data == b"[DONE]" or not data or data.startswith(b":"):
            return b""
        try:
            seen = _SEEN.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return b""  # the reader has said what it is
        return self._seen(data, seen)

    def _seen(self, data: bytes, seen: _Seen) -> bytes:
        """A frame that may speak of usage, or is no chunk."""
        has_usage = bool(seen.usage) and bytes(seen.usage) != b"null"
        wants_usage = self._opening.wants_usage
        if seen.choices is None and not (has_usage and wants_usage):
            return b""
        if has_usage and not (seen.choices or wants_usage):
            return b""
        changes = self._costed(seen.usage) if has_usage and wants_usage else {}
        if seen.choices is None:
            changes["choices"] = b"[]"
        if changes:
            try:
                data = splice(data, changes)
            except Problem:
                return b""  # an object with a key twice: nobody could say what a client makes of it
        return sse.event(data.replace(b"\n", b"\ndata: "))

    def _costed(self, raw: msgspec.Raw) -> dict[str, bytes | None]:
        """What changes where the usage does not say its cost, and it is known here."""
        if self._opening.price is None or (usage := read_usage(raw)) is None or usage.cost_nano is not None:
            return {}
        cost_nano = self._opening.price.cost_nano(usage)
        try:
            return {} if cost_nano is None else {"usage": splice(bytes(raw), {"cost": dollars(cost_nano).encode()})}
        except Problem:
            return {}  # with a key twice it goes on as it came

    def close(self) -> bytes:
        """The sentinel, whether the upstream sent it or not."""
        return sse.DONE
