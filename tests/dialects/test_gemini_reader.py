"""Gemini's answers become events: from transcripts, whole and in a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.gemini_streams import STREAMS, TRANSCRIPTS, events_of, says, stream, target
from dialects.hub_strategies import assert_well_formed
from dialects.recorded_tokens import hello
from trunkline.core.call import Opaque
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import (
    Block,
    BlockKind,
    Citation,
    Delta,
    End,
    Finish,
    FinishReason,
    Head,
    Reply,
    Start,
    Usage,
    fold,
)
from trunkline.dialects.gemini.part import UNPROVEN
from trunkline.dialects.gemini.reader import FINISH, Reader, read_reply
from trunkline.dialects.sse import Frame

if TYPE_CHECKING:
    from pathlib import Path

HEAD = Head(id="Il0taoSYJ5CezLUP_6mOkQ4", model="gemini-3-pro-preview")
STOP = Finish(FinishReason.STOP, "STOP")
SIGNATURE = "EjQKMgEMOdbHO0Gd+c9Mxk4ELwPGbpCEcp2mFfYYLix/tI3E"
PROOF = Opaque("gemini", msgspec.json.encode(SIGNATURE))


def text(words: str) -> Block:
    return Block(BlockKind.TEXT, words)


def own(part: object) -> Block:
    return Block(BlockKind.REASONING, "", opaque=Opaque("gemini", msgspec.json.encode(part)))


def call(call_id: str, name: str, arguments: str, opaque: Opaque | None = None) -> Block:
    return Block(BlockKind.TOOL_CALL, arguments, call_id, name, opaque)


WEATHER = (
    call("call_0", "get_weather", '{"city":"Paris","unit":"c"}'),
    call("call_1", "get_time", '{"city":"Oslo"}'),
)
NOTHING = Usage(input_tokens=0, output_tokens=0)
ANSWERS = {
    "aimock-gemini-hello": Reply(blocks=(text("Bonjour, wörld 你好 👋🏽 — done."),), usage=NOTHING, finish=STOP),
    "aimock-gemini-weather": Reply(
        blocks=WEATHER, usage=NOTHING, finish=Finish(FinishReason.TOOL_CALLS, "FUNCTION_CALL")
    ),
    "google-thinking-signature": Reply(
        head=HEAD,
        blocks=(
            Block(BlockKind.REASONING, "**Counting**\n\nOne and one... make two."),
            text("1 + 1 = 2"),
            own({"text": "", "thoughtSignature": SIGNATURE}),
        ),
        usage=Usage(input_tokens=12, output_tokens=36, reasoning_tokens=30),
        finish=STOP,
    ),
    "google-parallel-calls": Reply(
        head=HEAD,
        blocks=(
            call("fc-paris", "get_current_temperature", '{"location": "Paris"}', PROOF),
            call("fc-london", "get_current_temperature", '{"location": "London"}'),
        ),
        usage=Usage(input_tokens=80, output_tokens=156, reasoning_tokens=120),
        finish=Finish(FinishReason.TOOL_CALLS, "STOP"),
    ),
    "google-blocked-prompt": Reply(
        head=Head(model="gemini-1.5-flash-002"),
        usage=Usage(input_tokens=12559, output_tokens=0),
        finish=Finish(FinishReason.CONTENT_FILTER, "PROHIBITED_CONTENT"),
    ),
    "google-logprobs": Reply(
        head=HEAD,
        blocks=(Block(BlockKind.TEXT, "Hello!", logprobs=hello(has_bytes=False)),),
        usage=Usage(input_tokens=3, output_tokens=2),
        finish=STOP,
    ),
    "google-max-tokens": Reply(
        head=HEAD,
        blocks=(text("Once upon a time"),),
        usage=Usage(input_tokens=7, output_tokens=50, reasoning_tokens=46),
        finish=Finish(FinishReason.LENGTH, "MAX_TOKENS"),
    ),
    "google-safety": Reply(
        head=HEAD,
        blocks=(text("Well, "),),
        usage=Usage(input_tokens=9, output_tokens=2),
        finish=Finish(FinishReason.CONTENT_FILTER, "SAFETY"),
    ),
    "google-code-execution": Reply(
        head=HEAD,
        blocks=(
            own({"executableCode": {"language": "PYTHON", "code": "print(sum(range(4)))\n"}}),
            own({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "6\n"}}),
            text("The sum is 6."),
        ),
        usage=Usage(input_tokens=76, output_tokens=14),
        finish=STOP,
    ),
    "google-grounding": Reply(
        head=HEAD,
        blocks=(
            Block(
                BlockKind.TEXT,
                "Spain won Euro 2024.",
                citations=(Citation("https://vertexaisearch.cloud.google.com/x", "uefa.com", 0, 20),),
            ),
        ),
        usage=Usage(input_tokens=10, output_tokens=8),
        finish=STOP,
    ),
}
FAILURES = {"google-midstream-error": Kind.UPSTREAM_FAILED}


def plain(reply: Reply) -> Reply:
    """The same with the JSON of its continuations in one form: spaces are the server's."""
    blocks = tuple(
        msgspec.structs.replace(
            block, opaque=block.opaque and Opaque("gemini", msgspec.json.format(block.opaque.raw, indent=-1))
        )
        for block in reply.blocks
    )
    return msgspec.structs.replace(reply, blocks=blocks)


