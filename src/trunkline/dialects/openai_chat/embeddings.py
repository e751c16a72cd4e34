"""OpenAI's embeddings, `POST /v1/embeddings`: towards clients, and towards the many providers that speak it.

Source: https://platform.openai.com/docs/api-reference/embeddings/create (read 2026-11-25).
"""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Envelope, Facts, Need, Operation
from trunkline.core.embedding import EmbedCall, EmbedReply
from trunkline.dialects import sse
from trunkline.dialects.asked_models import PLANNED, read_models, read_preferences
from trunkline.dialects.dialect import WireRequest, join, post, top_level
from trunkline.dialects.json_fields import JsonFields
from trunkline.dialects.openai_chat.ingress import ATTRIBUTION
from trunkline.dialects.openai_chat.wire import read_usage
from trunkline.dialects.openai_chat.writer import usage_object, write_problem
from trunkline.dialects.upstream_error import classify, no_answer, parse_error_body, read_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.dialects.dialect import EventWriter, Opening

NAME: Final = "openai_embeddings"
PATH: Final = "/embeddings"
MAX_INPUTS: Final = 2048
"""So many OpenAI takes at once."""


class _Shallow(msgspec.Struct):
    """As much of an answer as metering must know."""

    data: list[msgspec.Raw]
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()


_SHALLOW = msgspec.json.Decoder(_Shallow)


class OpenAIEmbeddings:
    """Both sides of embeddings."""

    name = NAME
    commits_on_reasoning = False
    keep_alive = sse.KEEP_ALIVE
    takes_receipts = True
    carries: Mapping[str, bool] = ATTRIBUTION
    offers = frozenset({Need.EMBEDDINGS})

    def peek(self, body: bytes) -> Envelope:
        """The top-level keys that planning needs. Raises Problem INVALID_REQUEST naming the field."""
        keys = top_level(body)
        fields = JsonFields(keys)
        model, fallbacks = read_models(fields)
        if not (fields.starts_with("input", b'"') or fields.starts_with("input", b"[")):
            what = "is missing" if not fields.has("input") else "must be a string or a list"
            raise fields.wrong("input", what)
        return Envelope(
            model=model,
            fallbacks=fallbacks,
            preferences=read_preferences(fields),
            operation=Operation.EMBED,
            keys=keys,
        )

    def facts(self, envelope: Envelope) -> Facts:
        """What the request needs."""
        return Facts(
            messages=1, needs=frozenset({Need.EMBEDDINGS}), text_bytes=len(bytes(envelope.keys.get("input", b"")))
        )

    def provider_state(self, envelope: Envelope) -> str | None:
        """Nothing here can name what a provider keeps."""
        del envelope

    def provider_tool(self, envelope: Envelope) -> str | None:
        """Nothing here can have a provider run tools."""
        del envelope

    def read_call(self, body: bytes) -> Call:
        """Embeddings are no conversation: they are read by `read_embed`."""
        raise NotImplementedError

    def writer(self, opening: Opening) -> EventWriter:
        """Embeddings do not stream."""
        raise NotImplementedError

    def write_problem(self, problem: Problem, *, as_json: bool = False) -> bytes:
        """`{"error":{"message","type","param","code"}}`; it is always plain JSON here."""
        del as_json
        return write_problem(problem, as_json=True)

    def read_embed(self, body: bytes) -> EmbedCall:
        """The whole request. Raises Problem INVALID_REQUEST naming the field, also for tokens: they are one model's."""
        fields = JsonFields(top_level(body))
        fields.drop("model", *PLANNED)
        if fields.starts_with("input", b'"'):
            texts = [fields.needed_text("input")]
        else:
            try:
                texts = msgspec.json.decode(fields.raw("input") or b"[]", type=list[str])
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                what = "must be text for a model of another dialect: tokens mean something to one model only"
                raise fields.wrong("input", what) from None
        if not 1 <= len(texts) <= MAX_INPUTS:
            raise fields.wrong("input", f"must hold 1 to {MAX_INPUTS:,} texts")
        form = fields.text("encoding_format")
        if form not in {None, "float", "base64"}:
            raise fields.wrong("encoding_format", "must be float or base64")
        dimensions = fields.integer("dimensions", 1)
        left = fields.extras(NAME)
        extras = tuple(name for name, _ in left.fields) if left is not None else ()
        return EmbedCall(texts=tuple(texts), dimensions=dimensions, is_base64=form == "base64", extras=extras)

    def write_embed_reply(self, reply: EmbedReply, call: EmbedCall, opening: Opening) -> bytes:
        """The answer as a JSON body: numbers, or the base64 of little-endian 32-bit floats."""
        answer: dict[str, Any] = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": place, "embedding": _packed(vector) if call.is_base64 else vector}
                for place, vector in enumerate(reply.vectors)
            ],
            "model": reply.model or opening.model,
            "usage": {"prompt_tokens": None, "total_tokens": None},
        }
        if reply.usage is not None:
            told = usage_object(reply.usage)
            answer["usage"] = {"prompt_tokens": told["prompt_tokens"], "total_tokens": told["prompt_tokens"]}
        return msgspec.json.encode(answer)

    def write_embed(self, envelope: Envelope, call: EmbedCall | None, target: Target) -> WireRequest:
        """The client's own body with the target's model: no other dialect's clients ask for embeddings here."""
        del call
        changes: dict[str, bytes | None] = {"model": msgspec.json.encode(target.model.id), **dict.fromkeys(PLANNED)}
        takes = target.provider.quirks.accepts_provider_object
        if takes and "provider" in envelope.keys:
            changes["provider"] = bytes(envelope.keys["provider"])
        return post(target, PATH, join(envelope.keys, changes), carried=envelope.headers if takes else ())

    def read_embed_reply(self, body: bytes, target: Target) -> EmbedReply:
        """What metering needs of an answer that goes on as it came. Raises Problem for what is none."""
        try:
            answer = _SHALLOW.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise self.read_problem(target, 200, {}, body) from None
        return EmbedReply(vectors=(), model=answer.model, usage=read_usage(answer.usage))

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What an answer that is none means."""
        error = parse_error_body(body)
        if 200 <= status < 300 and error is None:
            return no_answer(target, status, headers, body)
        return classify(target, status, headers, read_error(error))


def _packed(vector: tuple[float, ...]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
