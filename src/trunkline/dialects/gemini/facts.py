"""What a Gemini request needs of a model: one scan that skips what it does not know.

Source: https://ai.google.dev/api/generate-content (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.call import Facts, Need
from trunkline.dialects.scan import UNREADABLE, Scan, holds, thinks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class _Media(msgspec.Struct):
    """Google takes camel case and snake case."""

    mime_type: str | None = msgspec.field(default=None, name="mimeType")
    mime_type_snake: str | None = msgspec.field(default=None, name="mime_type")


class _Part(msgspec.Struct):
    text: str | None = None
    inline: _Media | None = msgspec.field(default=None, name="inlineData")
    inline_snake: _Media | None = msgspec.field(default=None, name="inline_data")
    file: _Media | None = msgspec.field(default=None, name="fileData")
    file_snake: _Media | None = msgspec.field(default=None, name="file_data")


class _Content(msgspec.Struct):
    role: str | None = None
    parts: list[_Part] | _Part | None = None


_SYSTEM = msgspec.json.Decoder(_Content | str | None)
_CONTENTS = msgspec.json.Decoder(list[_Content] | _Content | None)
_CONFIG = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_SCHEMAS = ("responseSchema", "responseJsonSchema", "response_schema", "response_json_schema")


def facts_of(keys: Mapping[str, msgspec.Raw]) -> Facts:
    """The facts, from keys in camel case; what cannot be read tells none, and its reader says what is wrong with it."""
    needs = {Need.TOOLS} if holds(keys, "tools") else set[Need]()
    try:
        config: dict[str, msgspec.Raw] = _CONFIG.decode(keys.get("generationConfig", b"null")) or {}
        system: _Content | str | None = _SYSTEM.decode(keys.get("systemInstruction", b"null"))
        told: list[_Content] | _Content | None = _CONTENTS.decode(keys.get("contents", b"null"))
    except UNREADABLE:
        return Scan().facts(needs)
    if any(holds(config, name) for name in _SCHEMAS):
        needs.add(Need.SCHEMA)
    scan = Scan(system if isinstance(system, str) else _text(_parts(system)) if system is not None else "")
    for content in told if isinstance(told, list) else [told] if told is not None else []:
        parts = _parts(content)
        needs.update(_media_needs(parts))
        scan.add(_text(parts), is_user=content.role in {None, "user"})
    return scan.facts(needs, thinks=thinks(config, "thinkingConfig", "thinking_config"))


def _parts(content: _Content) -> list[_Part]:
    """Google takes one part for a list of one."""
    return content.parts if isinstance(content.parts, list) else [content.parts] if content.parts else []


def _text(parts: Iterable[_Part]) -> str:
    return "".join([part.text for part in parts if part.text])


def _media_needs(parts: Iterable[_Part]) -> Iterable[Need]:
    for part in parts:
        for media in (part.inline, part.inline_snake, part.file, part.file_snake):
            if media is not None:
                kind = (media.mime_type or media.mime_type_snake or "").partition("/")[0]
                yield {"image": Need.IMAGES, "audio": Need.AUDIO}.get(kind, Need.FILES)
