"""Google's embeddings, both ways: what is read, written and spliced, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from google.genai.types import EmbedContentResponse
from hypothesis import given
from hypothesis import strategies as st

from dialects import hub_strategies as hub
from dialects.admission import NARROW
from dialects.every_dialect import OPENING
from dialects.gemini_streams import target
from trunkline.core.call import Need, Operation
from trunkline.core.catalog import Model
from trunkline.core.embedding import EmbedCall, EmbedReply
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.core.reply import Usage
from trunkline.dialects.gemini.embeddings import GeminiEmbeddings, GeminiEmbeddingsIngress
from trunkline.dialects.gemini.sides import GeminiIngress
from trunkline.gateway.admission import admit

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.dialects.dialect import EmbedEgress, EmbedIngress

EGRESS = GeminiEmbeddings()
TARGET = target(model=Model(id="gemini-embedding-001"))
ONE = GeminiEmbeddingsIngress("gemini/m", takes_many=False)
MANY = GeminiEmbeddingsIngress("gemini/m", takes_many=True)
GOOGLES = "https://generativelanguage.googleapis.com/v1beta/files/abc"

FROM_THE_SDK = {
    "requests": [
        {"content": {"parts": [{"text": text}], "role": "user"}, "model": "models/gemini/m", "outputDimensionality": 3}
        for text in ("a", "b")
    ]
}
"""As google-genai 3.4.0 sends it (seen 2026-11-26)."""

VECTORS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4).map(
    lambda numbers: msgspec.Raw(msgspec.json.encode(numbers))
)
USAGES = st.none() | st.builds(Usage, input_tokens=st.integers(0, 10**6), output_tokens=st.just(0))
REPLIES = st.builds(EmbedReply, vectors=st.lists(VECTORS, min_size=1, max_size=4).map(tuple), usage=USAGES)
CALLS = st.builds(
    EmbedCall,
    texts=st.lists(hub.WORDS, min_size=1, max_size=4).map(tuple),
    dimensions=st.none() | st.integers(1, 9999),
)


def content(text: str = "a", **more: Any) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}]}, **more}


def problem_of(work: Callable[[], object]) -> Problem | None:
    try:
        work()
    except Problem as problem:
        return problem
    return None


def read(ingress: GeminiEmbeddingsIngress, asked: bytes) -> EmbedCall:
    ingress.peek(asked)
    return ingress.read_embed(asked)


def refusal(ingress: GeminiEmbeddingsIngress, asked: Any) -> Problem:
    problem = problem_of(lambda: read(ingress, msgspec.json.encode(asked)))
    assert problem is not None
    assert problem.kind is Kind.INVALID_REQUEST
    return problem


def test_both_sides_are_what_a_dialect_must_be() -> None:
    ingress: EmbedIngress = GeminiIngress().embedding("m", takes_many=True)
    egress: EmbedEgress = EGRESS
    assert ingress.name == egress.name == "gemini"


def test_what_the_sdk_sends_is_read() -> None:
    body = msgspec.json.encode(FROM_THE_SDK)
    envelope = MANY.peek(body)
    assert (envelope.model, envelope.operation, envelope.stream) == ("gemini/m", Operation.EMBED, False)
    assert MANY.facts(envelope).needs == {Need.EMBEDDINGS}
    assert MANY.read_embed(body) == EmbedCall(texts=("a", "b"), dimensions=3)


def test_one_text_is_read_all_its_parts_together() -> None:
    asked = {"content": {"parts": [{"text": "a"}, {"text": "b"}], "role": "user"}, "task_type": "CLUSTERING"}
    assert read(ONE, msgspec.json.encode(asked)) == EmbedCall(texts=("ab",), extras=("taskType",))


@pytest.mark.parametrize("where", ["outputDimensionality", "output_dimensionality"])
def test_the_length_is_found_in_the_settings_too(where: str) -> None:
    asked = content(embedContentConfig={where: 7.0, "title": "T"})
    assert read(ONE, msgspec.json.encode(asked)) == EmbedCall(
        texts=("a",), dimensions=7, extras=("embedContentConfig.title",)
    )


@pytest.mark.parametrize(
    ("ingress", "asked", "param"),
    [
        (ONE, {}, "content"),
        (ONE, {"content": "Hi"}, "content"),
        (ONE, {"requests": [content()]}, "content"),
        (ONE, content(requests=[content()]), "requests"),
        (ONE, content(requests=None), "requests"),
        (ONE, {"content": {"parts": [5]}}, "content.parts[0]"),
        (ONE, {"content": {"parts": [{"text": 5}]}}, "content.parts[0].text"),
        (ONE, {"content": {"parts": [{"inlineData": {}}]}}, "content.parts[0].text"),
        (ONE, {"content": {"parts": [{"text": "a", "thought": True}]}}, "content.parts[0].text"),
        (ONE, content(outputDimensionality="x"), "outputDimensionality"),
        (ONE, content(outputDimensionality=2.5), "outputDimensionality"),
        (MANY, {}, "requests"),
        (MANY, content(), "requests"),
        (MANY, {"requests": {}}, "requests"),
        (MANY, {"requests": []}, "requests"),
        (MANY, {"requests": [5]}, "requests[0]"),
        (MANY, {"requests": [content(), {}]}, "requests[1].content"),
        (MANY, {"requests": [content(), content(outputDimensionality=3)]}, "requests"),
    ],
)
def test_a_wrong_field_is_named(ingress: GeminiEmbeddingsIngress, asked: Any, param: str) -> None:
    assert refusal(ingress, asked).param == param


STORED = {"content": {"parts": [{"text": "a"}, {"fileData": {"fileUri": GOOGLES}}]}}


@pytest.mark.parametrize(
    ("ingress", "asked", "path"),
    [
        (ONE, STORED, "content.parts[1].fileData.fileUri"),
        (MANY, {"requests": [content(), STORED]}, "requests[1].content.parts[1].fileData.fileUri"),
        (MANY, {"requests": [{"content": {"parts": {"file_data": {"file_uri": "files/abc"}}}}]}, "requests[0]"),
    ],
)
def test_a_file_that_google_keeps_needs_a_scope(ingress: GeminiEmbeddingsIngress, asked: Any, path: str) -> None:
    envelope = ingress.peek(msgspec.json.encode(asked))
    problem = problem_of(lambda: admit(ingress, envelope, NARROW))
    assert problem is not None
    assert (problem.kind, (problem.param or "")[: len(path)]) == (Kind.INVALID_REQUEST, path)


@pytest.mark.parametrize("requests", [[5], [content(), None], "x", {"a": 1}])
def test_requests_that_cannot_be_looked_through_go_nowhere(requests: Any) -> None:
    body = msgspec.json.encode({"requests": requests})

    def walk() -> None:
        EGRESS.splice_embed(MANY.peek(body), TARGET)

    problem = problem_of(walk)
    assert problem is not None
    assert problem.param == "requests"


def test_a_splice_names_the_targets_model_everywhere_and_changes_nothing_else() -> None:
    body = (
        b'{"requests":[{"content":{"parts":[{"text":"a", "new":1.50}]},"model":"models/other","taskType":"CLUSTERING"},'
        b'{"content":{}}],"model":"models/other","more":[ 1 ]}'
    )
    request = EGRESS.splice_embed(MANY.peek(body), TARGET)
    model = b'"model":"models/gemini-embedding-001"'
    assert request.body == body.replace(b'"model":"models/other"', model).replace(
        b'{"content":{}}', b'{"content":{},' + model + b"}"
    )
    assert request.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"


def test_one_text_goes_on_as_it_came() -> None:
    body = b'{"content":{"parts":[{"inlineData":{"data":"AA=="}}]},"embed_content_config":{"autoTruncate":true}}'
    request = EGRESS.splice_embed(ONE.peek(body), TARGET)
    assert (request.body, request.path) == (body, "/v1beta/models/gemini-embedding-001:embedContent")


@given(CALLS)
def test_a_call_comes_back_as_it_was_written(call: EmbedCall) -> None:
    request = EGRESS.write_embed(call, TARGET)
    assert read(MANY, request.body) == call
    assert request.dropped == ()


def test_what_has_no_word_here_is_named_as_dropped() -> None:
    assert EGRESS.write_embed(EmbedCall(texts=("a",), extras=("user",)), TARGET).dropped == ("user",)


@pytest.mark.parametrize("name", ["../other", "a//b", "a/../b", ""])
def test_a_model_cannot_leave_its_place_in_the_path(name: str) -> None:
    problem = problem_of(lambda: EGRESS.write_embed(EmbedCall(texts=("a",)), target(model=Model(id=name))))
    assert problem is not None
    assert problem.kind is Kind.NOT_FOUND


@given(REPLIES)
def test_many_answers_come_back_as_they_were_written(reply: EmbedReply) -> None:
    told = MANY.write_embed_reply(reply, EmbedCall(texts=("a",)), OPENING)
    assert EGRESS.read_embed_reply(told, TARGET) == reply
    assert EGRESS.read_embed_usage(told, TARGET) == reply.usage


@given(VECTORS, USAGES)
def test_one_answer_is_an_embedding_and_its_usage(vector: msgspec.Raw, usage: Usage | None) -> None:
    told = ONE.write_embed_reply(EmbedReply(vectors=(vector,), usage=usage), EmbedCall(texts=("a",)), OPENING)
    assert json.loads(told)["embedding"]["values"] == msgspec.json.decode(vector)
    assert EGRESS.read_embed_usage(told, TARGET) == usage


@given(REPLIES)
def test_the_sdk_takes_every_answer(reply: EmbedReply) -> None:
    told = MANY.write_embed_reply(reply, EmbedCall(texts=("a",)), OPENING)
    read = EmbedContentResponse.model_validate_json(told)
    assert [one.values for one in read.embeddings or ()] == [msgspec.json.decode(raw) for raw in reply.vectors]
    count = read.usage_metadata.prompt_token_count if read.usage_metadata is not None else None
    assert count == (reply.usage.input_tokens if reply.usage is not None else None)


def test_an_answer_as_google_documents_it_is_read() -> None:
    answer = {"embeddings": [{"values": [0.25, -1]}, {"values": [3]}], "usageMetadata": {"promptTokenCount": 4}}
    reply = EGRESS.read_embed_reply(msgspec.json.format(msgspec.json.encode(answer), indent=2), TARGET)
    assert [msgspec.json.decode(vector) for vector in reply.vectors] == [[0.25, -1], [3]]
    assert reply.usage == Usage(input_tokens=4, output_tokens=0)


def test_a_large_answer_is_counted_wherever_its_usage_stands() -> None:
    many = {"embeddings": [{"values": [0.5] * 3000}] * 3}
    used = {"usageMetadata": {"promptTokenCount": 9}}
    for answer in ({**many, **used}, {**used, **many}, {"x": {"y": 1}, **many, **used}):
        assert EGRESS.read_embed_usage(msgspec.json.encode(answer), TARGET) == Usage(input_tokens=9, output_tokens=0)
    assert EGRESS.read_embed_usage(msgspec.json.encode({**many, "x": used}), TARGET) is None


@pytest.mark.parametrize("count", [None, -1, 10**10])
def test_a_count_that_cannot_be_one_is_unknown(count: int | None) -> None:
    answer = {"embeddings": [{"values": [1]}], "usageMetadata": {"promptTokenCount": count}}
    assert EGRESS.read_embed_reply(msgspec.json.encode(answer), TARGET).usage is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b'{"embeddings":5}',
        b'{"embeddings":[{}]}',
        b'{"embeddings":[{"values":["a"]}]}',
        b"<html>",
    ],
)
def test_what_is_no_answer_is_an_upstreams_fault(answer: bytes) -> None:
    problem = problem_of(lambda: EGRESS.read_embed_reply(answer, TARGET))
    assert problem is not None
    assert (problem.kind, problem.retry) == (Kind.UPSTREAM_INVALID, Retry.ELSEWHERE)


def test_an_error_in_a_200_is_read_for_what_it_is() -> None:
    error = b'{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED"}}'
    for work in (EGRESS.read_embed_reply, EGRESS.read_embed_usage):
        problem = problem_of(lambda work=work: work(error, TARGET))
        assert problem is not None
        assert problem.kind is Kind.RATE_LIMITED


ODD = hub.JSON_VALUES | st.sampled_from([10**400, -1, 0.5, 1e308, [[1]], ["a"], [], {}, content(), [content()], STORED])
FIELDS = ["content", "requests", "model", "outputDimensionality", "output_dimensionality", "embedContentConfig"]


@given(st.sampled_from([ONE, MANY]), st.dictionaries(st.sampled_from(FIELDS), ODD))
def test_garbage_is_a_problem_or_a_call(ingress: GeminiEmbeddingsIngress, fields: dict[str, Any]) -> None:
    asked = json.dumps({**content(), **fields} if ingress is ONE else {"requests": [content()], **fields}).encode()

    def walk() -> None:
        envelope = ingress.peek(asked)
        ingress.facts(envelope)
        admit(ingress, envelope, NARROW)
        EGRESS.splice_embed(envelope, TARGET)
        EGRESS.write_embed(ingress.read_embed(asked), TARGET)

    problem = problem_of(walk)
    assert problem is None or problem.source is Source.CALLER


@given(st.dictionaries(st.sampled_from(["embeddings", "embedding", "usageMetadata"]), ODD))
def test_a_garbled_answer_is_an_upstreams_fault_or_an_answer(fields: dict[str, Any]) -> None:
    answer = json.dumps(fields).encode()
    for work in (EGRESS.read_embed_reply, EGRESS.read_embed_usage):
        problem = problem_of(lambda work=work: work(answer, TARGET))
        assert problem is None or problem.source is Source.UPSTREAM
