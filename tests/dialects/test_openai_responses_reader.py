"""OpenAI's stream of responses becomes events: from transcripts, in every shape that upstreams give it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from dialects.hub_strategies import assert_well_formed
from dialects.recorded_tokens import hello
from dialects.responses_streams import STREAMS, added, completed, events_of, frame, says, stream, told
from dialects.targets import target
from trunkline.core.call import Opaque
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import Block, BlockKind, Citation, Delta, Finish, FinishReason, Head, Reply, Usage, fold
from trunkline.dialects.openai_responses.reader import Reader
from trunkline.dialects.openai_responses.sides import OpenAIResponses
from trunkline.dialects.sse import Frame, Framer
from trunkline.dialects.tool_arguments import MAX_WAITING_BYTES

if TYPE_CHECKING:
    from pathlib import Path

STOP = Finish(FinishReason.STOP, "completed")
CALLS = Finish(FinishReason.TOOL_CALLS, "completed")


def text(words: str, kind: BlockKind = BlockKind.TEXT) -> Block:
    return Block(kind, words)


def usage(given: int, made: int, cached: int = 0, thought: int = 0, cost_nano: int | None = None) -> Usage:
    return Usage(
        input_tokens=given,
        output_tokens=made,
        cached_tokens=cached,
        cache_write_tokens=0,
        reasoning_tokens=thought,
        cost_nano=cost_nano,
    )


ANSWERS = {
    "llamacpp-responses": Reply(
        head=Head(id="resp_WlwjdbrdcARyqvjJl7yszf5j5aOyijew"),
        blocks=(text("Hello! I'm here to help with any kind of creative"),),
        usage=Usage(input_tokens=33, output_tokens=12, cached_tokens=32),
        finish=STOP,
    ),
    "aimock-responses-hello": Reply(
        head=Head(id="resp-mFM1F5-1sFzAO06V", model="gpt-4o"),
        blocks=(text("Bonjour, wörld 你好 👋🏽 — done."),),
        usage=Usage(input_tokens=0, output_tokens=0),
        finish=STOP,
    ),
    "aimock-responses-weather": Reply(
        head=Head(id="resp-NkVzRZZr86Y1Vrap", model="gpt-4o"),
        blocks=(
            Block(BlockKind.TOOL_CALL, '{"city":"Paris","unit":"c"}', "call_8tbdhbWXRmOAZyfF", "get_weather"),
            Block(BlockKind.TOOL_CALL, '{"city":"Oslo"}', "call__Lc-hIZBN2Hv2mGc", "get_time"),
        ),
        usage=Usage(input_tokens=0, output_tokens=0),
        finish=CALLS,
    ),
    "openai-reasoning-parallel-tools": Reply(
        head=Head(id="resp_0a1", model="gpt-5.2"),
        blocks=(
            Block(
                BlockKind.REASONING,
                "**Reading the question**\n\nTwo cities are named.\n\n**Choosing tools**\n\nOne call for each.",
                opaque=Opaque("openai_responses", b'"gAAAAABfinal_-=="'),
            ),
            Block(BlockKind.TOOL_CALL, '{"city":"Paris"}', "call_Paris1", "get_weather"),
            Block(BlockKind.TOOL_CALL, '{"city":"Oslo"}', "call_Oslo22", "get_weather"),
        ),
        usage=usage(120, 75, 96, 32),
        finish=CALLS,
    ),
    "openai-refusal": Reply(
        head=Head(id="resp_0b1", model="gpt-5.2"),
        blocks=(text("I'm sorry, but I can't help with that.", BlockKind.REFUSAL),),
        usage=usage(40, 11),
        finish=STOP,
    ),
    "openai-incomplete-length": Reply(
        head=Head(id="resp_0c1", model="gpt-5.2"),
        blocks=(text("Once upon a"),),
        usage=usage(9, 16),
        finish=Finish(FinishReason.LENGTH, "max_output_tokens"),
    ),
    "openai-incomplete-filter": Reply(
        head=Head(id="resp_0d1", model="gpt-5.2"),
        blocks=(text("The lyrics go"),),
        usage=usage(9, 3),
        finish=Finish(FinishReason.CONTENT_FILTER, "content_filter"),
    ),
    "openai-logprobs": Reply(
        head=Head(id="resp_lp1", model="gpt-4.1-2025-04-14"),
        blocks=(Block(BlockKind.TEXT, "Hello!", logprobs=hello(has_bytes=False)),),
        usage=Usage(input_tokens=2009, output_tokens=3, cached_tokens=1024, cache_write_tokens=900, reasoning_tokens=0),
        finish=STOP,
    ),
    "openai-web-search-citation": Reply(
        head=Head(id="resp_0e1", model="gpt-5.2"),
        blocks=(Block(BlockKind.TEXT, "It is sunny.", citations=(Citation("https://example.com/", "Example", 0, 5),)),),
        usage=usage(300, 20),
        finish=STOP,
    ),
    "openai-custom-tool": Reply(
        head=Head(id="resp_0f1", model="gpt-5.2"),
        blocks=(Block(BlockKind.TOOL_CALL, "*** Begin Patch", "call_Patch1", "apply_patch"),),
        usage=usage(50, 9),
        finish=CALLS,
    ),
    "gpt-oss-reasoning-text": Reply(
        head=Head(id="resp_1a1", model="gpt-oss-20b"),
        blocks=(text("User greets. Greet back.", BlockKind.REASONING), text("Hello!")),
        usage=usage(70, 24, 0, 12),
        finish=STOP,
    ),
    "rotating-item-ids": Reply(
        head=Head(id="resp_1b1", model="gpt-5.2"),
        blocks=(text("There are three."),),
        usage=usage(19, 5),
        finish=STOP,
    ),
    "openrouter-cost": Reply(
        head=Head(id="gen-2f1", model="gpt-5.2"),
        blocks=(text("Hello"),),
        usage=usage(10, 2, cost_nano=120_000),
        finish=STOP,
    ),
}
FAILURES = {
    "openai-error-event": Kind.KEY_REFUSED,
    "openai-error-event-flat": Kind.RATE_LIMITED,
    "openai-failed": Kind.UPSTREAM_FAILED,
    "openrouter-failed-error-type": Kind.RATE_LIMITED,
    "openrouter-response-error": Kind.RATE_LIMITED,
}
WHOLE = [path for path in STREAMS if path.stem in ANSWERS]


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_transcript_tells_the_answer_that_it_holds(path: Path) -> None:
    assert told([path.read_bytes()]) == {**ANSWERS, **FAILURES}[path.stem]


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_its_events_are_well_formed(path: Path) -> None:
    assert_well_formed(events_of([path.read_bytes()]))


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_it_tells_the_same_in_slices_of_one_byte_and_with_other_line_ends(path: Path) -> None:
    data = path.read_bytes()
    whole = told([data])
    assert told([data[place : place + 1] for place in range(len(data))]) == whole
    assert told([data.replace(b"\n", b"\r\n")]) == whole
    assert told([data.replace(b"\n", b"\r")]) == whole


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_it_tells_the_same_wherever_it_is_cut_in_two(path: Path) -> None:
    """At every line's end and around it, and at a few hundred places between."""
    data = path.read_bytes()
    whole = told([data])
    ends = {place + step for place, byte in enumerate(data) if byte == 0x0A for step in (0, 1)}
    for place in ends | set(range(0, len(data), 97)):
        assert told([data[:place], data[place:]]) == whole


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_it_is_no_answer_without_its_final_event(path: Path) -> None:
    frames = Framer().feed(path.read_bytes())
    last = next(
        place for place, one in enumerate(frames) if one.event in {b"response.completed", b"response.incomplete"}
    )
    reader = Reader(target())
    for one in frames[:last]:
        reader.read(one)
    assert not reader.is_finished
    with pytest.raises(Problem) as caught:
        reader.close()
    assert caught.value.kind is Kind.TRUNCATED
    reader.read(frames[last])
    assert (reader.is_finished, reader.is_done) == (True, True)


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_the_final_response_alone_tells_the_same_answer(path: Path) -> None:
    """Where an upstream streams nothing but the end, and where it does not stream at all."""
    final = Framer().feed(path.read_bytes())
    last = next(one for one in final if one.event in {b"response.completed", b"response.incomplete"})
    response = msgspec.json.decode(last.data)["response"]
    answer = ANSWERS[path.stem]
    if len([item for item in response["output"] if item["type"] != "web_search_call"]) == len(answer.blocks):
        head = Head(id=response["id"], model=response["model"])
        expected = msgspec.structs.replace(answer, head=head)
        if path.stem == "openai-logprobs":  # only the whole part says the tokens' bytes
            (block,) = expected.blocks
            told = msgspec.structs.replace(block, logprobs=hello(has_bytes=True))
            expected = msgspec.structs.replace(expected, blocks=(told,))
        assert OpenAIResponses().read_reply(msgspec.json.encode(response), target()) == expected
        assert fold(events_of([stream(last)])) == expected


