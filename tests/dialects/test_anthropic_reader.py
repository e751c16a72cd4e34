"""Anthropic's stream becomes events: from transcripts, cut anywhere, and from whatever imitators send."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dialects.anthropic_targets import events_of, frame, stream, target
from dialects.hub_strategies import assert_well_formed
from trunkline.core.call import Opaque
from trunkline.core.problem import Kind, Problem, Retry
from trunkline.core.reply import Block, BlockKind, Citation, Delta, Finish, FinishReason, Head, Reply, Usage, fold
from trunkline.dialects.anthropic_messages.reader import MAX_PROVEN_CHARACTERS
from trunkline.dialects.anthropic_messages.sides import Reader
from trunkline.dialects.sse import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "anthropic_messages"
STREAMS = sorted(TRANSCRIPTS.glob("*.sse"))
OPUS = Head(id="msg_01Doc", model="claude-opus-5")
END = Finish(FinishReason.STOP, "end_turn")

THOUGHT = "Let me solve this step by step:\n\n1. First break down 27 * 453\n2. 453 = 400 + 50 + 3"


def text(words: str) -> Block:
    return Block(BlockKind.TEXT, words)


def thought(words: str, **block: str) -> Block:
    return Block(BlockKind.REASONING, words, opaque=Opaque("anthropic_messages", msgspec.json.encode(block)))


ANSWERS = {
    "aimock-hello": Reply(
        head=Head(id="msg_29QGwbyToThobYt5", model="claude-sonnet-4-5"),
        blocks=(text("Bonjour, wörld 你好 👋🏽 — done."),),
        usage=Usage(output_tokens=0),
        finish=END,
    ),
    "aimock-weather": Reply(
        head=Head(id="msg_gsLaCbcXmeIpP6Q8", model="claude-sonnet-4-5"),
        blocks=(
            Block(BlockKind.TOOL_CALL, '{"city":"Paris","unit":"c"}', "toolu_7Op1xJg7zOUk-0Ol", "get_weather"),
            Block(BlockKind.TOOL_CALL, '{"city":"Oslo"}', "toolu_yP2D7i1QU_6ZBNF2", "get_time"),
        ),
        usage=Usage(output_tokens=0),
        finish=Finish(FinishReason.TOOL_CALLS, "tool_use"),
    ),
    "web-search-citations": Reply(
        head=Head(id="msg_01Web", model="claude-opus-5"),
        blocks=(
            Block(
                BlockKind.TEXT,
                "He was born on April 30, 1916.",
                citations=(
                    Citation(
                        "https://example.com/shannon",
                        "Claude Shannon",
                        0,
                        30,
                        "Claude Elwood Shannon was born on April 30, 1916.",
                    ),
                ),
            ),
        ),
        usage=Usage(input_tokens=6039, output_tokens=93),
        finish=END,
    ),
    "llamacpp-length": Reply(
        head=Head(id="chatcmpl-NhgT6Iyn0fULnRUMn1bzW6mVFr9RoTDg", model="smollm2-135m"),
        blocks=(text("Hello! I'm here to help with any kind of creative"),),
        usage=Usage(input_tokens=33, output_tokens=12, cached_tokens=32),
        finish=Finish(FinishReason.LENGTH, "max_tokens"),
    ),
    "thinking-signature": Reply(
        head=OPUS,
        blocks=(
            thought(
                THOUGHT,
                type="thinking",
                thinking=THOUGHT,
                signature="EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds",
            ),
            text("27 * 453 = 12,231"),
        ),
        usage=Usage(
            input_tokens=2125, output_tokens=89, cached_tokens=2000, cache_write_tokens=100, reasoning_tokens=41
        ),
        finish=END,
    ),
    "thinking-omitted": Reply(
        head=OPUS,
        blocks=(thought("", type="thinking", thinking="", signature="EosnCkYICxIMMb3LzNrMu"), text("Yes.")),
        usage=Usage(input_tokens=9, output_tokens=30),
        finish=END,
    ),
    "thinking-redacted-tools": Reply(
        head=OPUS,
        blocks=(
            thought(
                "",
                type="redacted_thinking",
                data="EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpP",
            ),
            text("Okay, checking."),
            Block(
                BlockKind.TOOL_CALL,
                '{"location": "San Francisco, CA"}',
                "toolu_01T1x1fJ34qAmk2tNTrN7Up6",
                "get_weather",
            ),
            Block(BlockKind.TOOL_CALL, "{}", "toolu_02", "get_time"),
        ),
        usage=Usage(input_tokens=472, output_tokens=89),
        finish=Finish(FinishReason.TOOL_CALLS, "tool_use"),
    ),
    "refusal": Reply(
        head=OPUS,
        blocks=(text("Hello.."),),
        usage=Usage(input_tokens=20, output_tokens=22),
        finish=Finish(FinishReason.CONTENT_FILTER, "refusal"),
    ),
    "citations": Reply(
        head=OPUS,
        blocks=(text("the grass is green"),),
        usage=Usage(input_tokens=610, output_tokens=12),
        finish=Finish(FinishReason.STOP, "stop_sequence", "sky"),
    ),
    "server-tool": Reply(
        head=OPUS,
        blocks=(text("Sunny."),),
        usage=Usage(input_tokens=10682, output_tokens=510),
        finish=Finish(FinishReason.STOP, "pause_turn"),
    ),
    "context-window-exceeded": Reply(
        head=OPUS,
        blocks=(text("So"),),
        usage=Usage(input_tokens=25, output_tokens=4096),
        finish=Finish(FinishReason.LENGTH, "model_context_window_exceeded"),
    ),
}
FAILURES = {
    "error-overloaded": Kind.UPSTREAM_FAILED,
    "error-rate-limit": Kind.RATE_LIMITED,
    "cut": Kind.TRUNCATED,
}


def told(pieces: Iterable[bytes]) -> Reply | Kind:
    try:
        return fold(events_of(pieces))
    except Problem as problem:
        return problem.kind


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_transcript_tells_the_answer_that_it_holds(path: Path) -> None:
    assert told([path.read_bytes()]) == {**ANSWERS, **FAILURES}[path.stem]


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_a_transcripts_events_are_well_formed(name: str) -> None:
    assert_well_formed(events_of([(TRANSCRIPTS / f"{name}.sse").read_bytes()]))


BEGIN: dict[str, Any] = {"type": "message_start", "message": {"id": "m", "model": "x", "usage": {"input_tokens": 3}}}
FINISH: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
STOP: dict[str, Any] = {"type": "message_stop"}


def begins(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def adds(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def test_a_delta_for_a_block_that_has_ended_is_no_answer() -> None:
    events = [begins(0, type="text", text="a"), {"type": "content_block_stop", "index": 0}]
    assert told([stream(BEGIN, *events, adds(0, type="text_delta", text="b"))]) is Kind.UPSTREAM_INVALID


def test_a_delta_of_another_kind_than_its_block_is_no_answer() -> None:
    begin = begins(0, type="text", text="a")
    assert told([stream(BEGIN, begin, adds(0, type="input_json_delta", partial_json="{"))]) is Kind.UPSTREAM_INVALID


def test_a_delta_of_a_type_invented_later_passes() -> None:
    later = adds(0, type="song_delta", text=["not", "a", "string"])
    reply = told([stream(BEGIN, begins(0, type="text", text="a"), later, FINISH)])
    assert isinstance(reply, Reply)
    assert reply.text == "a"


def test_a_block_is_closed_by_the_next_one_and_by_the_finish() -> None:
    events = events_of([stream(BEGIN, begins(0, type="text", text="a"), begins(1, type="text", text="b"), FINISH)])
    assert_well_formed(events)
    assert [event.text for event in events if isinstance(event, Delta)] == ["a", "b"]


def test_a_block_after_the_finish_is_no_answer() -> None:
    assert told([stream(BEGIN, FINISH, begins(0, type="text", text="late"))]) is Kind.UPSTREAM_INVALID


def test_arguments_that_come_whole_with_the_call_are_told() -> None:
    call = begins(0, type="tool_use", id="t", name="f", input={"a": 1})
    reply = told([stream(BEGIN, call, FINISH)])
    assert isinstance(reply, Reply)
    assert reply.blocks == (Block(BlockKind.TOOL_CALL, '{"a":1}', "t", "f"),)


def test_arguments_that_are_not_utf_8_are_no_answer() -> None:
    call = stream(begins(0, type="tool_use", id="t", name="f", input={"a": "?"})).replace(b"?", b"\xff")
    assert told([stream(BEGIN), call, stream(FINISH)]) is Kind.UPSTREAM_INVALID


def test_a_call_without_a_name_is_no_answer() -> None:
    assert told([stream(BEGIN, begins(0, type="tool_use", id="t"), FINISH)]) is Kind.UPSTREAM_INVALID


def test_the_prompts_tokens_are_known_from_the_start() -> None:
    reader = Reader(target())
    counts = {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1}
    events = reader.read(frame({"type": "message_start", "message": {"usage": counts}}))
    assert events == [Head(), Usage(input_tokens=7, cached_tokens=4)]


@pytest.mark.parametrize("count", [-1, 1.5, 10**30, 1e300])
def test_a_count_that_cannot_be_one_is_unknown(count: float) -> None:
    finish = {**FINISH, "usage": {"input_tokens": count, "output_tokens": 2}}
    reply = told([stream(begins(0, type="text", text="a"), finish)])
    assert isinstance(reply, Reply)
    assert reply.usage == Usage(output_tokens=2)


@pytest.mark.parametrize("usage", ["many", [1], {"output_tokens": "two"}, None])
def test_a_usage_that_cannot_be_read_does_not_fail_a_good_answer(usage: object) -> None:
    reply = told([stream(begins(0, type="text", text="a"), {**FINISH, "usage": usage})])
    assert isinstance(reply, Reply)
    assert reply.usage is None


def test_a_thought_too_long_to_keep_goes_on_without_its_proof() -> None:
    piece = "x" * (MAX_PROVEN_CHARACTERS // 2 + 1)
    thoughts = [adds(0, type="thinking_delta", thinking=piece)] * 2
    reply = told(
        [
            stream(
                begins(0, type="thinking", thinking=""),
                *thoughts,
                adds(0, type="signature_delta", signature="s"),
                FINISH,
            )
        ]
    )
    assert isinstance(reply, Reply)
    assert reply.blocks == (Block(BlockKind.REASONING, piece * 2),)


def test_the_last_word_is_the_message_stop() -> None:
    reader = Reader(target())
    for event in (BEGIN, FINISH):
        reader.read(frame(event))
        assert not reader.is_done
    assert reader.is_finished
    reader.read(frame(STOP))
    assert reader.is_done


def test_an_overloaded_stream_sends_the_attempt_elsewhere() -> None:
    with pytest.raises(Problem) as raised:
        events_of([(TRANSCRIPTS / "error-overloaded.sse").read_bytes()])
    assert raised.value.retry is Retry.ELSEWHERE


@pytest.mark.parametrize("data", [b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"type":1}', b"\xff", b"[" * 100_000])
def test_what_is_not_of_this_dialect_is_no_answer(data: bytes) -> None:
    with pytest.raises(Problem) as raised:
        Reader(target()).read(Frame(data))
    assert raised.value.kind is Kind.UPSTREAM_INVALID


@pytest.mark.parametrize("data", [b"", b": keep-alive", b"[DONE]"])
def test_what_imitators_put_into_data_lines_is_passed_over(data: bytes) -> None:
    assert Reader(target()).read(Frame(data)) == ()
