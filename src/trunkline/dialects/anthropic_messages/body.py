"""A client's own body on its way to an upstream of the same dialect: what of it must change.

A conversation may hold thoughts whose proof is another provider's, wrapped by us into a signature, or which never had
one, as our signature then says. Anthropic refuses both, so they are taken out; everything else stays as the bytes that
came.
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


_TURNS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_BLOCKS = msgspec.json.Decoder(list[msgspec.Raw])
_BLOCK = msgspec.json.Decoder(_Block)


def without_foreign_thoughts(body: bytes, keys: Mapping[str, msgspec.Raw]) -> bytes | None:
    """The messages among these keys, less the thoughts that Anthropic would refuse; None where there are none of those.

    Raises Problem INVALID_REQUEST where the messages cannot be read.
    """
    if not may_hold_proofs(body):
        return None
    try:
        turns = _TURNS.decode(keys.get("messages", b"[]"))
    except UNREADABLE:
        raise invalid("`messages` must be a list of messages.", param="messages") from None
    is_changed = False
    kept: list[dict[str, msgspec.Raw]] = []
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
    return msgspec.json.encode(kept) if is_changed else None


def _is_foreign(raw: msgspec.Raw) -> bool:
    try:
        block = _BLOCK.decode(raw)
    except UNREADABLE:
        return False
    if block.type not in THOUGHTS:
        return False
    proof = block.signature if block.type == "thinking" else block.data
    return not proof or proof.startswith(PREFIX)