def test_text_that_comes_only_when_it_is_done_is_told_once() -> None:
    whole = [
        added(0, type="message", id="m", content=[]),
        frame("response.output_text.done", output_index=0, content_index=0, text="Hello"),
        frame(
            "response.content_part.done", output_index=0, content_index=0, part={"type": "output_text", "text": "Hello"}
        ),
        frame(
            "response.output_item.done",
            output_index=0,
            item={"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hello"}]},
        ),
    ]
    for frames in (whole, whole[:2], whole[2:3], whole[3:]):
        assert told([stream(*frames, completed())]) == Reply(
            head=Head(id="resp_1"), blocks=(text("Hello"),), finish=STOP
        )


def test_a_call_that_comes_only_when_it_is_done_is_told_once() -> None:
    item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f"}
    done = frame("response.output_item.done", output_index=0, item={**item, "arguments": '{"a":1}'})
    said = frame("response.function_call_arguments.done", output_index=0, item_id="fc_1", arguments='{"a":1}')
    call = Block(BlockKind.TOOL_CALL, '{"a":1}', "call_1", "f")
    for frames in ([added(0, **item, arguments=""), said, done], [added(0, **item, arguments=""), done], [done]):
        assert told([stream(*frames, completed())]) == Reply(head=Head(id="resp_1"), blocks=(call,), finish=CALLS)