def told(pieces: list[bytes]) -> Reply | Kind:
    try:
        return plain(fold(events_of(pieces)))
    except Problem as problem:
        return problem.kind


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_transcript_tells_the_answer_that_it_holds(path: Path) -> None:
    assert told([path.read_bytes()]) == {**ANSWERS, **FAILURES}[path.stem]


@pytest.mark.parametrize("path", [path for path in STREAMS if path.stem in ANSWERS], ids=lambda path: path.stem)
def test_a_transcript_is_told_in_well_formed_events(path: Path) -> None:
    assert_well_formed(events_of([path.read_bytes()]))


@pytest.mark.parametrize("name", ["aimock-gemini-hello", "aimock-gemini-weather"])
def test_a_whole_answer_is_the_same_as_its_stream(name: str) -> None:
    assert plain(read_reply((TRANSCRIPTS / f"{name}.json").read_bytes(), target())) == ANSWERS[name]


def test_cached_tokens_are_part_of_the_input() -> None:
    reply = read_reply((TRANSCRIPTS / "google-cached.json").read_bytes(), target())
    assert reply.usage == Usage(input_tokens=2155, output_tokens=3, cached_tokens=2048)
    assert reply.blocks == (text("A summary."),)


@pytest.mark.parametrize("body", [b"{}", b"null", b"[]", b"<html>", b"", b'{"candidates":[]}', b"[" * 60_000])
def test_a_whole_answer_that_is_none_is_invalid(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read_reply(body, target())
    assert caught.value.kind is Kind.UPSTREAM_INVALID


def test_a_whole_answer_without_a_finish_was_cut() -> None:
    with pytest.raises(Problem) as caught:
        read_reply(msgspec.json.encode(says({"text": "Hi"})), target())
    assert caught.value.kind is Kind.TRUNCATED


def test_an_error_inside_a_whole_answer_is_a_problem() -> None:
    with pytest.raises(Problem) as caught:
        read_reply(b'{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}', target())
    assert caught.value.kind is Kind.RATE_LIMITED


def test_the_finish_is_the_last_event_and_usage_comes_once_for_each_new_count() -> None:
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4}
    chunks = [says({"text": "H"}, usageMetadata=usage), says({"text": "i"}, finish="STOP", usageMetadata=usage)]
    assert events_of([stream(*chunks)]) == [
        Start(0, BlockKind.TEXT),
        Delta(0, "H"),
        Usage(input_tokens=3, output_tokens=1),
        Delta(0, "i"),
        End(0),
        STOP,
    ]


def test_what_is_said_after_the_finish_is_still_told_and_ended() -> None:
    events = events_of([stream(says({"text": "a"}, finish="STOP"), says({"text": "b"}))])
    assert events[-3:] == [Delta(1, "b"), End(1), STOP]


