"""Google's embeddings: `models/{model}:embedContent` of one text, `:batchEmbedContents` of many.

Sources: https://ai.google.dev/api/embeddings (read 2026-11-25), google-genai 3.4.0 on the wire (seen 2026-11-26).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from trunkline.core.call import Envelope, Facts, Need, Operation
from trunkline.core.embedding import EmbedCall, EmbedReply
from trunkline.core.problem import Kind, invalid
from trunkline.core.reply import Usage
from trunkline.dialects.dialect import WireRequest, join, post, top_level
from trunkline.dialects.gemini import error as gemini_error
from trunkline.dialects.gemini import state as gemini_state
from trunkline.dialects.gemini import writer as gemini_writer
from trunkline.dialects.gemini.fields import Fields, one_spelling
from trunkline.dialects.gemini.part import NAME
from trunkline.dialects.upstream_error import invalid_answer
from trunkline.dialects.vectors import is_vector, json_list, less_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Feature
    from trunkline.dialects.dialect import EventWriter, Opening

MAX_REASONABLE_TOKENS: Final = 1_000_000_000
MOST_TEXTS: Final = 100
"""So many Google takes in one batch.
Source: https://github.com/langchain-ai/langchainjs/issues/4491, its own words (read 2026-11-26)."""

ONE: Final = "embedContent"
MANY: Final = "batchEmbedContents"

_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class GeminiEmbeddingsIngress:
    """The client's side, for one path: that of one text, or of many."""

    name = NAME
    commits_on_reasoning = False
    keep_alive = gemini_writer.KEEP_ALIVE
    takes_receipts = True
    unsaid: frozenset[Feature] = frozenset()
    carries: Mapping[str, bool] = {}

    def __init__(self, model: str, *, takes_many: bool) -> None:
        self._model = model
        self._takes_many = takes_many

    def peek(self, body: bytes) -> Envelope:
        """The model comes from the path. Raises Problem INVALID_REQUEST naming the field."""
        keys = top_level(body)
        name, start, what = ("requests", b"[", "list") if self._takes_many else ("content", b"{", "object")
        spelled = one_spelling(keys)
        fields = Fields(spelled)
        if not fields.starts_with(name, start):
            raise fields.wrong(name, f"must be the {what} that is to be embedded")
        if not self._takes_many and "requests" in spelled:
            raise fields.wrong("requests", f"must be sent to `:{MANY}`")
        return Envelope(model=self._model, operation=Operation.EMBED, keys=keys)

    def facts(self, envelope: Envelope) -> Facts:
        """What the request needs."""
        size = sum(len(memoryview(raw)) for raw in envelope.keys.values())
        return Facts(messages=1, needs=frozenset({Need.EMBEDDINGS}), text_bytes=size)

    def provider_state(self, envelope: Envelope) -> str | None:
        """The path of the first field that names what Google keeps for the account."""
        if not self._takes_many:
            return gemini_state.stored_file(envelope.keys["content"], "content")
        for place, one in enumerate(_requests(envelope.keys["requests"])):
            path = f"requests[{place}].content"
            if "content" in one and (found := gemini_state.stored_file(one["content"], path)) is not None:
                return found
        return None

    def provider_tool(self, envelope: Envelope) -> str | None:
        """Nothing here can have a provider run tools."""
        del envelope

    def read_call(self, body: bytes) -> Call:
        """Embeddings are no conversation: they are read by `read_embed`."""
        raise NotImplementedError

    def writer(self, opening: Opening) -> EventWriter:
        """Embeddings do not stream."""
        raise NotImplementedError

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """Google's error object; it is always plain JSON here."""
        del as_json, request_id
        return gemini_error.write_problem(problem)

    def read_embed(self, body: bytes) -> EmbedCall:
        """The whole request. Raises Problem INVALID_REQUEST naming the field, also for what is no text."""
        fields = Fields(one_spelling(top_level(body)))
        asked = fields.items("requests") if self._takes_many else [fields]
        texts = tuple(_text(one) for one in asked)
        settings = [_settings(one) for one in asked]
        lengths = {length for length, _ in settings}
        if not texts:
            raise fields.wrong("requests", "must hold at least one text")
        if len(lengths) > 1:
            raise fields.wrong("requests", "must all ask for the same dimensions of a model of another dialect")
        fields.drop("model")
        left = dict.fromkeys(name for names in (fields.left(), *(names for _, names in settings)) for name in names)
        return EmbedCall(texts=texts, dimensions=lengths.pop(), extras=tuple(left))

    def write_embed_reply(self, reply: EmbedReply, call: EmbedCall, opening: Opening) -> bytes:
        """The answer as a JSON body. Usage that nobody knows is left out."""
        del call, opening
        vectors = [b'{"values":%b}' % bytes(raw) for raw in reply.vectors]
        answer: dict[str, Any] = (
            {"embeddings": msgspec.Raw(json_list(vectors))}
            if self._takes_many
            else {"embedding": msgspec.Raw(vectors[0])}
        )
        if reply.usage is not None and reply.usage.input_tokens is not None:
            answer["usageMetadata"] = {"promptTokenCount": reply.usage.input_tokens}
        return msgspec.json.encode(answer)