def test_a_tool_call_goes_by_its_call_id_and_never_by_its_item_id() -> None:
    item = {"type": "function_call", "id": "fc_item", "call_id": "call_real", "name": "f", "arguments": "{}"}
    reply = told([stream(added(0, **item), completed())])
    assert isinstance(reply, Reply)
    assert reply.blocks[0].id == "call_real"


def test_done_of_an_item_after_the_next_one_began_says_nothing_new() -> None:
    late = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Hm"}]}
    frames = [
        added(0, type="reasoning", id="r", summary=[]),
        frame("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="Hm"),
        says("Hello", 1),
        frame("response.output_item.done", output_index=0, item=late),
        says("!", 1),
    ]
    assert told([stream(*frames, completed())]) == Reply(
        head=Head(id="resp_1"), blocks=(text("Hm", BlockKind.REASONING), text("Hello!")), finish=STOP
    )


CALLED = [{"type": "function_call", "id": f"fc_{at}", "call_id": f"call_{at}", "name": f"f{at}"} for at in range(3)]


def begins(at: int, **item: object) -> Frame:
    return added(at, **CALLED[at], arguments="", **item)


def argues(at: int, piece: str) -> Frame:
    return frame("response.function_call_arguments.delta", output_index=at, item_id=f"fc_{at}", delta=piece)


def argued(at: int, arguments: str) -> Frame:
    return frame("response.function_call_arguments.done", output_index=at, item_id=f"fc_{at}", arguments=arguments)


def ended(at: int, arguments: str) -> Frame:
    return frame("response.output_item.done", output_index=at, item={**CALLED[at], "arguments": arguments})


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([begins(0), begins(1), ended(0, '{"a":1}'), ended(1, '{"b":2}')], id="whole items"),
        pytest.param([begins(0), begins(1), argued(0, '{"a":1}'), argued(1, '{"b":2}')], id="whole arguments"),
        pytest.param([begins(0), begins(1), ended(1, '{"b":2}'), ended(0, '{"a":1}')], id="the second one first"),
        pytest.param(
            [begins(0), begins(1), argues(0, '{"a"'), argues(1, '{"b"'), argues(0, ":1}"), argues(1, ":2}")],
            id="in turns, and no end of either",
        ),
        pytest.param(
            [
                *(begins(0), argues(0, '{"a"'), begins(1), argues(1, '{"b"'), argues(1, ":2}"), ended(1, '{"b":2}')),
                *(argues(0, ":1}"), ended(0, '{"a":1}')),
            ],
            id="one within the other",
        ),
    ],
)
def test_calls_that_come_in_turns_are_told_one_after_the_other(frames: list[Frame]) -> None:
    reply = told([stream(*frames, completed())])
    assert isinstance(reply, Reply)
    assert reply.blocks == (
        Block(BlockKind.TOOL_CALL, '{"a":1}', "call_0", "f0"),
        Block(BlockKind.TOOL_CALL, '{"b":2}', "call_1", "f1"),
    )


