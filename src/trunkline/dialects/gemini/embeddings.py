"""Google's embeddings, `models/{model}:batchEmbedContents`: the egress.

Source: https://ai.google.dev/api/embeddings (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from trunkline.core.embedding import EmbedReply
from trunkline.core.problem import Kind, invalid
from trunkline.core.reply import Usage
from trunkline.dialects.dialect import WireRequest, post
from trunkline.dialects.gemini import error as gemini_error
from trunkline.dialects.gemini.part import NAME
from trunkline.dialects.upstream_error import invalid_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.call import Envelope
    from trunkline.core.catalog import Target
    from trunkline.core.embedding import EmbedCall
    from trunkline.core.problem import Problem

MAX_REASONABLE_TOKENS: Final = 1_000_000_000


class _Vector(msgspec.Struct):
    values: list[float] = []


class _Metadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: _Metadata | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


class GeminiEmbeddings:
    """The egress of Google's embeddings."""

    name = NAME

    def write_embed(self, envelope: Envelope, call: EmbedCall | None, target: Target) -> WireRequest:
        """One request for all texts. Raises Problem NOT_FOUND for a name that would leave its place in the path."""
        del envelope
        assert call is not None  # noqa: S101 - no client speaks this dialect here
        model = target.model.id
        if any(step in {"", ".", ".."} for step in model.split("/")):
            raise invalid(f"No model can be called {model[:200]!r}.", param="model", kind=Kind.NOT_FOUND)
        each: dict[str, Any] = {"model": f"models/{model}"}
        if call.dimensions is not None:
            each["outputDimensionality"] = call.dimensions
        asked = [{**each, "content": {"parts": [{"text": text}]}} for text in call.texts]
        path = f"/models/{quote(model, safe='/:@')}:batchEmbedContents"
        return post(target, path, msgspec.json.encode({"requests": asked}), dropped=call.extras)

    def read_embed_reply(self, body: bytes, target: Target) -> EmbedReply:
        """A whole answer. Raises Problem for what is none."""
        try:
            answer = _ANSWER.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise self.read_problem(target, 200, {}, body) from None
        if any(not one.values for one in answer.embeddings):
            raise invalid_answer(target, "an embedding without numbers")
        count = answer.usage_metadata.prompt_token_count if answer.usage_metadata is not None else None
        known = count is not None and 0 <= count <= MAX_REASONABLE_TOKENS
        return EmbedReply(
            vectors=tuple(tuple(one.values) for one in answer.embeddings),
            usage=Usage(input_tokens=count, output_tokens=0) if known else None,
        )

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What an answer that is none means."""
        return gemini_error.read_problem(target, status, headers, body)
