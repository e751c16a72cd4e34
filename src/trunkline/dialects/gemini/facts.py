"""What a Gemini request needs of a model: one scan that skips what it does not know.

Source: https://ai.google.dev/api/generate-content (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.call import LAST_TEXT_CHARACTERS, Facts, Need

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
    needs: set[Need] = set()
    if bytes(keys.get("tools", b"null")) not in {b"null", b"[]"}:
        needs.add(Need.TOOLS)
    try:
        config: dict[str, msgspec.Raw] = _CONFIG.decode(keys.get("generationConfig", b"null")) or {}
        system: _Content | str | None = _SYSTEM.decode(keys.get("systemInstruction", b"null"))
        told: list[_Content] | _Content | None = _CONTENTS.decode(keys.get("contents", b"null"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Facts(needs=frozenset(needs))
    if any(name in config and bytes(config[name]) != b"null" for name in _SCHEMAS):
        needs.add(Need.SCHEMA)
    contents = told if isinstance(told, list) else [told] if told is not None else []
    opening = system if isinstance(system, str) else _text(_parts(system)) if system is not None else ""
    size, last = len(opening.encode(errors="replace")), ""
    for content in contents:
        parts = _parts(content)
        needs.update(_media_needs(parts))
        text = _text(parts)
        if not last and len(opening) < LAST_TEXT_CHARACTERS:
            opening += text
        size += len(text.encode(errors="replace"))
        if content.role in {None, "user"} and text:
            last = text
    return Facts(
        messages=len(contents),
        needs=frozenset(needs),
        text_bytes=size,
        last_text=last[:LAST_TEXT_CHARACTERS],
        opening=opening[:LAST_TEXT_CHARACTERS],
    )


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