def test_whatever_waits_for_a_call_is_told_in_its_order() -> None:
    frames = [begins(0), argues(0, '{"a"'), begins(1), argues(1, '{"b"'), says("Two", 2), argues(0, ":1}")]
    frames += [argues(1, ":2}"), says("!", 2)]
    reply = told([stream(*frames, completed())])
    assert isinstance(reply, Reply)
    assert [block.text for block in reply.blocks] == ['{"a":1}', '{"b":2}', "Two!"]


def test_calls_that_never_end_keep_nothing_from_being_told() -> None:
    frames = [begins(0), argues(0, '{"a"'), begins(1), begins(2), argues(2, '{"c"'), says("Three", 3)]
    reply = told([stream(*frames, completed())])
    assert isinstance(reply, Reply)
    assert [block.text for block in reply.blocks] == ['{"a"', "", '{"c"', "Three"]


def test_what_waits_has_a_bound() -> None:
    reader, much = Reader(target()), "x" * MAX_WAITING_BYTES
    frames = [begins(0), argues(0, '{"a"'), begins(1), argues(1, much)]
    assert [event for one in frames for event in reader.read(one)][-1] == Delta(1, much)
    assert reader.read(argues(1, "y")) == [Delta(1, "y")]
    with pytest.raises(Problem):
        reader.read(ended(0, '{"a":1}'))


def test_items_told_apart_by_their_ids_alone_are_told_apart() -> None:
    frames = [
        frame("response.output_text.delta", item_id="a", delta="One"),
        frame("response.output_text.delta", item_id="b", delta="Two"),
    ]
    reply = told([stream(*frames, completed())])
    assert isinstance(reply, Reply)
    assert [block.text for block in reply.blocks] == ["One", "Two"]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([says("a", 0), says("b", 1), says("c", 0)], id="text of an item that has ended"),
        pytest.param(
            [frame("response.function_call_arguments.delta", output_index=0, delta="{")], id="arguments of no call"
        ),
        pytest.param([added(0, type="function_call", id="", call_id="", name="f")], id="a call without an id"),
        pytest.param([frame("response.completed")], id="an end without a response"),
        pytest.param([frame("response.output_text.delta", delta=3)], id="a delta that is no text"),
        pytest.param([added(0, type="message", content=7)], id="a message that cannot be read"),
        pytest.param([Frame(b"{")], id="no JSON"),
        pytest.param([Frame(b"[1]")], id="no object"),
        pytest.param([Frame(b'{"choices":[]}')], id="another dialect"),
        pytest.param([Frame(b"\xff")], id="no UTF-8"),
        pytest.param([Frame(b'{"type":' + b"[" * 100_000)], id="a nest without end"),
    ],
)
def test_what_is_not_of_this_dialect_is_no_answer(frames: list[Frame]) -> None:
    reader = Reader(target())
    with pytest.raises(Problem) as caught:
        list(map(reader.read, frames))
    assert caught.value.kind is Kind.UPSTREAM_INVALID


