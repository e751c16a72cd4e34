"""OpenAI's stream of chat completions becomes events: from transcripts, in every order that upstreams use."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.recorded_tokens import hello
from dialects.targets import events_of, frame, says, stream, target
from trunkline.core.call import Opaque
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import (
    Block,
    BlockKind,
    Citation,
    Delta,
    End,
    Event,
    Finish,
    FinishReason,
    Head,
    Reply,
    Start,
    Usage,
    fold,
)
from trunkline.dialects.openai_chat.egress import Reader
from trunkline.dialects.sse import Frame, Framer

STREAMS = sorted((Path(__file__).parent / "transcripts" / "openai_chat").glob("*.sse"))
STOP = Finish(FinishReason.STOP, "stop")


def text(words: str) -> tuple[Block, ...]:
    return (Block(BlockKind.TEXT, words),)


def call(id_: str, name: str, arguments: str, proof: bytes | None = None) -> Block:
    opaque = None if proof is None else Opaque("openai_chat", proof)
    return Block(BlockKind.TOOL_CALL, arguments, id_, name, opaque)


ANSWERS = {
    "aimock-chat-hello": Reply(
        head=Head(id="chatcmpl-zS-czsfp4lLukWIr", model="gpt-4o"),
        blocks=text("Bonjour, wörld 你好 👋🏽 — done."),
        usage=Usage(input_tokens=2, output_tokens=8),
        finish=STOP,
    ),
    "aimock-chat-weather": Reply(
        head=Head(id="chatcmpl-qKiQqI_g6gRVxHvm", model="gpt-4o"),
        blocks=(
            call("call_ncHz_D6VG4-N_1C2", "get_weather", '{"city":"Paris","unit":"c"}'),
            call("call_nhF9RRYPf6RbL79u", "get_time", '{"city":"Oslo"}'),
        ),
        usage=Usage(input_tokens=2, output_tokens=16),
        finish=Finish(FinishReason.TOOL_CALLS, "tool_calls"),
    ),
    "llamacpp-chat-length": Reply(
        head=Head(id="chatcmpl-v78k0B2zfThSIDlbEWIbkIc4XVrfnEXQ", model="smollm2-135m"),
        blocks=text("Hello, welcome to my language translation AI! I'm here"),
        finish=Finish(FinishReason.LENGTH, "length"),
    ),
    "llamacpp-chat-usage": Reply(
        head=Head(id="chatcmpl-DbrmsvLvPzf6dTpa1siUiRiibttlIHVJ", model="smollm2-135m"),
        blocks=text("Bonjour in French! Bonjour is a beautiful language."),
        usage=Usage(input_tokens=35, output_tokens=12, cached_tokens=0),
        finish=Finish(FinishReason.LENGTH, "length"),
    ),
    "openrouter-processing-cost": Reply(
        head=Head(id="gen-abc123", model="openai/gpt-4o"),
        blocks=text("Hello there!"),
        usage=Usage(
            input_tokens=194,
            output_tokens=2,
            cached_tokens=0,
            cache_write_tokens=100,
            reasoning_tokens=0,
            cost_nano=950_000_000,
        ),
        finish=Finish(FinishReason.STOP, "completed"),
    ),
    "openrouter-reasoning-details": Reply(
        head=Head(id="gen-thinks", model="anthropic/claude-sonnet-4.5"),
        blocks=(
            Block(
                BlockKind.REASONING,
                "The user wants the weather.",
                opaque=Opaque(
                    "openai_chat",
                    b'[{"type":"reasoning.text","text":"The user wants the weather.","format":"anthropic-claude-v1",'
                    b'"index":0,"signature":"EqQBCgIYAhIM"}]',
                ),
            ),
            *text("I'll look."),
            call("toolu_01", "get_weather", '{"city": "Paris"}'),
        ),
        usage=Usage(
            input_tokens=400,
            output_tokens=90,
            cached_tokens=256,
            cache_write_tokens=0,
            reasoning_tokens=30,
            cost_nano=2_550_000,
        ),
        finish=Finish(FinishReason.TOOL_CALLS, "tool_use"),
    ),
    "openrouter-gemini-late-proof": Reply(
        head=Head(id="gen-late", model="google/gemini-3-pro"),
        blocks=(
            Block(
                BlockKind.REASONING,
                "Looking.",
                opaque=Opaque(
                    "openai_chat",
                    b'[{"type":"reasoning.text","text":"Looking.","format":"google-gemini-v1","index":0}]',
                ),
            ),
            call(
                "tool_0_f",
                "f",
                "{}",
                b'[{"type":"reasoning.encrypted","data":"CiQB","format":"google-gemini-v1","id":"tool_0_f","index":0}]',
            ),
        ),
        finish=Finish(FinishReason.TOOL_CALLS, "STOP"),
    ),
    "openai-refusal": Reply(
        head=Head(id="chatcmpl-no", model="gpt-4o-2024-08-06"),
        blocks=(Block(BlockKind.REFUSAL, "I'm sorry, I cannot assist."),),
        usage=Usage(input_tokens=81, output_tokens=11, cached_tokens=64, reasoning_tokens=0),
        finish=STOP,
    ),
    "deepseek-reasoning-content": Reply(
        head=Head(id="1f633d8b", model="deepseek-reasoner"),
        blocks=(Block(BlockKind.REASONING, "9.8 is larger."), *text("9.8")),
        usage=Usage(input_tokens=11, output_tokens=9, cached_tokens=0, reasoning_tokens=6),
        finish=STOP,
    ),
    "mistral-thinking-parts": Reply(
        head=Head(id="cmpl-e5", model="magistral-medium-latest"),
        blocks=(Block(BlockKind.REASONING, "Okay, John is 18."), *text("He is 18.")),
        usage=Usage(input_tokens=10, output_tokens=20),
        finish=STOP,
    ),
    "gemini-parallel-index-zero": Reply(
        head=Head(id="g1", model="gemini-2.5-flash"),
        blocks=(
            call("function-call-1", "get_weather", '{"city":"Paris"}', b'{"google":{"thought_signature":"CpwB"}}'),
            call("function-call-2", "get_weather", '{"city":"Oslo"}'),
        ),
        usage=Usage(input_tokens=60, output_tokens=20),
        finish=Finish(FinishReason.TOOL_CALLS, "stop"),
    ),
    "openai-logprobs": Reply(
        head=Head(id="chatcmpl-lp1", model="gpt-4o-2024-08-06"),
        blocks=(Block(BlockKind.TEXT, "Hello!", logprobs=hello(has_bytes=True)),),
        usage=Usage(input_tokens=9, output_tokens=2),
        finish=STOP,
    ),
    "openai-content-filter": Reply(
        head=Head(id="chatcmpl-cf1", model="gpt-4o-2024-08-06"),
        blocks=text("First, you "),
        usage=Usage(input_tokens=12, output_tokens=4),
        finish=Finish(FinishReason.CONTENT_FILTER, "content_filter"),
    ),
    "perplexity-annotations": Reply(
        head=Head(id="p1", model="sonar"),
        blocks=(
            Block(
                BlockKind.TEXT,
                "It is so [1].",
                citations=(Citation("https://a.example/", "A", 9, 12, "so"),),
            ),
        ),
        usage=Usage(input_tokens=4, output_tokens=3),
        finish=STOP,
    ),
}
FAILURES = {
    "openrouter-midstream-error": Kind.RATE_LIMITED,
    "openrouter-midstream-error-word": Kind.UPSTREAM_FAILED,
}


def told(pieces: list[bytes]) -> Reply | Kind:
    try:
        return fold(events_of(pieces))
    except Problem as problem:
        return problem.kind


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_transcript_tells_the_answer_that_it_holds(path: Path) -> None:
    assert told([path.read_bytes()]) == {**ANSWERS, **FAILURES}[path.stem]


def test_done_alone_and_an_end_alone_are_a_cut() -> None:
    for data in (
        b"",
        b"data: [DONE]\n\n",
        stream(says({"content": "Hi"})),
        stream(says({"content": "Hi"}), done=False),
    ):
        assert told([data]) is Kind.TRUNCATED


def test_a_finish_without_done_is_an_answer() -> None:
    assert told([stream(says({"content": "Hi"}, "stop"), done=False)]) == Reply(blocks=text("Hi"), finish=STOP)


def test_done_is_the_last_word_and_a_finish_is_not_yet() -> None:
    reader = Reader(target())
    reader.read(frame(says({}, "stop")))
    assert (reader.is_finished, reader.is_done) == (True, False)
    reader.read(Frame(b"[DONE]"))
    assert reader.is_done


USAGE = {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([says({"content": "Hi"}), {"choices": [], **USAGE}, says({}, "stop")], id="before the finish"),
        pytest.param([says({"content": "Hi"}), says({}, "stop", **USAGE)], id="with the finish"),
        pytest.param([says({"content": "Hi"}), says({}, "stop"), {"choices": [], **USAGE}], id="after the finish"),
        pytest.param([says({"content": "Hi"}, "stop"), {"choices": None, **USAGE}], id="without choices"),
        pytest.param([says({"content": "Hi"}, "stop"), USAGE], id="alone"),
    ],
)
def test_usage_is_taken_wherever_it_stands(chunks: list[Any]) -> None:
    expected = Reply(blocks=text("Hi"), usage=Usage(input_tokens=3, output_tokens=1), finish=STOP)
    assert told([stream(*chunks)]) == expected


def test_the_last_usage_counts_where_each_chunk_has_one() -> None:
    running = [says({"content": "x"}, usage={"completion_tokens": count}) for count in (1, 2, 3)]
    reply = fold(events_of([stream(*running, says({}, "stop", usage=None))]))
    assert reply.usage == Usage(output_tokens=3)


def test_the_finish_is_the_last_event_although_usage_follows_it() -> None:
    events = events_of([stream(says({"content": "Hi"}), says({}, "stop"), {"choices": [], **USAGE})])
    assert events == [
        Start(0, BlockKind.TEXT),
        Delta(0, "Hi"),
        End(0),
        Usage(input_tokens=3, output_tokens=1),
        Finish(FinishReason.STOP, "stop"),
    ]


@pytest.mark.parametrize("word", ["reasoning", "reasoning_content"])
def test_reasoning_is_a_block_of_its_own(word: str) -> None:
    reply = fold(events_of([stream(says({word: "Hm, "}), says({word: "so."}), says({"content": "Yes."}, "stop"))]))
    assert reply.blocks == (Block(BlockKind.REASONING, "Hm, so."), Block(BlockKind.TEXT, "Yes."))
    assert reply.text == "Yes."


def test_reasoning_and_content_in_one_chunk_are_told_in_this_order() -> None:
    reply = fold(events_of([stream(says({"content": "Yes.", "reasoning": "Hm."}, "stop"))]))
    assert reply.blocks == (Block(BlockKind.REASONING, "Hm."), Block(BlockKind.TEXT, "Yes."))


def test_a_refusal_is_a_block_that_the_reader_sees() -> None:
    reply = fold(events_of([stream(says({"refusal": "I can't"}), says({"refusal": " do that."}, "stop"))]))
    assert reply.blocks == (Block(BlockKind.REFUSAL, "I can't do that."),)
    assert reply.text == "I can't do that."


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("eos", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("max_tokens", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("a word of tomorrow", FinishReason.STOP),
    ],
)
def test_a_finish_keeps_the_upstreams_own_word(word: str, reason: FinishReason) -> None:
    assert fold(events_of([stream(says({}, word))])).finish == Finish(reason, word)


def test_the_native_reason_goes_before_the_translated_one() -> None:
    chunk = says({}, "length")
    chunk["choices"][0]["native_finish_reason"] = "MAX_TOKENS"
    assert fold(events_of([stream(chunk)])).finish == Finish(FinishReason.LENGTH, "MAX_TOKENS")


def test_only_the_first_choice_is_read() -> None:
    other = {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}
    chunk = {"choices": [other, {"index": 0, "delta": {"content": "yes"}, "finish_reason": None}]}
    assert told([stream(chunk, says({}, "stop"))]) == Reply(blocks=text("yes"), finish=STOP)
    assert told([stream({"choices": [other]})]) is Kind.TRUNCATED


def test_an_answer_of_several_is_whole_when_all_of_them_are() -> None:
    more = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": None}]}
    last = {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}
    reader = Reader(target())
    seen: list[bool] = []
    for one in Framer().feed(stream(says({"content": "yes"}), more, says({}, "stop"), last)):
        reader.read(one)
        seen.append(reader.is_finished)
    assert seen[:4] == [False, False, False, True]
    assert told([stream(says({"content": "yes"}), more, says({}, "stop"))]) is Kind.TRUNCATED


def test_what_is_said_after_the_finish_is_still_told_and_ended() -> None:
    events = events_of([stream(says({"content": "a"}, "stop"), says({"content": "b"}))])
    assert events[-3:] == [Delta(1, "b"), End(1), STOP]


@pytest.mark.parametrize("data", [b"", b": keepalive", b":", b": OPENROUTER PROCESSING"])
def test_a_keep_alive_in_a_data_line_means_nothing(data: bytes) -> None:
    assert Reader(target()).read(Frame(data)) == ()


def test_fields_that_nobody_knows_are_ignored() -> None:
    chunk = says({"content": "Hi", "audio": {"id": 1}, "role": 5}, "stop", service_tier=None, x={"y": [1]})
    assert told([stream(chunk)]) == Reply(blocks=text("Hi"), finish=STOP)


@given(nano=st.integers(min_value=0, max_value=10**15))
@settings(deadline=None, max_examples=300)
def test_a_cost_is_kept_to_the_nano_dollar(nano: int) -> None:
    cost = f"{Decimal(nano).scaleb(-9):f}".encode()
    (usage,) = Reader(target()).read(Frame(b'{"usage":{"cost":' + cost + b"}}"))
    assert usage == Usage(cost_nano=nano)


@pytest.mark.parametrize(
    ("cost", "nano"),
    [
        (b"0", 0),
        (b"0.0", 0),
        (b"null", None),
        (b"1e-9", 1),
        (b"0.0000000014", 1),
        (b"0.95", 950_000_000),
        (b"1.23456789012e-3", 1_234_568),
        (b'"0.25"', 250_000_000),
        (b"1000000", 10**15),
        (b"1000000.01", None),
        (b"-0.01", None),
        (b"1e999", None),
        (b"1e99999999999999999999", None),
        (b'"NaN"', None),
        (b'"Infinity"', None),
    ],
)
def test_a_cost_that_cannot_be_one_is_unknown_and_not_zero(cost: bytes, nano: int | None) -> None:
    data = b'{"choices":[],"usage":{"prompt_tokens":3,"cost":' + cost + b"}}"
    events = Reader(target()).read(Frame(data))
    usages = [event for event in events if isinstance(event, Usage)]
    assert [usage.cost_nano for usage in usages] in ([nano], [] if nano is None else [nano])


@pytest.mark.parametrize(
    ("count", "tokens"),
    [
        (b"0", 0),
        (b"12", 12),
        (b"12.0", 12),
        (b"null", None),
        (b"-1", None),
        (b"1.5", None),
        (b"1000000000", 10**9),
        (b"1000000001", None),
        (b"9223372036854775808", None),
        (b"9" * 4000, None),
    ],
)
def test_a_count_that_cannot_be_one_is_unknown_and_not_zero(count: bytes, tokens: int | None) -> None:
    data = b'{"usage":{"prompt_tokens":N,"completion_tokens":N,"prompt_tokens_details":{"cached_tokens":N}}}'
    (usage,) = Reader(target()).read(Frame(data.replace(b"N", count)))
    assert usage == Usage(input_tokens=tokens, output_tokens=tokens, cached_tokens=tokens)


def test_a_number_of_more_digits_than_anybody_reads_makes_the_usage_unknown() -> None:
    assert Reader(target()).read(Frame(b'{"usage":{"prompt_tokens":%b}}' % (b"9" * 5000))) == []


@pytest.mark.parametrize("usage", ["none", 5, [1], {"prompt_tokens": []}, {"prompt_tokens_details": "x"}, True])
def test_a_usage_that_cannot_be_read_does_not_cost_the_answer(usage: object) -> None:
    assert told([stream(says({"content": "Hi"}), says({}, "stop", usage=usage))]) == Reply(
        blocks=text("Hi"), finish=STOP
    )


PIECES = st.lists(
    st.tuples(st.sampled_from(["content", "reasoning", "refusal"]), st.text(max_size=8)),
    max_size=12,
)


@given(pieces=PIECES, usage_at=st.integers(min_value=0, max_value=13), cut=st.integers(min_value=1, max_value=64))
@settings(deadline=None, max_examples=200)
def test_every_piece_arrives_once_in_its_block_and_blocks_are_told_one_after_the_other(
    pieces: list[tuple[str, str]], usage_at: int, cut: int
) -> None:
    chunks: list[Any] = [says({kind: words}) for kind, words in pieces]
    chunks.append(says({}, "stop"))
    chunks.insert(usage_at, {"choices": [], **USAGE})
    data = stream(*chunks)
    events = events_of([data[start : start + cut] for start in range(0, len(data), cut)])
    assert_well_formed(events)
    reply = fold(events)
    for kind, word in (("text", "content"), ("reasoning", "reasoning"), ("refusal", "refusal")):
        said = "".join(block.text for block in reply.blocks if block.kind == kind)
        assert said == "".join(words for name, words in pieces if name == word)
    assert reply.usage == Usage(input_tokens=3, output_tokens=1)
    assert reply.finish == STOP


def assert_well_formed(events: list[Event]) -> None:
    is_open: int | None = None
    begun = 0
    for event in events:
        match event:
            case Start(index=index):
                assert (is_open, index) == (None, begun)
                is_open, begun = index, begun + 1
            case Delta(index=index, text=words):
                assert index == is_open
                assert words
            case End(index=index):
                assert index == is_open
                is_open = None
            case _:
                pass
    assert is_open is None
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(event, Finish) for event in events) == 1
