"""The sources of an answer: `groundingMetadata`, whose places count the bytes of all the text.

Source: `GroundingMetadata` at https://ai.google.dev/api/generate-content (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.reply import Citation

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CITATIONS: Final = 10_000
"""Of one answer. More is no list of sources."""


class _Web(msgspec.Struct):
    uri: str | None = None
    title: str | None = None


class _Chunk(msgspec.Struct):
    web: _Web | None = None


class _Segment(msgspec.Struct, rename="camel", frozen=True):
    start_index: int = 0
    end_index: int | None = None
    part_index: int = 0


class _Support(msgspec.Struct, rename="camel"):
    segment: _Segment = _Segment()
    grounding_chunk_indices: list[int] = []


class _Grounding(msgspec.Struct, rename="camel"):
    grounding_chunks: list[_Chunk] = []
    grounding_supports: list[_Support] = []


_GROUNDING = msgspec.json.Decoder(_Grounding | None)


class Source(msgspec.Struct, frozen=True):
    """A source and the bytes of all text that it supports; None where it supports none in particular."""

    citation: Citation
    start: int | None = None
    end: int | None = None


def read_sources(raw: msgspec.Raw) -> list[Source]:
    """The sources of a candidate. What cannot be read is left out: a good answer does not fail for it.

    A source that supports no part of the text, or a part of the contents by its number, has no place.
    """
    try:
        grounding: _Grounding | None = _GROUNDING.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return []
    if grounding is None:
        return []
    webs = [chunk.web or _Web() for chunk in grounding.grounding_chunks]
    found: list[Source] = []
    told: set[int] = set()
    for support in grounding.grounding_supports:
        start, end = support.segment.start_index, support.segment.end_index
        is_placed = not support.segment.part_index and end is not None and 0 <= start <= end
        for index in support.grounding_chunk_indices:
            if 0 <= index < len(webs) and (uri := webs[index].uri):
                told.add(index)
                citation = Citation(uri, webs[index].title)
                found.append(Source(citation, start, end) if is_placed else Source(citation))
    found += [Source(Citation(web.uri, web.title)) for at, web in enumerate(webs) if web.uri and at not in told]
    return found[:MAX_CITATIONS]


def placed(source: Source, before: int, text: bytes) -> Citation:
    """The citation in a block with this text, after so many bytes of text; without a place if that is elsewhere."""
    if source.start is None or source.end is None:
        return source.citation
    start, end = source.start - before, source.end - before
    if not 0 <= start <= end <= len(text):
        return source.citation
    return msgspec.structs.replace(
        source.citation,
        start=len(text[:start].decode(errors="ignore")),
        end=len(text[:end].decode(errors="ignore")),
    )


def written(citations: Iterable[tuple[Citation, str, str]]) -> bytes:
    """The field with its comma, of citations with their block's text and all text before it; empty without any."""
    chunks: dict[tuple[str, str | None], int] = {}
    supports: list[dict[str, object]] = []
    for citation, before, text in citations:
        index = chunks.setdefault((citation.url, citation.title), len(chunks))
        if citation.start is not None and citation.end is not None:
            segment = _segment(citation.start, citation.end, before, text)
            supports.append({"segment": segment, "groundingChunkIndices": [index]})
    if not chunks:
        return b""
    told: dict[str, object] = {"groundingChunks": [_web(url, title) for url, title in chunks]}
    if supports:
        told["groundingSupports"] = supports
    return b'"groundingMetadata":' + msgspec.json.encode(told) + b","


def _web(url: str, title: str | None) -> dict[str, object]:
    return {"web": {"uri": url} if title is None else {"uri": url, "title": title}}


def _segment(start: int, end: int, before: str, text: str) -> dict[str, object]:
    offset = len(before.encode())
    places = {"startIndex": offset + len(text[:start].encode()), "endIndex": offset + len(text[:end].encode())}
    return {**places, "text": text[start:end]}
