"""Embeddings: texts in, vectors out. The pair of values of Operation.EMBED."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.reply import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class EmbedCall(msgspec.Struct, frozen=True, kw_only=True):
    """The request, canonical. `dimensions` is the length of a vector where the client wants another than the model's.

    `extras` are the names of what other dialects have no word for.
    """

    texts: tuple[str, ...]
    dimensions: int | None = None
    is_base64: bool = False
    extras: tuple[str, ...] = ()

    def parts(self, size: int) -> Iterator[EmbedCall]:
        """The same call as several, each with at most `size` texts, in their order."""
        for start in range(0, len(self.texts), size):
            yield msgspec.structs.replace(self, texts=self.texts[start : start + size])


class EmbedReply(msgspec.Struct, frozen=True, kw_only=True):
    """One vector for each text, in their order: each a JSON list of numbers, as the provider wrote it."""

    vectors: tuple[msgspec.Raw, ...]
    usage: Usage | None = None


def joined(replies: Sequence[EmbedReply]) -> EmbedReply:
    """The answers to the parts of one call, as one. What one of them does not tell of its usage is unknown."""
    vectors = tuple(vector for reply in replies for vector in reply.vectors)
    usages = [reply.usage for reply in replies if reply.usage is not None]
    if not usages or len(usages) < len(replies):
        return EmbedReply(vectors=vectors)
    names = [field.name for field in msgspec.structs.fields(Usage)]
    sums = {name: _sum([getattr(usage, name) for usage in usages]) for name in names}
    return EmbedReply(vectors=vectors, usage=Usage(**sums))


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
