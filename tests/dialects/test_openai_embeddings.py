"""OpenAI's embeddings, both ways: what is read, written and spliced, and what is refused."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from dialects import hub_strategies as hub
from dialects.admission import NARROW
from dialects.every_dialect import GENEROUS, OPENING, target_of
from trunkline.core.call import Need, Operation
from trunkline.core.embedding import EmbedCall, EmbedReply
from trunkline.core.price import Price
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.core.reply import Usage
from trunkline.dialects.dialect import EmbedEgress, EmbedIngress, top_level
from trunkline.dialects.openai_chat.embeddings import MAX_INPUTS, OpenAIEmbeddings
from trunkline.gateway.admission import admit

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "openai_embeddings"
SIDES = OpenAIEmbeddings()
TARGET = target_of("openai_chat")
AGGREGATOR = target_of("openai_chat", quirks=GENEROUS)

VECTORS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4).map(
    lambda numbers: msgspec.Raw(msgspec.json.encode(numbers))
)
REPLIES = st.builds(
    EmbedReply,
    vectors=st.lists(VECTORS, min_size=1, max_size=4).map(tuple),
    usage=st.none() | st.builds(Usage, input_tokens=st.integers(0, 10**6), output_tokens=st.just(0)),
)
CALLS = st.builds(
    EmbedCall,
    texts=st.lists(hub.WORDS, min_size=1, max_size=4).map(tuple),
    dimensions=st.none() | st.integers(1, 9999),
)


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "input": "Hi", **fields})


def read(asked: bytes) -> EmbedCall:
    SIDES.peek(asked)
    return SIDES.read_embed(asked)


def problem_of(work: Callable[[], object]) -> Problem | None:
    try:
        work()
    except Problem as problem:
        return problem
    return None


def refusal(**fields: Any) -> Problem:
    problem = problem_of(lambda: read(body(**fields)))
    assert problem is not None
    assert problem.kind is Kind.INVALID_REQUEST
    return problem


def recorded(name: str) -> bytes:
    return (TRANSCRIPTS / name).read_bytes()


def test_both_sides_are_what_a_dialect_must_be() -> None:
    ingress: EmbedIngress = SIDES
    egress: EmbedEgress = SIDES
    assert ingress.name == egress.name


def test_what_is_asked_for_is_read() -> None:
    envelope = SIDES.peek(body(models=["n"], provider={"order": ["p"]}))
    assert (envelope.model, envelope.fallbacks, envelope.operation) == ("m", ("n",), Operation.EMBED)
    assert envelope.stream is False
    read = SIDES.read_embed(body(input=["a", ""], dimensions=3, encoding_format="base64", user="u", input_type="query"))
    assert read == EmbedCall(texts=("a", ""), dimensions=3, is_base64=True, extras=("user", "input_type"))


def test_one_text_is_a_list_of_one() -> None:
    assert SIDES.read_embed(body(input="Hi", encoding_format="float")) == EmbedCall(texts=("Hi",))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 5}, "input"),
        ({"input": None}, "input"),
        ({"input": {}}, "input"),
        ({"input": []}, "input"),
        ({"input": [[1]]}, "input"),
        ({"input": ["a", 5]}, "input"),
        ({"input": ["a"] * (MAX_INPUTS + 1)}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"encoding_format": 5}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "3"}, "dimensions"),
        ({"model": 5}, "model"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


@pytest.mark.parametrize("given", [b"[1,2]", b"[[1,2],[3]]", b"[ [\n 15 ] ]"])
def test_tokens_are_a_need_of_their_own(given: bytes) -> None:
    envelope = SIDES.peek(b'{"model":"m","input":' + given + b"}")
    assert SIDES.facts(envelope).needs == {Need.EMBEDDINGS, Need.TOKENS}


@pytest.mark.parametrize("given", ["1", ["1"], ["", "2"], [[], "x"], []])
def test_text_is_not_taken_for_tokens(given: Any) -> None:
    assert SIDES.facts(SIDES.peek(body(input=given))).needs == {Need.EMBEDDINGS}


@pytest.mark.parametrize("field", ["preset", "plugins", "web_search_options"])
def test_a_field_that_reaches_into_the_account_needs_a_scope(field: str) -> None:
    with pytest.raises(Problem) as caught:
        admit(SIDES, SIDES.peek(body(**{field: "x"})), NARROW)
    assert caught.value.param == field


def test_a_splice_changes_the_model_and_nothing_else() -> None:
    asked = b'{"input": [[1, 2], [3]],"new":{"a": 1.50},"model":"x","encoding_format":"base64"}'
    request = SIDES.splice_embed(SIDES.peek(asked), TARGET)
    assert request.body == asked.replace(b'"x"', b'"some-model"').replace(b', "', b',"').replace(b": [[", b":[[")
    assert (request.path, request.dropped) == ("/v1/embeddings", ())


def test_what_only_openrouter_knows_goes_there_alone() -> None:
    envelope = SIDES.peek(body(models=["n"], provider={"zdr": True}, session_id="s"))
    told = json.loads(SIDES.splice_embed(envelope, AGGREGATOR).body)
    assert told == {"model": "some-model", "input": "Hi", "provider": {"zdr": True}, "session_id": "s"}
    request = SIDES.splice_embed(envelope, TARGET)
    assert json.loads(request.body) == {"model": "some-model", "input": "Hi"}
    assert request.dropped == ("session_id",)


@given(CALLS)
def test_a_call_comes_back_as_it_was_written(call: EmbedCall) -> None:
    request = SIDES.write_embed(call, TARGET)
    assert SIDES.read_embed(request.body) == call
    assert SIDES.peek(request.body).model == "some-model"
    assert request.dropped == ()


def test_what_has_no_word_here_is_named_as_dropped() -> None:
    assert SIDES.write_embed(EmbedCall(texts=("a",), extras=("taskType",)), TARGET).dropped == ("taskType",)


@given(REPLIES)
def test_an_answer_comes_back_as_it_was_written(reply: EmbedReply) -> None:
    told = SIDES.write_embed_reply(reply, EmbedCall(texts=("a",)), OPENING)
    assert SIDES.read_embed_reply(told, TARGET) == reply
    assert SIDES.read_embed_usage(told, TARGET) == reply.usage


@given(REPLIES, st.booleans())
def test_the_sdk_takes_every_answer(reply: EmbedReply, is_base64: bool) -> None:
    told = json.loads(SIDES.write_embed_reply(reply, EmbedCall(texts=("a",), is_base64=is_base64), OPENING))
    if is_base64:
        for row in told["data"]:
            packed = b64decode(row["embedding"])
            row["embedding"] = list(struct.unpack(f"<{len(packed) // 4}f", packed))
    if "usage" not in told:
        assert reply.usage is None
        told["usage"] = {"prompt_tokens": 0, "total_tokens": 0}
    read = CreateEmbeddingResponse.model_validate(told, strict=True)
    assert [row.index for row in read.data] == list(range(len(reply.vectors)))
    assert [row.embedding for row in read.data] == [msgspec.json.decode(raw) for raw in reply.vectors]


def test_the_digits_stay_as_the_provider_wrote_them() -> None:
    reply = EmbedReply(vectors=(msgspec.Raw(b"[0.10,-2E-3, 1.000000000000000055]"),))
    assert b"[0.10,-2E-3, 1.000000000000000055]" in SIDES.write_embed_reply(reply, EmbedCall(texts=("a",)), OPENING)


def test_usage_says_its_cost_where_it_is_known() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    opening = msgspec.structs.replace(OPENING, price=Price(input_nano=20_000_000, output_nano=0))
    reply = EmbedReply(vectors=(msgspec.Raw(b"[1]"),), usage=usage)
    told = json.loads(SIDES.write_embed_reply(reply, EmbedCall(texts=("a",)), opening))
    assert told["usage"] == {"prompt_tokens": 1_000_000, "total_tokens": 1_000_000, "cost": 0.02}


@pytest.mark.parametrize(("name", "tokens", "size"), [("llamacpp.json", 3, 576), ("openai.json", 8, 3)])
def test_recorded_answers_are_read(name: str, tokens: int, size: int) -> None:
    reply = SIDES.read_embed_reply(recorded(name), TARGET)
    assert {len(msgspec.json.decode(vector)) for vector in reply.vectors} == {size}
    assert reply.usage == Usage(input_tokens=tokens, output_tokens=0)
    assert SIDES.read_embed_usage(recorded(name), TARGET) == reply.usage


def test_base64_that_goes_on_as_it_came_is_counted() -> None:
    assert SIDES.read_embed_usage(recorded("llamacpp-base64.json"), TARGET) == Usage(input_tokens=3, output_tokens=0)


def test_a_large_answer_is_counted_wherever_its_usage_stands() -> None:
    rows = [{"object": "embedding", "index": at, "embedding": [0.5] * 3000} for at in range(3)]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    for answer in (
        {"data": rows, "usage": usage},
        {"usage": usage, "data": rows},
        {"x": {"y": 1}, "data": rows, "usage": usage},
        {"data": [*rows[:1], {"usage": usage}], "usage": usage, "z": [{"usage": 1}]},
    ):
        told = SIDES.read_embed_usage(msgspec.json.encode(answer), TARGET)
        assert told == Usage(input_tokens=9, output_tokens=0)
    assert SIDES.read_embed_usage(msgspec.json.encode({"data": rows, "x": {"usage": usage}}), TARGET) is None


def test_vectors_are_put_into_the_order_of_their_texts() -> None:
    rows = [{"index": at, "embedding": [at]} for at in (2, 0, 1)]
    reply = SIDES.read_embed_reply(msgspec.json.encode({"data": rows}), TARGET)
    assert [bytes(vector) for vector in reply.vectors] == [b"[0]", b"[1]", b"[2]"]


def test_vectors_without_a_place_stay_in_their_order() -> None:
    reply = SIDES.read_embed_reply(b'{"data":[{"embedding":[5]},{"embedding":[4]}]}', TARGET)
    assert [bytes(vector) for vector in reply.vectors] == [b"[5]", b"[4]"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b'{"data":5}',
        b'{"data":[{}]}',
        b'{"data":[{"embedding":"AACAPw=="}]}',
        b'{"data":[{"embedding":[1],"index":"x"}]}',
        b"<html>",
    ],
)
def test_what_is_no_answer_is_an_upstreams_fault(answer: bytes) -> None:
    with pytest.raises(Problem) as caught:
        SIDES.read_embed_reply(answer, TARGET)
    assert (caught.value.kind, caught.value.retry) == (Kind.UPSTREAM_INVALID, Retry.ELSEWHERE)


def test_an_error_in_a_200_is_read_for_what_it_is() -> None:
    error = b'{"error":{"message":"slow down","code":429}}'
    for read in (SIDES.read_embed_reply, SIDES.read_embed_usage):
        with pytest.raises(Problem) as caught:
            read(error, TARGET)
        assert caught.value.kind is Kind.RATE_LIMITED


def test_a_server_without_embeddings_is_not_the_callers_fault() -> None:
    problem = SIDES.read_problem(TARGET, 501, {}, recorded("llamacpp-501.json"))
    assert (problem.kind, problem.source) == (Kind.UPSTREAM_FAILED, Source.UPSTREAM)


ODD = hub.JSON_VALUES | st.sampled_from([10**400, -1, 0.5, 1e308, [[1]], ["a"], [], {}])


@given(st.dictionaries(st.sampled_from(["model", "input", "dimensions", "encoding_format", "provider", "models"]), ODD))
def test_garbage_is_a_problem_or_a_call(fields: dict[str, Any]) -> None:
    asked = json.dumps({"model": "m", "input": "a", **fields}).encode()

    def walk() -> None:
        envelope = SIDES.peek(asked)
        SIDES.facts(envelope)
        admit(SIDES, envelope, NARROW)
        spliced = SIDES.splice_embed(envelope, TARGET)
        assert bytes(top_level(spliced.body)["model"]) == b'"some-model"'
        SIDES.write_embed(SIDES.read_embed(asked), TARGET)

    problem = problem_of(walk)
    assert problem is None or problem.source is Source.CALLER


@given(
    st.dictionaries(
        st.sampled_from(["data", "usage", "error"]),
        ODD | st.lists(st.dictionaries(st.sampled_from(["embedding", "index"]), ODD)),
    )
)
def test_a_garbled_answer_is_a_problem_or_an_answer(fields: dict[str, Any]) -> None:
    answer = json.dumps(fields).encode()
    for work in (SIDES.read_embed_reply, SIDES.read_embed_usage):
        problem = problem_of(lambda work=work: work(answer, TARGET))
        assert problem is None or problem.source is not Source.CALLER or "error" in fields
