"""What a messages request needs of a model: one scan that skips what it does not know.

Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import LAST_TEXT_CHARACTERS, Facts, Need

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Block(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    content: str | list[_Block] | None = None


class _Turn(msgspec.Struct):
    role: str | None = None
    content: str | list[_Block] | None = None


class _Output(msgspec.Struct):
    format: msgspec.Raw | None = None


_TURNS = msgspec.json.Decoder(list[_Turn])
_SYSTEM = msgspec.json.Decoder(str | list[_Block] | None)
_OUTPUT = msgspec.json.Decoder(_Output | None)
_NOTHING: Final = frozenset({b"null", b"[]"})

_NEEDS: Final[Mapping[str | None, Need]] = {"image": Need.IMAGES, "document": Need.FILES}


def facts_of(keys: Mapping[str, msgspec.Raw]) -> Facts:
    """The facts; what cannot be read tells none, and its reader says what is wrong with it."""
    needs: set[Need] = set()
    if bytes(keys.get("tools", b"null")) not in _NOTHING:
        needs.add(Need.TOOLS)
    if bytes(keys.get("output_format", b"null")) not in _NOTHING:
        needs.add(Need.SCHEMA)
    try:
        output = _OUTPUT.decode(keys.get("output_config", b"null"))
        system = _SYSTEM.decode(keys.get("system", b"null"))
        turns = _TURNS.decode(keys.get("messages", b"[]"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Facts(needs=frozenset(needs))
    if output is not None and output.format is not None:
        needs.add(Need.SCHEMA)
    opening = _text(system, needs)
    size, last = len(opening.encode(errors="replace")), ""
    for turn in turns:
        text = _text(turn.content, needs)
        size += len(text.encode(errors="replace"))
        if not last and len(opening) < LAST_TEXT_CHARACTERS:
            opening += text
        if turn.role == "user" and text:
            last = text
    return Facts(
        messages=len(turns),
        needs=frozenset(needs),
        text_bytes=size,
        last_text=last[:LAST_TEXT_CHARACTERS],
        opening=opening[:LAST_TEXT_CHARACTERS],
    )


def _text(content: str | list[_Block] | None, needs: set[Need]) -> str:
    """The text of these blocks; what else they are is added to the needs."""
    if content is None or isinstance(content, str):
        return content or ""
    texts: list[str] = []
    for block in content:
        if block.type in _NEEDS:
            needs.add(_NEEDS[block.type])
        texts.append(block.text or _text(block.content, needs))
    return "".join(texts)
