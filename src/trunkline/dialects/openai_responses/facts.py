"""What a responses request needs of a model: one scan that skips what it does not know.

Source: https://platform.openai.com/docs/api-reference/responses/create (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import LAST_TEXT_CHARACTERS, Facts, Need

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
_NOTHING: Final = frozenset({b"null", b"[]"})

_NEEDS: Final[Mapping[str | None, Need]] = {
    "input_image": Need.IMAGES,
    "input_file": Need.FILES,
    "input_audio": Need.AUDIO,
}


def facts_of(keys: Mapping[str, msgspec.Raw]) -> Facts:
    """The facts; what cannot be read tells none, and its reader says what is wrong with it."""
    needs: set[Need] = set()
    if bytes(keys.get("tools", b"null")) not in _NOTHING:
        needs.add(Need.TOOLS)
    try:
        shape = _SHAPE.decode(keys.get("text", b"null"))
        told: str | list[_Item] | None = _INPUT.decode(keys.get("input", b"null"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Facts(needs=frozenset(needs))
    if shape is not None and shape.format is not None and shape.format.type == "json_schema":
        needs.add(Need.SCHEMA)
    items = told if isinstance(told, list) else [_Item(role="user", content=told)]
    opening = _instructions(keys)
    size, last = len(opening.encode(errors="replace")), ""
    for item in items:
        text = _text(item.content, needs) + _text(item.output, needs)
        size += len(text.encode(errors="replace"))
        if not last and len(opening) < LAST_TEXT_CHARACTERS:
            opening += text
        if item.role == "user" and text:
            last = text
    return Facts(
        messages=len(items),
        needs=frozenset(needs),
        text_bytes=size,
        last_text=last[:LAST_TEXT_CHARACTERS],
        opening=opening[:LAST_TEXT_CHARACTERS],
    )


def _instructions(keys: Mapping[str, msgspec.Raw]) -> str:
    try:
        return msgspec.json.decode(keys.get("instructions", b"null"), type=str | None) or ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _text(content: str | list[_Piece] | None, needs: set[Need]) -> str:
    """The text of these pieces; what else they are is added to the needs."""
    if content is None or isinstance(content, str):
        return content or ""
    needs.update(_NEEDS[piece.type] for piece in content if piece.type in _NEEDS)
    return "".join([piece.text for piece in content if piece.text])
