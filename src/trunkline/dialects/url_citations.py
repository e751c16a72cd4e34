"""Where the words of an answer come from, as OpenAI's two dialects tell it: `url_citation`.

Chat completions have its fields in an object of their own, responses beside the type.
Sources: https://platform.openai.com/docs/guides/tools-web-search (`annotations`) and
https://openrouter.ai/docs/features/web-search (`content`; read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.reply import Citation

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CITATIONS: Final = 10_000
"""Of one answer. More is no list of sources."""


class _Fields(msgspec.Struct):
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None
    content: str | None = None


class _Annotation(_Fields):
    type: str | None = None
    url_citation: _Fields | None = None


_ANNOTATION = msgspec.json.Decoder(_Annotation)
_ANNOTATIONS = msgspec.json.Decoder(list[msgspec.Raw] | None)


def read_citations(raw: msgspec.Raw, before: int = 0) -> tuple[Citation, ...]:
    """The citations of a list; what is none, or cannot be read, is left out: a good answer does not fail for it.

    `before` is how many characters their places count that are not of the block.
    """
    try:
        annotations: list[msgspec.Raw] = (_ANNOTATIONS.decode(raw) if raw else None) or []
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ()
    found = (read_citation(one, before) for one in annotations[:MAX_CITATIONS])
    return tuple([citation for citation in found if citation is not None])


def read_citation(raw: msgspec.Raw, before: int = 0) -> Citation | None:
    """One annotation; None where it names no address."""
    try:
        annotation = _ANNOTATION.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    fields = annotation.url_citation or annotation
    if annotation.type != "url_citation" or not fields.url:
        return None
    start, end = fields.start_index, fields.end_index
    if start is None or end is None or not before <= start <= end:
        return Citation(fields.url, fields.title, quote=fields.content)
    return Citation(fields.url, fields.title, start - before, end - before, fields.content)


def written(citations: Iterable[Citation], length: int, before: int = 0) -> list[dict[str, Any]]:
    """The fields of each citation in a block of this many characters, of which so many stand before it.

    Clients take the places for numbers: a source whose place nobody says stands for the whole block.
    """
    return [_written(citation, length, before) for citation in citations]


def _written(citation: Citation, length: int, before: int) -> dict[str, Any]:
    start, end = (0, length) if citation.start is None or citation.end is None else (citation.start, citation.end)
    fields: dict[str, Any] = {
        "url": citation.url,
        "title": citation.title or citation.url,
        "start_index": before + start,
        "end_index": before + end,
    }
    return fields if citation.quote is None else {**fields, "content": citation.quote}
