"""What a messages request needs of a model: one scan that skips what it does not know.

Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Facts, Need
from trunkline.dialects.scan import UNREADABLE, Scan, holds, thinks

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
    format: msgspec.Raw = msgspec.Raw()


_TURNS = msgspec.json.Decoder(list[_Turn])
_SYSTEM = msgspec.json.Decoder(str | list[_Block] | None)
_OUTPUT = msgspec.json.Decoder(_Output | None)

_NEEDS: Final[Mapping[str | None, Need]] = {"image": Need.IMAGES, "document": Need.FILES}


def facts_of(keys: Mapping[str, msgspec.Raw]) -> Facts:
    """The facts; what cannot be read tells none, and its reader says what is wrong with it."""
    needs = {Need.TOOLS} if holds(keys, "tools") else set[Need]()
    if holds(keys, "output_format"):
        needs.add(Need.SCHEMA)
    try:
        output = _OUTPUT.decode(keys.get("output_config", b"null"))
        system = _SYSTEM.decode(keys.get("system", b"null"))
        turns = _TURNS.decode(keys.get("messages", b"[]"))
    except UNREADABLE:
        return Scan().facts(needs)
    if output is not None and bytes(output.format) not in {b"", b"null"}:
        needs.add(Need.SCHEMA)
    scan = Scan(_text(system, needs))
    for turn in turns:
        scan.add(_text(turn.content, needs), is_user=turn.role == "user")
    return scan.facts(needs, thinks=thinks(keys, "thinking"))


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