@pytest.mark.parametrize(("word", "reason"), [*FINISH.items(), ("A_WORD_OF_TOMORROW", FinishReason.STOP)])
def test_a_finish_keeps_googles_own_word(word: str, reason: FinishReason) -> None:
    assert fold(events_of([stream(says(finish=word))])).finish == Finish(reason, word)


def test_a_cut_call_ends_for_its_length_and_not_for_its_calls() -> None:
    chunk = says({"functionCall": {"name": "f", "args": {}}}, finish="MAX_TOKENS")
    assert fold(events_of([stream(chunk)])).finish == Finish(FinishReason.LENGTH, "MAX_TOKENS")


def test_a_call_without_an_id_gets_one_that_no_other_answer_has() -> None:
    part = {"functionCall": {"name": "f"}}
    reply = fold(events_of([stream(says(part, part, finish="STOP", responseId="a/b-1"))]))
    assert [block.id for block in reply.blocks] == ["call_ab-1_0", "call_ab-1_1"]
    assert [block.text for block in reply.blocks] == ["{}", "{}"]


def test_arguments_that_are_not_utf_8_are_no_answer() -> None:
    data = stream(says({"functionCall": {"name": "f", "args": {"a": "?"}}}, finish="STOP")).replace(b"?", b"\xff")
    assert told([data]) is Kind.UPSTREAM_INVALID


def test_a_signed_thought_ends_with_its_proof() -> None:
    chunks = [
        says({"text": "Hm", "thought": True}),
        says({"text": "", "thought": True, "thoughtSignature": SIGNATURE}),
        says({"text": "So", "thought": True}),
        says(finish="STOP"),
    ]
    assert fold(events_of([stream(*chunks)])).blocks == (
        Block(BlockKind.REASONING, "Hm", opaque=PROOF),
        Block(BlockKind.REASONING, "So"),
    )


def test_the_word_that_stands_in_for_a_proof_is_no_proof() -> None:
    part = {"functionCall": {"name": "f", "args": {}, "id": "1"}, "thoughtSignature": UNPROVEN}
    assert fold(events_of([stream(says(part, finish="STOP"))])).blocks == (call("1", "f", "{}"),)


def test_only_the_first_candidate_is_read() -> None:
    other = {"index": 1, "content": {"parts": [{"text": "no"}]}, "finishReason": "MAX_TOKENS"}
    chunk = says({"text": "yes"}, finish="STOP")
    chunk["candidates"].insert(0, other)
    assert fold(events_of([stream(chunk)])) == Reply(blocks=(text("yes"),), finish=STOP)


def test_an_answer_of_several_is_whole_when_all_of_them_are() -> None:
    first, done = says({"text": "yes"}), says({"text": ""}, finish="STOP")
    first["candidates"].append({"index": 1, "content": {"parts": [{"text": "no"}]}})
    last = {"candidates": [{"index": 1, "finishReason": "STOP"}]}
    assert fold(events_of([stream(first, done, last)])) == Reply(blocks=(text("yes"),), finish=STOP)
    with pytest.raises(Problem) as caught:
        events_of([stream(first, done)])
    assert caught.value.kind is Kind.TRUNCATED


def test_a_picture_in_an_answer_is_kept_whole() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}, "thoughtSignature": SIGNATURE}
    assert fold(events_of([stream(says(part, finish="STOP"))])).blocks == (own(part),)


@pytest.mark.parametrize("data", [b"", b": keepalive", b":"])
def test_a_keep_alive_in_a_data_line_means_nothing(data: bytes) -> None:
    assert Reader(target()).read(Frame(data)) == ()


def test_done_is_the_last_word_of_servers_that_say_it() -> None:
    reader = Reader(target())
    assert reader.read(Frame(b"[DONE]")) == ()
    assert reader.is_done


