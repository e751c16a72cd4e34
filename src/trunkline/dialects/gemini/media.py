"""Media types as Gemini wants them: every picture, file and sound says its own.

Source: https://ai.google.dev/gemini-api/docs/file-input-methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_SUFFIX: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "mp4": "video/mp4",
    "webm": "video/webm",
}


def media_type_of(url: str) -> str | None:
    """What the end of an address says; None where it says nothing."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    name = path.rpartition("/")[2]
    return _BY_SUFFIX.get(name.rpartition(".")[2].lower()) if "." in name else None


def standard_base64(data: str) -> str:
    """Base64 in its standard letters. Google takes both alphabets, its own SDK sends that of URLs, others refuse it.

    Sources: https://protobuf.dev/programming-guides/json/ (`bytes`), google-genai 3.4.0 on the wire (seen 2026-11-25).
    """
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    return data + "=" * (-len(data) % 4)


def audio_format(media_type: str) -> str:
    """`audio/mpeg` -> mp3."""
    kind = media_type.removeprefix("audio/").partition(";")[0].strip().removeprefix("x-")
    return {"mpeg": "mp3", "wave": "wav"}.get(kind, kind)


def audio_media_type(sound: str) -> str:
    """The type that Google documents for this format."""
    return f"audio/{sound}"
