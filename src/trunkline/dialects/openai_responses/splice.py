"""A client's own responses request, with the target's model in it and nothing kept by the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.dialects.asked_models import PLANNED
from trunkline.dialects.dialect import join
from trunkline.dialects.opaque import PREFIX
from trunkline.dialects.openai_responses.call import ENCRYPTED

if TYPE_CHECKING:
    from collections.abc import Mapping

_OURS: Final = b'"' + PREFIX.encode()


class _Kind(msgspec.Struct, gc=False):
    type: str | None = None


class _Thought(msgspec.Struct):
    type: str | None = None
    id: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    encrypted_content: msgspec.Raw = msgspec.Raw()


class _Reasoning(msgspec.Struct):
    effort: str | None = None


_KINDS = msgspec.json.Decoder(list[_Kind])
_THOUGHT = msgspec.json.Decoder(_Thought)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_REASONING = msgspec.json.Decoder(_Reasoning | None)
_INCLUDE = msgspec.json.Decoder(list[str] | None)
_ABSENT: Final = frozenset({b"", b"null", b"[]"})


def spliced(keys: Mapping[str, msgspec.Raw], model: str) -> tuple[bytes, tuple[str, ...]]:
    """The body for this model, and the names of what had to be left out. Everything else is the bytes that came.

    `store` is forced to false; what only the router's planner reads is taken out. As the provider then keeps no
    thoughts, their encrypted form is asked for where the client reasons, and thoughts are taken out that the
    provider would have to look up (an id without content), or that are another provider's. Raises Problem
    INVALID_REQUEST as `top_level` does.
    """
    changes: dict[str, bytes | None] = {"model": msgspec.json.encode(model), "store": b"false"}
    changes.update(dict.fromkeys(PLANNED))
    if (include := _include(keys)) is not None:
        changes["include"] = include
    thoughtless, dropped = _without_thoughts(keys.get("input"))
    if thoughtless is not None:
        changes["input"] = thoughtless
    return join(keys, changes), dropped


def _include(keys: Mapping[str, msgspec.Raw]) -> bytes | None:
    """`include` with the encrypted thoughts in it, where the client reasons and has not asked for them itself."""
    try:
        reasoning = _REASONING.decode(keys["reasoning"]) if "reasoning" in keys else None
        include = _INCLUDE.decode(keys["include"]) if "include" in keys else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None  # the provider says what is wrong with it
    if reasoning is None or reasoning.effort == "none" or ENCRYPTED in (include or ()):
        return None
    return msgspec.json.encode([*(include or ()), ENCRYPTED])


def _without_thoughts(raw: msgspec.Raw | None) -> tuple[bytes | None, tuple[str, ...]]:
    """The input without the thoughts that this provider cannot read; None where there are none of them.

    Every body is asked for its thoughts, and few have one: the first look reads nothing else.
    """
    if raw is None or memoryview(raw)[0] != ord("["):
        return None, ()
    try:
        if not any(item.type == "reasoning" for item in _KINDS.decode(raw)):
            return None, ()
        items = _LIST.decode(raw)
        reasons = {place: reason for place, item in enumerate(items) if (reason := _unreadable(item)) is not None}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None, ()  # the provider says what is wrong with it
    if not reasons:
        return None, ()
    kept = [item for place, item in enumerate(items) if place not in reasons]
    return msgspec.json.encode(kept), tuple(dict.fromkeys(reasons.values()))


def _unreadable(item: msgspec.Raw) -> str | None:
    """Why this provider cannot read a thought, as the name of what is dropped; None for what it can, or is none."""
    thought = _THOUGHT.decode(item)
    if thought.type != "reasoning":
        return None
    proof = bytes(thought.encrypted_content)
    if proof.startswith(_OURS):
        return "reasoning.signature"
    is_reference = proof in _ABSENT and bytes(thought.content) in _ABSENT and bytes(thought.id) not in _ABSENT
    return "reasoning" if is_reference else None