@pytest.mark.parametrize(
    "chunk",
    [
        {"candidates": [{"content": {}, "finishReason": "STOP"}]},
        {"candidates": [{"content": {"parts": None}, "finishReason": "STOP", "index": None}]},
        {"candidates": [{"content": None, "finishReason": "STOP", "safetyRatings": [5]}], "x": {"y": 1}},
        {"candidates": [{"content": {"parts": [{}, {"text": None}, {"new": 1}]}, "finishReason": "STOP"}]},
    ],
)
def test_what_is_left_out_or_new_does_no_harm(chunk: dict[str, Any]) -> None:
    assert fold(events_of([stream(chunk)])) == Reply(finish=STOP)


@pytest.mark.parametrize(
    ("count", "tokens"),
    [
        (b"0", 0),
        (b"12", 12),
        (b"12.0", 12),
        (b'"12"', 12),
        (b"null", None),
        (b"-1", None),
        (b"1.5", None),
        (b"1000000000", 10**9),
        (b"1000000001", None),
        (b"9223372036854775808", None),
        (b"9" * 5000, None),
        (b"1e999999999", None),
        (b"1e-999999999", None),
    ],
)
def test_a_count_that_cannot_be_one_is_unknown_and_not_zero(count: bytes, tokens: int | None) -> None:
    data = b'{"usageMetadata":{"promptTokenCount":N,"candidatesTokenCount":N,"cachedContentTokenCount":N}}'
    (usage,) = Reader(target()).read(Frame(data.replace(b"N", count)))
    assert usage == Usage(input_tokens=tokens, output_tokens=tokens, cached_tokens=tokens)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, Usage()),
        ({"promptTokenCount": 5}, Usage(input_tokens=5)),
        ({"promptTokenCount": 5, "totalTokenCount": 5}, Usage(input_tokens=5, output_tokens=0)),
        ({"promptTokenCount": 5, "totalTokenCount": 9}, Usage(input_tokens=5, output_tokens=4)),
        ({"promptTokenCount": 5, "totalTokenCount": 4}, Usage(input_tokens=5)),
        ({"thoughtsTokenCount": 7}, Usage(output_tokens=7, reasoning_tokens=7)),
    ],
)
def test_what_google_leaves_out_of_its_counts_is_zero_only_where_the_sum_says_so(
    counts: dict[str, int], usage: Usage
) -> None:
    assert list(Reader(target()).read(Frame(msgspec.json.encode({"usageMetadata": counts})))) == [usage]


@pytest.mark.parametrize("usage", ["none", 5, [1], {"promptTokenCount": []}, True])
def test_a_usage_that_cannot_be_read_does_not_cost_the_answer(usage: object) -> None:
    chunk = says({"text": "Hi"}, finish="STOP", usageMetadata=usage)
    assert told([stream(chunk)]) == Reply(blocks=(text("Hi"),), finish=STOP)


PARTS = st.one_of(
    st.builds(lambda words: {"text": words}, st.text(max_size=8)),
    st.builds(lambda words: {"text": words, "thought": True}, st.text(max_size=8)),
    st.builds(lambda words: {"text": words, "thoughtSignature": SIGNATURE}, st.text(max_size=8)),
    st.builds(lambda words: {"text": words, "thought": True, "thoughtSignature": SIGNATURE}, st.text(max_size=8)),
    st.just({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": SIGNATURE}),
    st.just({"executableCode": {"code": "1"}}),
)


@given(groups=st.lists(st.lists(PARTS, max_size=3), max_size=6), cut=st.integers(1, 64))
@settings(deadline=None, max_examples=200)
def test_every_piece_arrives_once_in_its_block(groups: list[list[dict[str, Any]]], cut: int) -> None:
    data = stream(*[says(*group) for group in groups], says(finish="STOP"))
    events = events_of([data[start : start + cut] for start in range(0, len(data), cut)])
    assert_well_formed(events)
    parts = [part for group in groups for part in group]
    reply = fold(events)
    for kind, is_thought in ((BlockKind.TEXT, None), (BlockKind.REASONING, True)):
        said = "".join(block.text for block in reply.blocks if block.kind is kind)
        assert said == "".join(part["text"] for part in parts if "text" in part and part.get("thought") is is_thought)
    proofs = sum(1 for block in reply.blocks if block.opaque is not None)
    assert proofs == sum("thoughtSignature" in part or "executableCode" in part for part in parts)