@pytest.mark.parametrize("odd", [b"1e400", b"1" * 5_000, b'"\xff"'])
def test_an_error_event_is_told_whatever_else_it_holds(odd: bytes) -> None:
    with pytest.raises(Problem) as caught:
        Reader(target()).read(Frame(b'{"type":"error","code":"rate_limit_exceeded","message":"Slow","x":%b}' % odd))
    assert caught.value.kind is Kind.RATE_LIMITED


def test_keep_alives_and_what_follows_the_end_are_passed_over() -> None:
    reader = Reader(target())
    assert reader.read(Frame(b"")) == ()
    assert reader.read(Frame(b": OPENROUTER PROCESSING")) == ()
    reader.read(completed())
    assert reader.read(says("more")) == ()
    assert reader.read(Frame(b"[DONE]")) == ()
    assert reader.close() == (STOP,)


def test_the_sentinel_without_a_final_response_is_a_cut() -> None:
    assert told([stream(says("Hi")) + b"data: [DONE]\n\n"]) is Kind.TRUNCATED


@pytest.mark.parametrize(
    "odd", [{"usage": 7}, {"usage": {"input_tokens": "x"}}, {"usage": {"input_tokens_details": []}}]
)
def test_a_usage_that_cannot_be_read_does_not_fail_the_answer(odd: dict[str, object]) -> None:
    assert told([stream(says("Hi"), completed(**odd))]) == Reply(
        head=Head(id="resp_1"), blocks=(text("Hi"),), finish=STOP
    )


def test_a_count_that_cannot_be_one_is_unknown() -> None:
    counts = {"input_tokens": 1e300, "output_tokens": -1, "cost": 1e99}
    reply = told([stream(says("Hi"), completed(usage=counts))])
    assert isinstance(reply, Reply)
    assert reply.usage == Usage()


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        ({"status": "failed", "error": {"code": "server_is_overloaded", "message": "x"}}, Kind.UPSTREAM_FAILED),
        ({"status": "failed", "error": {"code": "bio_policy", "message": "x"}}, Kind.CONTENT_FILTERED),
        ({"status": "failed", "error": {"code": "image_too_large", "message": "x"}}, Kind.INVALID_REQUEST),
        ({"status": "failed", "error": {"code": "context_length_exceeded"}}, Kind.CONTEXT_TOO_LONG),
        ({"status": "failed", "error": None}, Kind.UPSTREAM_FAILED),
        ({"status": "cancelled"}, Kind.UPSTREAM_FAILED),
        ({"status": "in_progress"}, Kind.UPSTREAM_INVALID),
        ({"object": "chat.completion", "choices": []}, Kind.UPSTREAM_INVALID),
        ({"status": "completed", "output": {}}, Kind.UPSTREAM_INVALID),
        ({"error": {"code": 429}, "error_type": "rate_limit_exceeded"}, Kind.RATE_LIMITED),
    ],
)
def test_a_whole_response_that_failed_says_how(response: dict[str, object], kind: Kind) -> None:
    with pytest.raises(Problem) as caught:
        OpenAIResponses().read_reply(msgspec.json.encode(response), target())
    assert caught.value.kind is kind


def test_an_answer_that_is_no_stream_says_why() -> None:
    read = OpenAIResponses().read_problem
    limited = read(target(), 429, {"retry-after": "7"}, b'{"error":{"message":"x","type":"rate_limit_error"}}')
    assert (limited.kind, limited.retry_after_s) == (Kind.RATE_LIMITED, 7)
    beside = read(target(), 200, {}, b'{"error":{"message":"x"},"error_type":"context_length_exceeded"}')
    assert beside.kind is Kind.CONTEXT_TOO_LONG
    assert read(target(), 200, {"content-type": "text/html"}, b"<html>").kind is Kind.UPSTREAM_INVALID
    assert read(target(), 500, {}, b"<html>").kind is Kind.UPSTREAM_FAILED