def _requests(raw: msgspec.Raw) -> list[dict[str, msgspec.Raw]]:
    try:
        return _OBJECTS.decode(raw)
    except _UNREADABLE:
        raise invalid("`requests` must be a list of objects.", param="requests") from None


def _text(fields: Fields) -> str:
    """All parts' text, as Google embeds it: one vector for all of them."""
    content = fields.inner("content")
    if content is None:
        raise fields.wrong("content", "is missing")
    parts = content.items("parts")
    for part in parts:
        if not part.has("text") or part.text("text") is None or part.left():
            raise part.wrong("text", "must be all that there is for a model of another dialect: it takes text alone")
    return "".join(part.needed_text("text") for part in parts)


def _settings(fields: Fields) -> tuple[int | None, tuple[str, ...]]:
    """The length of the vectors, and what nobody else has a word for: beside the text, or all together beside it."""
    fields.drop("model")
    config = fields.inner("embedContentConfig") or Fields({})
    inner, outer = config.whole_number("outputDimensionality"), fields.whole_number("outputDimensionality")
    left = (*fields.left(), *(f"embedContentConfig.{name}" for name in config.left()))
    return outer if inner is None else inner, left


class _Vector(msgspec.Struct):
    values: msgspec.Raw = msgspec.Raw(b"[]")


class _Metadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: _Metadata | None = None


class _Shallow(msgspec.Struct, rename="camel"):
    """As much of an answer as metering must know."""

    embeddings: msgspec.Raw = msgspec.Raw()
    embedding: msgspec.Raw = msgspec.Raw()
    usage_metadata: _Metadata | None = None


class _Rest(msgspec.Struct, rename="camel"):
    """An answer less its vectors."""

    usage_metadata: _Metadata


_ANSWER = msgspec.json.Decoder(_Answer)
_SHALLOW = msgspec.json.Decoder(_Shallow)
_REST = msgspec.json.Decoder(_Rest)


class GeminiEmbeddings:
    """The egress of Google's embeddings."""

    name = NAME
    most_texts = MOST_TEXTS

    def write_embed(self, call: EmbedCall, target: Target) -> WireRequest:
        """One request for all texts. Raises Problem NOT_FOUND for a name that would leave its place in the path."""
        each: dict[str, Any] = {"model": f"models/{target.model.id}"}
        if call.dimensions is not None:
            each["outputDimensionality"] = call.dimensions
        asked = [{**each, "content": {"parts": [{"text": text}]}} for text in call.texts]
        return _request(msgspec.json.encode({"requests": asked}), target, MANY, dropped=call.extras)

    def splice_embed(self, envelope: Envelope, target: Target) -> WireRequest:
        """The client's own body, with the target's model wherever it names one."""
        model = msgspec.json.encode(f"models/{target.model.id}")
        changes: dict[str, bytes | None] = {"model": model} if "model" in envelope.keys else {}
        if (asked := envelope.keys.get("requests")) is None:
            return _request(join(envelope.keys, changes), target, ONE)
        changes["requests"] = json_list(join(one, {"model": model}) for one in _requests(asked))
        return _request(join(envelope.keys, changes), target, MANY)

    def read_embed_reply(self, body: bytes, target: Target) -> EmbedReply:
        """A whole answer. Raises Problem for what is none."""
        try:
            answer = _ANSWER.decode(body)
        except _UNREADABLE:
            raise self.read_problem(target, 200, {}, body) from None
        vectors = tuple(one.values for one in answer.embeddings)
        if not all(map(is_vector, vectors)):
            raise invalid_answer(target, "an embedding that is no list of numbers")
        return EmbedReply(vectors=vectors, usage=_usage(answer.usage_metadata))

    def read_embed_usage(self, body: bytes, target: Target) -> Usage | None:
        """What metering needs of an answer that goes on as it came. Raises Problem for what is none."""
        rest = less_vectors(body, b"embeddings", b"usageMetadata")
        try:
            return _usage(_REST.decode(rest or b"").usage_metadata)
        except _UNREADABLE:
            pass  # it has to be read whole
        try:
            answer = _SHALLOW.decode(body)
        except _UNREADABLE:
            raise self.read_problem(target, 200, {}, body) from None
        if not answer.embeddings and not answer.embedding:
            raise self.read_problem(target, 200, {}, body)
        return _usage(answer.usage_metadata)

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What an answer that is none means."""
        return gemini_error.read_problem(target, status, headers, body)


def _request(body: bytes, target: Target, action: str, *, dropped: tuple[str, ...] = ()) -> WireRequest:
    model = target.model.id
    if any(step in {"", ".", ".."} for step in model.split("/")):
        raise invalid(f"No model can be called {model[:200]!r}.", param="model", kind=Kind.NOT_FOUND)
    return post(target, f"/models/{quote(model, safe='/:@')}:{action}", body, dropped=dropped)


def _usage(metadata: _Metadata | None) -> Usage | None:
    count = metadata.prompt_token_count if metadata is not None else None
    known = count is not None and 0 <= count <= MAX_REASONABLE_TOKENS
    return Usage(input_tokens=count, output_tokens=0) if known else None
