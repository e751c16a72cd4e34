"""What a responses request needs of a model: one scan that skips what it does not know.

Source: https://platform.openai.com/docs/api-reference/responses/create (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Facts, Need
from trunkline.dialects.scan import UNREADABLE, Scan, holds, thinks

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Piece(msgspec.Struct):
    type: str | None = None
    text: str | None = None


class _Item(msgspec.Struct):
    role: str | None = None
    content: str | list[_Piece] | None = None
    output: str | list[_Piece] | None = None


class _Form(msgspec.Struct):
    type: str | None = None


class _Shape(msgspec.Struct):
    format: _Form | None = None


_INPUT = msgspec.json.Decoder(str | list[_Item] | None)
_SHAPE = msgspec.json.Decoder(_Shape | None)

_NEEDS: Final[Mapping[str | None, Need]] = {
    "input_image": Need.IMAGES,
    "input_file": Need.FILES,
    "input_audio": Need.AUDIO,
}


def facts_of(keys: Mapping[str, msgspec.Raw]) -> Facts:
    """The facts; what cannot be read tells none, and its reader says what is wrong with it."""
    needs = {Need.TOOLS} if holds(keys, "tools") else set[Need]()
    scan = Scan(_instructions(keys))
    try:
        shape = _SHAPE.decode(keys.get("text", b"null"))
        told: str | list[_Item] | None = _INPUT.decode(keys.get("input", b"null"))
    except UNREADABLE:
        return scan.facts(needs)
    if shape is not None and shape.format is not None and shape.format.type == "json_schema":
        needs.add(Need.SCHEMA)
    for item in told if isinstance(told, list) else [_Item(role="user", content=told)]:
        scan.add(_text(item.content, needs) + _text(item.output, needs), is_user=item.role == "user")
    return scan.facts(needs, thinks=thinks(keys, "reasoning"))


def _instructions(keys: Mapping[str, msgspec.Raw]) -> str:
    try:
        return msgspec.json.decode(keys.get("instructions", b"null"), type=str | None) or ""
    except UNREADABLE:
        return ""


def _text(content: str | list[_Piece] | None, needs: set[Need]) -> str:
    """The text of these pieces; what else they are is added to the needs."""
    if content is None or isinstance(content, str):
        return content or ""
    needs.update(_NEEDS[piece.type] for piece in content if piece.type in _NEEDS)
    return "".join([piece.text for piece in content if piece.text])
