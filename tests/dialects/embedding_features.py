"""What becomes of each feature of embeddings, by client, by provider and by direction: probes, and their cells.

Sources: https://platform.openai.com/docs/api-reference/embeddings, https://ai.google.dev/api/embeddings (read
2026-11-26).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from dialects.every_dialect import GEMINI, OPENING, target_of
from dialects.features import Cell, Outcome, contains, refused
from trunkline.core.embedding import EmbedCall, EmbedReply
from trunkline.core.problem import Problem
from trunkline.core.reply import Usage
from trunkline.dialects.gemini.embeddings import GeminiEmbeddings, GeminiEmbeddingsIngress
from trunkline.dialects.openai_chat.embeddings import OpenAIEmbeddings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.catalog import Target
    from trunkline.dialects.dialect import EmbedEgress, EmbedIngress

OPENAI: Final = "openai_embeddings"
ONE: Final = "embedContent"
MANY: Final = "batchEmbedContents"

CLIENTS: Final[Mapping[str, EmbedIngress]] = {
    OPENAI: OpenAIEmbeddings(),
    ONE: GeminiEmbeddingsIngress("m", takes_many=False),
    MANY: GeminiEmbeddingsIngress("m", takes_many=True),
}
PROVIDERS: Final[Mapping[str, tuple[EmbedEgress, Target]]] = {
    OPENAI: (OpenAIEmbeddings(), target_of("openai_chat")),
    GEMINI: (GeminiEmbeddings(), target_of("gemini")),
}
HI: Final = {"parts": [{"text": "Hi"}]}
BASE: Final[Mapping[str, dict[str, Any]]] = {
    OPENAI: {"model": "m", "input": "Hi"},
    ONE: {"content": HI},
    MANY: {"requests": [{"model": "models/m", "content": HI}]},
}


class EmbedFeature(NamedTuple):
    """One thing that a request can say. `told` is how a provider is told of it; `call` is None where none can be."""

    title: str
    call: EmbedCall | None
    native: Mapping[str, dict[str, Any]]
    told: Mapping[str, dict[str, Any]] = {}
    notes: Mapping[str, str] = {}


class VectorFeature(NamedTuple):
    """One thing that an answer can say; clients that are not told of it cannot ask for it."""

    title: str
    reply: EmbedReply
    call: EmbedCall
    whole: Mapping[str, dict[str, Any]]
    told: Mapping[str, dict[str, Any]]


def each(**fields: Any) -> dict[str, Any]:
    """The one request of a batch, with more in it."""
    return {"requests": [{**BASE[MANY]["requests"][0], **fields}]}


ASKED: Final = EmbedCall(texts=("Hi",))

REQUESTS: Final = (
    EmbedFeature(
        "a text",
        ASKED,
        {OPENAI: {}, ONE: {}, MANY: {}},
        {OPENAI: {"input": ["Hi"]}, GEMINI: {"requests": [{"content": HI}]}},
    ),
    EmbedFeature(
        "several texts",
        EmbedCall(texts=("Hi", "Ho")),
        {
            OPENAI: {"input": ["Hi", "Ho"]},
            MANY: {"requests": [{"content": HI}, {"content": {"parts": [{"text": "Ho"}]}}]},
        },
        {OPENAI: {"input": ["Hi", "Ho"]}, GEMINI: {"requests": [{"content": HI}, {}]}},
    ),
    EmbedFeature("tokens in place of text", None, {OPENAI: {"input": [1, 2]}}),
    EmbedFeature(
        "an image, audio or file in place of text",
        None,
        {ONE: {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]}}},
    ),
    EmbedFeature(
        "dimensions",
        EmbedCall(texts=("Hi",), dimensions=256),
        {OPENAI: {"dimensions": 256}, ONE: {"outputDimensionality": 256}, MANY: each(outputDimensionality=256)},
        {OPENAI: {"dimensions": 256}, GEMINI: {"requests": [{"outputDimensionality": 256}]}},
    ),
    EmbedFeature(
        "vectors as base64",
        EmbedCall(texts=("Hi",), is_base64=True),
        {OPENAI: {"encoding_format": "base64"}},
        {OPENAI: {"input": ["Hi"]}, GEMINI: {"requests": [{"content": HI}]}},
        dict.fromkeys((OPENAI, GEMINI), "numbers are asked for, and packed here"),
    ),
    EmbedFeature("user", None, {OPENAI: {"user": "ann"}}),
    EmbedFeature(
        "what the vectors are for (`taskType`)",
        None,
        {ONE: {"taskType": "CLUSTERING"}, MANY: each(taskType="CLUSTERING")},
    ),
    EmbedFeature("the text's title", None, {ONE: {"title": "Greetings"}, MANY: each(title="Greetings")}),
)

VECTOR: Final = EmbedReply(vectors=(msgspec.Raw(b"[0.5,1]"),), usage=Usage(input_tokens=7, output_tokens=0))
PACKED: Final = "AAAAPwAAgD8="
"""The same as two little-endian floats of four bytes."""

ANSWERS: Final = (
    VectorFeature(
        "vectors",
        VECTOR,
        ASKED,
        {OPENAI: {"data": [{"embedding": [0.5, 1]}]}, GEMINI: {"embeddings": [{"values": [0.5, 1]}]}},
        {
            OPENAI: {"data": [{"index": 0, "embedding": [0.5, 1]}]},
            ONE: {"embedding": {"values": [0.5, 1]}},
            MANY: {"embeddings": [{"values": [0.5, 1]}]},
        },
    ),
    VectorFeature(
        "vectors as base64",
        VECTOR,
        EmbedCall(texts=("Hi",), is_base64=True),
        {},
        {OPENAI: {"data": [{"embedding": PACKED}]}},
    ),
    VectorFeature(
        "usage",
        VECTOR,
        ASKED,
        {
            OPENAI: {"data": [{"embedding": [0.5, 1]}], "usage": {"prompt_tokens": 7, "total_tokens": 7}},
            GEMINI: {"embeddings": [{"values": [0.5, 1]}], "usageMetadata": {"promptTokenCount": 7}},
        },
        {
            OPENAI: {"usage": {"prompt_tokens": 7, "total_tokens": 7}},
            ONE: {"usageMetadata": {"promptTokenCount": 7}},
            MANY: {"usageMetadata": {"promptTokenCount": 7}},
        },
    ),
)


def request_in(feature: EmbedFeature, client: str) -> Cell:
    """A client asks for it: does the call hold it?"""
    if client not in feature.native:
        return Cell(Outcome.NO_WORD)
    ingress = CLIENTS[client]
    body = msgspec.json.encode({**BASE[client], **feature.native[client]})
    try:
        ingress.peek(body)
        call = ingress.read_embed(body)
    except Problem as problem:
        return refused(problem)
    if call == feature.call:
        return Cell(Outcome.KEPT)
    names = {name for egress, target in PROVIDERS.values() for name in egress.write_embed(call, target).dropped}
    return Cell(Outcome.VERBATIM, call.extras) if call.extras and names == set(call.extras) else Cell(Outcome.LOST)


def request_out(feature: EmbedFeature, provider: str) -> Cell:
    """A provider is to be told of it: does the body say it?"""
    if feature.call is None:
        clients = {OPENAI} if provider == OPENAI else {ONE, MANY}
        return Cell(Outcome.VERBATIM if clients & feature.native.keys() else Outcome.NO_WORD)
    egress, target = PROVIDERS[provider]
    body = msgspec.json.decode(egress.write_embed(feature.call, target).body)
    is_told = contains(body, feature.told[provider])
    return Cell(Outcome.KEPT, note=feature.notes.get(provider, "")) if is_told else Cell(Outcome.LOST)


def answer_in(feature: VectorFeature, provider: str) -> Cell:
    """A provider says it: does the reply hold it?"""
    if provider not in feature.whole:
        return Cell(Outcome.NO_WORD)
    egress, target = PROVIDERS[provider]
    reply = egress.read_embed_reply(msgspec.json.encode(feature.whole[provider]), target)
    is_held = reply.vectors == feature.reply.vectors and reply.usage in {None, feature.reply.usage}
    return Cell(Outcome.KEPT if is_held else Outcome.LOST)


def answer_out(feature: VectorFeature, client: str) -> Cell:
    """A client is told of it."""
    if client not in feature.told:
        return Cell(Outcome.NO_WORD)
    told = msgspec.json.decode(CLIENTS[client].write_embed_reply(feature.reply, feature.call, OPENING))
    return Cell(Outcome.KEPT if contains(told, feature.told[client]) else Outcome.LOST)
