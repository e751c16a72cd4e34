"""Google's Gemini API: `models/{model}:generateContent`, `:streamGenerateContent?alt=sse` and `:countTokens`.

Model and action stand in the path, not in the body.

Sources: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from trunkline.core.call import Envelope, Need, Operation
from trunkline.core.problem import Kind, invalid
from trunkline.core.reply import Feature, unfold
from trunkline.dialects import sse
from trunkline.dialects.dialect import WireRequest, join, post, splice, top_level
from trunkline.dialects.gemini import call as gemini_call
from trunkline.dialects.gemini import error as gemini_error
from trunkline.dialects.gemini import reader as gemini_reader
from trunkline.dialects.gemini import request as gemini_request
from trunkline.dialects.gemini import state as gemini_state
from trunkline.dialects.gemini import writer as gemini_writer
from trunkline.dialects.gemini.body import MAY_BE_FOREIGN, without_foreign_proofs
from trunkline.dialects.gemini.embeddings import GeminiEmbeddingsIngress
from trunkline.dialects.gemini.facts import facts_of
from trunkline.dialects.gemini.fields import Fields, camel, one_spelling
from trunkline.dialects.gemini.part import NAME
from trunkline.dialects.upstream_error import invalid_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline.core.call import Call, Facts
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Event, Reply
    from trunkline.dialects.dialect import Opening

_ACTION: Final = {
    (Operation.GENERATE, True): "streamGenerateContent?alt=sse",
    (Operation.GENERATE, False): "generateContent",
    (Operation.COUNT, True): "countTokens",
    (Operation.COUNT, False): "countTokens",
}


_WRAPPER: Final = "generateContentRequest"
_COUNTED: Final = frozenset({"contents", "systemInstruction", "tools", "generationConfig"})
"""What a bare count takes. Source: google-genai 3.4.0, as it speaks to Vertex AI (read 2026-11-25)."""


class _Count(msgspec.Struct, rename="camel"):
    total_tokens: int | None = None


_COUNT = msgspec.json.Decoder(_Count)


class GeminiIngress:
    """The client's side, for one path: `at` gives it its model and action, `embedding` that of a path that embeds."""

    name = NAME
    commits_on_reasoning = True
    keep_alive = gemini_writer.KEEP_ALIVE
    takes_receipts = True
    unsaid = frozenset({Feature.STOP_SEQUENCE})
    carries: Mapping[str, bool] = {}

    def __init__(
        self,
        model: str | None = None,
        *,
        stream: bool = False,
        operation: Operation = Operation.GENERATE,
        is_sse: bool = True,
    ) -> None:
        self._model = model
        self._stream = stream
        self._operation = operation
        self._is_sse = is_sse

    def at(
        self, model: str, *, stream: bool, operation: Operation = Operation.GENERATE, is_sse: bool = True
    ) -> GeminiIngress:
        """The ingress of one path. `is_sse`: whether the query says `alt=sse`; a stream without it is refused."""
        return GeminiIngress(model, stream=stream, operation=operation, is_sse=is_sse)

    def embedding(self, model: str, *, takes_many: bool) -> GeminiEmbeddingsIngress:
        """The ingress of a path that embeds."""
        return GeminiEmbeddingsIngress(model, takes_many=takes_many)

    def peek(self, body: bytes) -> Envelope:
        """The model and the action come from the path. Raises Problem INVALID_REQUEST naming the field."""
        if self._stream and not self._is_sse:
            raise invalid(
                "A stream is given here as server-sent events only: add `?alt=sse` to the address.", param="alt"
            )
        if not self._model:
            raise invalid("The path names no model: it is /v1beta/models/{model}:generateContent.", param="model")
        keys = top_level(body)
        fields = Fields(self._spelled(keys))
        if not fields.has("contents"):
            raise fields.wrong("contents", "is missing: give the conversation")
        config = fields.inner("generationConfig")
        max_tokens = config.whole_number("maxOutputTokens") if config is not None else None
        if config is not None and max_tokens is not None and max_tokens < 1:
            raise config.wrong("maxOutputTokens", "must be at least 1")
        return Envelope(
            model=self._model,
            operation=self._operation,
            stream=self._stream,
            max_tokens=max_tokens,
            wants_usage=True,
            answers=(config.whole_number("candidateCount") if config is not None else None) or 1,
            keys=keys,
        )

    def _spelled(self, keys: Mapping[str, msgspec.Raw]) -> Mapping[str, msgspec.Raw]:
        """The keys of the request itself, in camel case; a count may hold it whole."""
        spelled = one_spelling(keys)
        if self._operation is Operation.COUNT and (inner := spelled.get("generateContentRequest")) is not None:
            return one_spelling(top_level(bytes(inner)), "generateContentRequest")
        return spelled

    def facts(self, envelope: Envelope) -> Facts:
        """What the request needs."""
        return facts_of(self._spelled(envelope.keys))

    def provider_state(self, envelope: Envelope) -> str | None:
        """The path of the first field that names what Google keeps for the account."""
        return gemini_state.provider_state(self._spelled(envelope.keys))

    def provider_tool(self, envelope: Envelope) -> str | None:
        """The path of the first field that has Google run tools."""
        return gemini_state.provider_tool(self._spelled(envelope.keys))

    def read_call(self, body: bytes) -> Call:
        """The whole request. Raises Problem INVALID_REQUEST naming the field."""
        return gemini_call.read_call(body, stream=self._stream)

    def writer(self, opening: Opening) -> gemini_writer.Writer:
        """A writer for one stream."""
        return gemini_writer.Writer(opening)

    def forwarder(self, opening: Opening) -> gemini_writer.Forwarder:
        """What passes chunks on as they came."""
        del opening
        return gemini_writer.Forwarder()

    def write_reply(self, reply: Reply, opening: Opening) -> bytes:
        """A whole answer as JSON."""
        return gemini_writer.write_reply(reply, opening)

    def write_count(self, tokens: int) -> bytes:
        """The answer to `:countTokens`."""
        return msgspec.json.encode({"totalTokens": tokens})

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """Google's error object, as the stream's last event or as plain JSON."""
        del request_id
        data = gemini_error.write_problem(problem)
        return data if as_json else sse.event(data)


