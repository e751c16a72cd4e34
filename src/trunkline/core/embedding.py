"""Embeddings: texts in, vectors out. The pair of values of Operation.EMBED."""

from __future__ import annotations

import msgspec

from trunkline.core.reply import Usage


class EmbedCall(msgspec.Struct, frozen=True, kw_only=True):
    """The request, canonical. `dimensions` is the length of a vector where the client wants another than the model's.

    `extras` are the names of what other dialects have no word for.
    """

    texts: tuple[str, ...]
    dimensions: int | None = None
    is_base64: bool = False
    extras: tuple[str, ...] = ()


class EmbedReply(msgspec.Struct, frozen=True, kw_only=True):
    """One vector for each text, in their order."""

    vectors: tuple[tuple[float, ...], ...]
    model: str | None = None
    usage: Usage | None = None
