"""OpenAI's chat completions, as most of the field speaks it: the egress.

Sources: https://platform.openai.com/docs/api-reference/chat and, for errors inside an answer and the fields that
aggregators add, https://openrouter.ai/docs/api-reference/overview (read 2026-08-22).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Need
from trunkline.core.problem import Problem, invalid
from trunkline.core.reply import fold
from trunkline.dialects.asked_models import PLANNED
from trunkline.dialects.dialect import WireRequest, join, post
from trunkline.dialects.opaque import may_hold_proofs
from trunkline.dialects.openai_chat.fields import OPENROUTER
from trunkline.dialects.openai_chat.messages import without_foreign_proofs
from trunkline.dialects.openai_chat.reader import Reader, read_whole
from trunkline.dialects.openai_chat.request import over_limit, write_body
from trunkline.dialects.openai_chat.wire import NAME
from trunkline.dialects.temperature import no_temperature
from trunkline.dialects.upstream_error import classify, no_answer, parse_error_body, read_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.core.call import Call, Envelope
    from trunkline.core.catalog import Target
    from trunkline.core.reply import Event, Reply

__all__ = ["OpenAIChat", "Reader"]

PATH: Final = "/chat/completions"
_LIMITS: Final = ("max_tokens", "max_completion_tokens")

_PASSED_ON: Final[Mapping[str, bytes | None]] = dict.fromkeys((*PLANNED, "usage", "store"))
"""What no provider gets as it came. `usage` is OpenRouter's old way to ask for what `wants_usage` says."""

_TAKEN_OUT: Final[Mapping[str, bytes | None]] = {**_PASSED_ON, **dict.fromkeys(OPENROUTER)}
"""The same, and what only OpenRouter knows."""


class _FailedChoice(msgspec.Struct):
    error: object = None


class _FailedAnswer(msgspec.Struct):
    choices: list[_FailedChoice]


_FAILED_ANSWER = msgspec.json.Decoder(_FailedAnswer)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


class OpenAIChat:
    """The egress of every provider that speaks chat completions."""

    name = NAME
    offers = frozenset(Need)

    def write_call(self, call: Call, target: Target) -> WireRequest:
        """`POST {base}/chat/completions`. Raises Problem where an explicit value is over the target's limit."""
        body, dropped = write_body(call, target)
        return post(target, PATH, body, is_stream=call.stream, dropped=dropped)

    def splice(self, body: bytes, envelope: Envelope, target: Target) -> WireRequest:
        """The client's own body with the target's model, usage asked for in a stream, and nothing stored.

        Fields for the planner and those that only OpenRouter knows are taken out; the limit goes under the name
        that the target has for it. Raises Problem where the target cannot take an explicit value.
        """
        keys = envelope.keys
        quirks = target.provider.quirks
        if "temperature" in keys and not quirks.takes_temperature and bytes(keys["temperature"]) != b"null":
            raise no_temperature(target)
        changes: dict[str, bytes | None] = {}
        if not _TAKEN_OUT.keys().isdisjoint(keys):
            changes |= _PASSED_ON if quirks.accepts_provider_object else _TAKEN_OUT
        changes["model"] = msgspec.json.encode(target.model.id)
        if quirks.accepts_provider_object and "provider" in keys:
            changes["provider"] = bytes(keys["provider"])  # the planner has taken its own names out
        if envelope.max_tokens is not None:
            changes |= _limit(keys, envelope, target)
        if envelope.stream:
            changes |= _stream_options(keys, asks=quirks.stream_usage)
        if quirks.keeps_answers:
            changes["store"] = b"false"
        dropped: list[str] = []
        if not quirks.accepts_provider_object and not OPENROUTER.isdisjoint(keys):
            dropped += sorted(OPENROUTER.intersection(keys))
        if quirks.keeps_answers and "metadata" in keys:
            changes["metadata"] = None  # refused unless the answer is stored
            dropped.append("metadata")
        if may_hold_proofs(body) and (messages := without_foreign_proofs(bytes(keys["messages"]))):
            changes["messages"] = messages
            dropped.append("reasoning.signature")
        return post(
            target,
            PATH,
            join(keys, changes),
            is_stream=envelope.stream,
            dropped=tuple(dropped),
            carried=envelope.headers if quirks.accepts_provider_object else (),
        )

    def read_reply(self, body: bytes, target: Target) -> Reply:
        """A whole answer. Raises Problem for an error inside it and for what is no answer."""
        return fold(read_whole(body, target))

    def read_events(self, body: bytes, target: Target) -> Sequence[Event]:
        """The same as the events that tell it."""
        return read_whole(body, target)

    def reader(self, target: Target) -> Reader:
        """A reader for one stream of this target."""
        return Reader(target)

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What a status that is not 200, or a 200 that is no answer, means."""
        error = parse_error_body(body)
        if error is None:
            error = _error_of_choice(body)
        if 200 <= status < 300 and error is None:
            return no_answer(target, status, headers, body)
        return classify(target, status, headers, read_error(error))


def _limit(keys: Mapping[str, msgspec.Raw], envelope: Envelope, target: Target) -> dict[str, bytes | None]:
    """The limit of the answer under the target's own name for it."""
    wanted, limit = envelope.max_tokens, target.model.max_output_tokens
    given = [name for name in _LIMITS if name in keys]
    if wanted is not None and limit is not None and wanted > limit and given:
        raise over_limit(target, limit, wanted, given[0])
    own = target.provider.quirks.max_tokens_key
    if wanted is None or given == [own]:
        return {}
    return {**dict.fromkeys(_LIMITS), own: msgspec.json.encode(wanted)}


def _stream_options(keys: Mapping[str, msgspec.Raw], *, asks: bool) -> dict[str, bytes | None]:
    """What the client said of its stream, with usage asked for where it only comes so; unknown to the others."""
    try:
        options = dict(_OBJECT.decode(keys.get("stream_options", b"null")) or {})
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid("`stream_options` must be an object.", param="stream_options") from None
    if asks:
        options["include_usage"] = msgspec.Raw(b"true")
    else:
        options.pop("include_usage", None)
    return {"stream_options": msgspec.json.encode(options) if options else None}


def _error_of_choice(body: bytes) -> object:
    """The error of the first choice of a whole answer: OpenRouter's form where a part of it was made."""
    try:
        choices = _FAILED_ANSWER.decode(body).choices
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return choices[0].error if choices else None
