"""OpenAI's embeddings, `POST /v1/embeddings`: towards clients, and towards the many providers that speak it.

Source: https://platform.openai.com/docs/api-reference/embeddings/create (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Envelope, Facts, Need, Operation
from trunkline.core.embedding import EmbedCall, EmbedReply
from trunkline.dialects import sse
from trunkline.dialects.asked_models import PLANNED, read_models, read_preferences
from trunkline.dialects.dialect import WireRequest, join, post, top_level
from trunkline.dialects.json_fields import JsonFields
from trunkline.dialects.openai_chat.fields import OPENROUTER, provider_state, provider_tool
from trunkline.dialects.openai_chat.ingress import ATTRIBUTION
from trunkline.dialects.openai_chat.wire import read_usage
from trunkline.dialects.openai_chat.writer import is_counted, priced, usage_object, write_problem
from trunkline.dialects.upstream_error import classify, invalid_answer, no_answer, parse_error_body, read_error
from trunkline.dialects.vectors import is_vector, json_list, less_vectors, packed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Feature, Usage
    from trunkline.dialects.dialect import EventWriter, Opening

NAME: Final = "openai_embeddings"
PATH: Final = "/embeddings"
MAX_INPUTS: Final = 2048
"""So many OpenAI takes at once."""
MAX_SPACE: Final = 256
"""How far into the input its first letter or digit is looked for."""


class _Row(msgspec.Struct):
    embedding: msgspec.Raw
    index: int = 0


class _Answer(msgspec.Struct):
    data: list[_Row]
    usage: msgspec.Raw = msgspec.Raw()


class _Shallow(msgspec.Struct):
    """As much of an answer as metering must know."""

    data: list[msgspec.Raw]
    usage: msgspec.Raw = msgspec.Raw()


class _Rest(msgspec.Struct):
    """An answer less its vectors."""

    usage: msgspec.Raw


_ANSWER = msgspec.json.Decoder(_Answer)
_SHALLOW = msgspec.json.Decoder(_Shallow)
_REST = msgspec.json.Decoder(_Rest)
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class OpenAIEmbeddings:
    """Both sides of embeddings."""

    name = NAME
    commits_on_reasoning = False
    keep_alive = sse.KEEP_ALIVE
    takes_receipts = True
    unsaid: frozenset[Feature] = frozenset()
    carries: Mapping[str, bool] = ATTRIBUTION
    most_texts = MAX_INPUTS

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
        """What the request needs: tokens are a need of their own."""
        given = memoryview(envelope.keys["input"])
        start = bytes(given[:MAX_SPACE]).lstrip(b"[ \t\r\n")[:1]
        needs = {Need.EMBEDDINGS, Need.TOKENS} if start.isdigit() else {Need.EMBEDDINGS}
        return Facts(messages=1, needs=frozenset(needs), text_bytes=len(given))

    def provider_state(self, envelope: Envelope) -> str | None:
        """The first field that names what a provider keeps, as in chat completions."""
        return provider_state(envelope)

    def provider_tool(self, envelope: Envelope) -> str | None:
        """The first field that has the provider run tools, as in chat completions."""
        return provider_tool(envelope)

    def read_call(self, body: bytes) -> Call:
        """Embeddings are no conversation: they are read by `read_embed`."""
        raise NotImplementedError

    def writer(self, opening: Opening) -> EventWriter:
        """Embeddings do not stream."""
        raise NotImplementedError

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """`{"error":{"message","type","param","code"}}`; it is always plain JSON here."""
        del as_json, request_id
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
        """The answer as a JSON body: numbers, or base64. Usage that nobody knows is left out, as clients expect it."""
        answer: dict[str, Any] = {
            "object": "list",
            "data": msgspec.Raw(json_list(_row(at, raw, call) for at, raw in enumerate(reply.vectors))),
            "model": opening.model,
        }
        if reply.usage is not None and is_counted(reply.usage):
            told = usage_object(priced(reply.usage, opening))
            answer["usage"] = {name: told[name] for name in ("prompt_tokens", "total_tokens", "cost") if name in told}
        return msgspec.json.encode(answer)

    def splice_embed(self, envelope: Envelope, target: Target) -> WireRequest:
        """The client's own body with the target's model."""
        changes: dict[str, bytes | None] = {"model": msgspec.json.encode(target.model.id), **dict.fromkeys(PLANNED)}
        if target.provider.quirks.accepts_provider_object:
            if "provider" in envelope.keys:
                changes["provider"] = bytes(envelope.keys["provider"])  # the planner has taken its own names out
            return post(target, PATH, join(envelope.keys, changes), carried=envelope.headers)
        dropped = tuple(sorted(OPENROUTER.intersection(envelope.keys)))
        return post(target, PATH, join(envelope.keys, changes | dict.fromkeys(OPENROUTER)), dropped=dropped)

    def write_embed(self, call: EmbedCall, target: Target) -> WireRequest:
        """`POST {base}/embeddings`: numbers are asked for, which is what every provider gives unasked."""
        body: dict[str, Any] = {"model": target.model.id, "input": call.texts}
        if call.dimensions is not None:
            body["dimensions"] = call.dimensions
        return post(target, PATH, msgspec.json.encode(body), dropped=call.extras)

    def read_embed_usage(self, body: bytes, target: Target) -> Usage | None:
        """What metering needs of an answer that goes on as it came. Raises Problem for what is none."""
        rest = less_vectors(body, b"data", b"usage")
        try:
            return _usage(_REST.decode(rest or b"").usage)
        except _UNREADABLE:
            pass  # it has to be read whole
        try:
            return _usage(_SHALLOW.decode(body).usage)
        except _UNREADABLE:
            raise self.read_problem(target, 200, {}, body) from None

    def read_embed_reply(self, body: bytes, target: Target) -> EmbedReply:
        """A whole answer, its vectors in the order of the texts. Raises Problem for what is none."""
        try:
            answer = _ANSWER.decode(body)
        except _UNREADABLE:
            raise self.read_problem(target, 200, {}, body) from None
        rows = sorted(answer.data, key=lambda row: row.index)
        if not all(is_vector(row.embedding) for row in rows):
            raise invalid_answer(target, "an embedding that is no list of numbers")
        return EmbedReply(vectors=tuple(row.embedding for row in rows), usage=_usage(answer.usage))

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What an answer that is none means."""
        error = parse_error_body(body)
        if 200 <= status < 300 and error is None:
            return no_answer(target, status, headers, body)
        return classify(target, status, headers, read_error(error))


def _row(place: int, raw: msgspec.Raw, call: EmbedCall) -> bytes:
    vector = packed(raw) if call.is_base64 else bytes(raw)
    return b'{"object":"embedding","index":%d,"embedding":%b}' % (place, vector)


def _usage(raw: msgspec.Raw) -> Usage | None:
    """What was used: an embedding writes nothing, and its usage need not say so."""
    usage = read_usage(raw)
    return usage if usage is None else msgspec.structs.replace(usage, output_tokens=0)
