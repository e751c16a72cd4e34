"""What a chat completion needs of a model: one scan that skips what it does not know.

Source: https://platform.openai.com/docs/api-reference/chat/create (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Facts, Need
from trunkline.dialects.scan import UNREADABLE, Scan, holds, thinks

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Part(msgspec.Struct):
    type: str | None = None
    text: str | None = None


class _Message(msgspec.Struct):
    role: str | None = None
    content: str | list[_Part] | None = None


class _Form(msgspec.Struct):
    type: str | None = None


_MESSAGES = msgspec.json.Decoder(list[_Message])
_FORM = msgspec.json.Decoder(_Form | None)

_NEEDS: Final[Mapping[str | None, Need]] = {
    "image_url": Need.IMAGES,
    "file": Need.FILES,
    "input_audio": Need.AUDIO,
}


def facts_of(keys: Mapping[str, msgspec.Raw]) -> Facts:
    """The facts; what cannot be read tells none, and its reader says what is wrong with it."""
    needs = {Need.TOOLS} if holds(keys, "tools") else set[Need]()
    scan = Scan()
    try:
        form = _FORM.decode(keys.get("response_format", b"null"))
        messages = _MESSAGES.decode(keys.get("messages", b"[]"))
    except UNREADABLE:
        return scan.facts(needs)
    if form is not None and form.type == "json_schema":
        needs.add(Need.SCHEMA)
    for message in messages:
        content = message.content
        if isinstance(content, list):
            needs.update(_NEEDS[part.type] for part in content if part.type in _NEEDS)
            content = "".join([part.text for part in content if part.text])
        scan.add(content or "", is_user=message.role == "user")
    return scan.facts(needs, thinks=thinks(keys, "reasoning_effort", "reasoning"))
