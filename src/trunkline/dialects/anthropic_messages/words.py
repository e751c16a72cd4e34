"""The words that Anthropic's requests and answers share: stop reasons, proofs of thoughts, a tool's input, a call's id.

Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-24).
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Opaque
from trunkline.core.reply import Finish, FinishReason

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "anthropic_messages"

DEFAULT_MAX_TOKENS: Final = 4096
"""The dialect insists on a limit; this is it where nobody knows a better one."""

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

STOP_REASONS: Final[Mapping[str, FinishReason]] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}

_WORDS: Final[Mapping[FinishReason, str]] = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}

THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
"""The blocks that a model of Anthropic's proves as its own."""


def finish_of(stop_reason: str, stop_sequence: str | None) -> Finish:
    """The finish that a stop reason tells; one that nobody knows is a stop."""
    return Finish(STOP_REASONS.get(stop_reason, FinishReason.STOP), stop_reason, stop_sequence)


def stop_reason_of(finish: Finish) -> str:
    """The word for a finish: the upstream's own, where it is one of this dialect's and means the same."""
    if finish.native_reason is not None and STOP_REASONS.get(finish.native_reason) is finish.reason:
        return finish.native_reason
    if finish.reason is FinishReason.STOP and finish.stop_sequence is not None:
        return "stop_sequence"
    return _WORDS[finish.reason]


_ID = re.compile(r"[a-zA-Z0-9_-]+")
_CODED: Final = "tl_"
"""Before an id that this dialect does not take as it is."""


def told_id(call_id: str) -> str:
    """An id in letters that this dialect takes: the same for the same id, and another for another."""
    if _ID.fullmatch(call_id):
        return call_id
    return _CODED + urlsafe_b64encode(call_id.encode()).decode().rstrip("=")


def own_id(told: str) -> str:
    """The id that `told_id` was given: models may know their own calls by its form. Any other stays as it is."""
    if not told.startswith(_CODED):
        return told
    coded = told[len(_CODED) :]
    try:
        call_id = urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
    except (binascii.Error, ValueError):
        return told
    return call_id if call_id and told_id(call_id) == told else told


class Thought(msgspec.Struct):
    """A thinking block, plain or redacted, as it stands on the wire."""

    type: str
    thinking: str = ""
    signature: str = ""
    data: str = ""


class _Proven(msgspec.Struct):
    type: str
    thinking: str
    signature: str


_THOUGHT = msgspec.json.Decoder(Thought)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def prove(text: str, signature: str) -> Opaque:
    """The proof of a thought: the whole block, because its signature holds for exactly this text."""
    return Opaque(NAME, msgspec.json.encode(_Proven("thinking", text, signature)))


def thought_of(opaque: Opaque | None) -> Thought | None:
    """The block that a proof holds; None where it is no proof of this dialect.

    A proof may come back through a client, who can write anything into it.
    """
    if opaque is None or opaque.dialect != NAME:
        return None
    try:
        thought = _THOUGHT.decode(opaque.raw)
    except UNREADABLE:
        return None
    return thought if thought.type in THOUGHTS else None


def input_of(arguments: str) -> msgspec.Raw:
    """A tool call's arguments as the object that this dialect wants.

    What is no JSON object is wrapped, as https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming
    advises: the model then sees what it wrote.
    """
    if not arguments:
        return msgspec.Raw(b"{}")
    raw = arguments.encode()
    try:
        _OBJECT.decode(raw)
    except UNREADABLE:
        raw = msgspec.json.encode({"INVALID_JSON": arguments})
    return msgspec.Raw(raw)