class Gemini:
    """The egress of every provider that speaks Gemini."""

    name = NAME
    offers = frozenset(Need) - {Need.TOKENS}

    def write_call(self, call: Call, target: Target) -> WireRequest:
        """`POST {base}/models/{model}:generateContent`. Raises Problem where the target cannot take what is asked."""
        body, dropped = gemini_request.write_body(call, target)
        return _request(body, target, _ACTION[Operation.GENERATE, call.stream], dropped=dropped)

    def write_count_call(self, call: Call, target: Target) -> WireRequest:
        """`POST {base}/models/{model}:countTokens`, with all of the request in it."""
        body, dropped = gemini_request.write_body(call, target)
        if target.provider.quirks.counts_bare:
            whole = splice(body, _uncounted(top_level(body)))
        else:
            named = splice(body, {"model": msgspec.json.encode(f"models/{target.model.id}")})
            whole = msgspec.json.encode({"generateContentRequest": msgspec.Raw(named)})
        return _request(whole, target, _ACTION[Operation.COUNT, False], dropped=dropped)

    def splice(self, body: bytes, envelope: Envelope, target: Target) -> WireRequest:
        """The client's own body; the model goes into the path, nothing is stored, and no proofs of others are in it."""
        keys = envelope.keys
        if envelope.operation is Operation.COUNT and target.provider.quirks.counts_bare:
            keys = next((top_level(bytes(raw)) for name, raw in keys.items() if camel(name) == _WRAPPER), keys)
            changes, dropped = _changes(keys, body)
            body = join(keys, {**changes, **_uncounted(keys)})
            return _request(body, target, _ACTION[Operation.COUNT, False], dropped=dropped)
        changes, dropped = _changes(keys, body)
        if envelope.operation is Operation.COUNT:
            for name, raw in keys.items():
                if camel(name) == _WRAPPER:
                    inner = top_level(bytes(raw))
                    inner_changes, dropped = _changes(inner, body)
                    model = msgspec.json.encode(f"models/{target.model.id}")
                    changes[name] = join(inner, {**inner_changes, "model": model})
        body = join(keys, changes) if changes else body
        return _request(body, target, _ACTION[envelope.operation, envelope.stream], dropped=dropped)

    def read_reply(self, body: bytes, target: Target) -> Reply:
        """A whole answer. Raises Problem for an error inside it and for what is no answer."""
        return gemini_reader.read_reply(body, target)

    def read_events(self, body: bytes, target: Target) -> Sequence[Event]:
        """The same as the events that tell it."""
        return unfold(self.read_reply(body, target))

    def read_count(self, body: bytes, target: Target) -> int:
        """The answer to `:countTokens`, in tokens. Raises Problem for what is none."""
        try:
            count = _COUNT.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise invalid_answer(target, f"a count that is none, {len(body)} bytes") from None
        if count.total_tokens is None or count.total_tokens < 0:
            raise gemini_error.read_problem(target, 200, {}, body)
        return count.total_tokens

    def reader(self, target: Target) -> gemini_reader.Reader:
        """A reader for one stream of this target."""
        return gemini_reader.Reader(target)

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What a status that is not 200, or a 200 that is no answer, means."""
        return gemini_error.read_problem(target, status, headers, body)


def _uncounted(keys: Iterable[str]) -> dict[str, bytes | None]:
    """Takes out what a bare count does not know."""
    return {name: None for name in keys if camel(name) not in _COUNTED}


def _changes(keys: Mapping[str, msgspec.Raw], body: bytes) -> tuple[dict[str, bytes | None], tuple[str, ...]]:
    """What must change in a client's own request, or one inside of it, and the names of what is lost by it.

    The model is taken out, which the path names, storing is turned off where it is spoken of, and proofs of other
    providers go nowhere.
    """
    changes: dict[str, bytes | None] = {}
    dropped: tuple[str, ...] = ()
    if "model" in keys:
        changes["model"] = None
    if "store" in keys:
        changes["store"] = b"false"
    if "contents" in keys and MAY_BE_FOREIGN in body:
        contents = without_foreign_proofs(keys["contents"])
        if contents is not None:
            changes["contents"] = contents
            dropped = ("reasoning.signature",)
    return changes, dropped


def _request(body: bytes, target: Target, action: str, *, dropped: tuple[str, ...] = ()) -> WireRequest:
    path = f"/models/{_in_path(target.model.id)}:{action}"
    return post(target, path, body, is_stream=action.endswith("alt=sse"), dropped=dropped)


def _in_path(model: str) -> str:
    """A model's name as part of a path that it cannot leave. Raises Problem NOT_FOUND for one that would."""
    if any(step in {"", ".", ".."} for step in model.split("/")):
        raise invalid(f"No model can be called {model[:200]!r}.", param="model", kind=Kind.NOT_FOUND)
    return quote(model, safe="/:@")
