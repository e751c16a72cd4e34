"""A client's own body on its way to an upstream of the same dialect: what of it must change.

A conversation may hold thoughts whose proof is another provider's, wrapped by us into a signature, or which never had
one, as our signature then says. Anthropic refuses both, so they are taken out; everything else stays as the bytes that
came. With a budget for thinking it also refuses to answer a tool's result where the thought before the call is not
there: such a turn goes without thinking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.problem import invalid
from trunkline.dialects.anthropic_messages.words import THOUGHTS, UNREADABLE
from trunkline.dialects.opaque import PREFIX, may_hold_proofs

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Block(msgspec.Struct):
    type: str | None = None
    signature: str | None = None
    data: str | None = None


class _Thinking(msgspec.Struct):
    budget_tokens: int | None = None


_Turn = dict[str, msgspec.Raw]
_THINKING = msgspec.json.Decoder(_Thinking | None)
_TURNS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_BLOCKS = msgspec.json.Decoder(list[msgspec.Raw])
_BLOCK = msgspec.json.Decoder(_Block)


def without_foreign_thoughts(
    body: bytes, keys: Mapping[str, msgspec.Raw]
) -> tuple[dict[str, bytes | None], tuple[str, ...]]:
    """What must change among these keys, so that Anthropic refuses no thought, and the names of what is lost by it.

    Raises Problem INVALID_REQUEST where the messages cannot be read.
    """
    if not may_hold_proofs(body):
        return {}, ()
    try:
        turns = _TURNS.decode(keys.get("messages", b"[]"))
    except UNREADABLE:
        raise invalid("`messages` must be a list of messages.", param="messages") from None
    is_changed = False
    kept: list[_Turn] = []
    for turn in turns:
        content = bytes(turn.get("content", b""))
        if not content.startswith(b"["):
            kept.append(turn)
            continue
        blocks = _BLOCKS.decode(content)
        own = [block for block in blocks if not _is_foreign(block)]
        if len(own) == len(blocks):
            kept.append(turn)
            continue
        is_changed = True
        if own:
            kept.append({**turn, "content": msgspec.Raw(msgspec.json.encode(own))})
    if not is_changed:
        return {}, ()
    changes: dict[str, bytes | None] = {"messages": msgspec.json.encode(kept)}
    if _has_budget(keys.get("thinking")) and _lacks_thought(kept):
        return {**changes, "thinking": None}, ("reasoning", "thinking")
    return changes, ("reasoning",)


def _has_budget(raw: msgspec.Raw | None) -> bool:
    try:
        thinking = _THINKING.decode(raw or b"null")
    except UNREADABLE:
        return False  # Anthropic says what is wrong with it
    return thinking is not None and thinking.budget_tokens is not None


def _lacks_thought(turns: list[_Turn]) -> bool:
    """Whether a tool's result is to be answered, and no thought is left of what came before the call."""
    place = len(turns)
    answered = False
    while place and bytes(turns[place - 1].get("role", b"")) != b'"assistant"':
        place -= 1
        answered = answered or "tool_result" in _kinds(turns[place])
    if not answered:
        return False
    for turn in reversed(turns[:place]):
        kinds = _kinds(turn)
        if bytes(turn.get("role", b"")) == b'"assistant"':
            if kinds & THOUGHTS:
                return False
        elif kinds != {"tool_result"}:
            break  # the user spoke: what was thought before counts no longer
    return True


def _kinds(turn: _Turn) -> set[str | None]:
    """The types of a turn's blocks; plain words are text."""
    content = bytes(turn.get("content", b""))
    return {_block(raw).type for raw in _BLOCKS.decode(content)} if content.startswith(b"[") else {"text"}


def _block(raw: msgspec.Raw) -> _Block:
    try:
        return _BLOCK.decode(raw)
    except UNREADABLE:
        return _Block()


def _is_foreign(raw: msgspec.Raw) -> bool:
    block = _block(raw)
    if block.type not in THOUGHTS:
        return False
    proof = block.signature if block.type == "thinking" else block.data
    return not proof or proof.startswith(PREFIX)
