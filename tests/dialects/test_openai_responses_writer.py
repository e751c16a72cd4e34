"""Events become OpenAI's stream of responses: the documented order, numbered, and read back as they were."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from dialects.hub_strategies import normal, streams
from dialects.responses_laws import RESPONSES_LAWS, answer_back
from dialects.responses_streams import OPENING, events_of, frames_of
from trunkline.core.call import Message, Opaque, Reasoning, Role, Text, ToolCall
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import (
    Block,
    BlockKind,
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
    unfold,
)
from trunkline.dialects.openai_responses.problem import ERROR_TYPE
from trunkline.dialects.openai_responses.sides import OpenAIResponses
from trunkline.dialects.openai_responses.writer import Writer

DIALECT = OpenAIResponses()
OURS = Opaque("openai_responses", b'"gAAA\\u0041_-=="')
THEIRS = Opaque("anthropic_messages", b'{"signature":"abc"}')
EVERYTHING = Reply(
    head=Head(id="resp_9", model="gpt-5.2"),
    blocks=(
        Block(BlockKind.REASONING, "Hm.", opaque=OURS),
        Block(BlockKind.TEXT, "Hello"),
        Block(BlockKind.REFUSAL, "No."),
        Block(BlockKind.TOOL_CALL, '{"a":1}', "call_9", "f"),
        Block(BlockKind.TEXT, "Done"),
    ),
    usage=Usage(input_tokens=3, output_tokens=4, cached_tokens=1, reasoning_tokens=2),
    finish=Finish(FinishReason.TOOL_CALLS),
)


def written(reply: Reply) -> bytes:
    return Writer(OPENING).write(unfold(reply))


@given(streams(RESPONSES_LAWS.answers))
def test_a_stream_reads_back_delta_by_delta(events: list[Event]) -> None:
    writer = Writer(OPENING)
    read = events_of([writer.write([event]) for event in events])
    assert [(event.index, event.text) for event in read if isinstance(event, Delta)] == [
        (event.index, event.text) for event in events if isinstance(event, Delta)
    ]
    assert fold(read) == answer_back(fold(normal(events)), is_whole=False)


@given(RESPONSES_LAWS.answers)
def test_a_whole_answer_is_what_its_stream_ends_with(reply: Reply) -> None:
    body = DIALECT.write_reply(reply, OPENING)
    assert frames_of(written(reply))[-1]["response"] == msgspec.json.decode(body)


@given(RESPONSES_LAWS.answers)
def test_events_are_numbered_from_0_without_a_gap_and_end_with_one_final_event(reply: Reply) -> None:
    frames = frames_of(written(reply))
    assert [one["sequence_number"] for one in frames] == list(range(len(frames)))
    final = {"response.completed", "response.incomplete", "response.failed"}
    assert [one["type"] in final for one in frames] == [False] * (len(frames) - 1) + [True]


def test_the_events_come_in_the_documented_order() -> None:
    kinds = [one["type"].removeprefix("response.") for one in frames_of(written(EVERYTHING))]
    assert kinds == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"),
        *("content_part.added", "refusal.delta", "refusal.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"),
        *("output_item.done", "completed"),
    ]


def test_every_event_names_its_item_and_its_place() -> None:
    frames = frames_of(written(EVERYTHING))
    items: dict[int, str] = {}
    for one in frames:
        if one["type"] == "response.output_item.added":
            assert one["output_index"] == len(items)
            items[one["output_index"]] = one["item"]["id"]
        elif one["type"] == "response.output_item.done":
            assert one["item"]["id"] == items[one["output_index"]]
        elif "item_id" in one:
            assert one["item_id"] == items[one["output_index"]]
    assert [item["id"] for item in frames[-1]["response"]["output"]] == list(items.values())
    assert [one["content_index"] for one in frames if one["type"] == "response.content_part.added"] == [0, 1, 0]


def test_every_lifecycle_event_tells_the_same_response() -> None:
    responses = [one["response"] for one in frames_of(written(EVERYTHING)) if "response" in one]
    assert {(one["id"], one["model"], one["object"], one["created_at"]) for one in responses} == {
        ("resp_9", "gpt-5.2", "response", 1795500000)
    }
    assert [one["status"] for one in responses] == ["in_progress", "in_progress", "completed"]
    assert all(one["store"] is False for one in responses)


def test_the_final_response_is_complete() -> None:
    response = frames_of(written(EVERYTHING))[-1]["response"]
    assert response["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 7,
    }
    assert (response["error"], response["incomplete_details"]) == (None, None)
    thought, message, call, last = response["output"]
    assert thought["encrypted_content"] == "gAAAA_-=="
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert {name: call[name] for name in ("type", "call_id", "name", "arguments", "status")} == {
        "type": "function_call",
        "call_id": "call_9",
        "name": "f",
        "arguments": '{"a":1}',
        "status": "completed",
    }
    assert call["id"] != call["call_id"]
    assert last["status"] == "completed"


@pytest.mark.parametrize(
    ("reason", "said"),
    [(FinishReason.LENGTH, "max_output_tokens"), (FinishReason.CONTENT_FILTER, "content_filter")],
)
def test_an_answer_that_is_cut_is_incomplete_and_says_why(reason: FinishReason, said: str) -> None:
    reply = Reply(blocks=(Block(BlockKind.TEXT, "Hel"),), finish=Finish(reason))
    last = frames_of(written(reply))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": said}
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_without_a_head_the_answer_has_the_request_s_id_and_model() -> None:
    response = frames_of(Writer(OPENING).write([Start(0, BlockKind.TEXT)]))[0]["response"]
    assert (response["id"], response["model"]) == ("resp_req-1", "gpt-5.2")


def test_item_ids_are_of_a_form_that_openai_takes_back() -> None:
    opening = msgspec.structs.replace(OPENING, id="ü/" + "x" * 200)
    frames = frames_of(Writer(opening).write(unfold(EVERYTHING)))
    for item in frames[-1]["response"]["output"]:
        assert item["id"].startswith({"message": "msg_", "function_call": "fc_", "reasoning": "rs_"}[item["type"]])
        assert len(item["id"]) <= 64
        assert item["id"].isascii()


def echoed(reply: Reply) -> tuple[Message, ...]:
    """What a client that sends the answer's items back makes us read."""
    output = msgspec.json.decode(DIALECT.write_reply(reply, OPENING))["output"]
    body = {"model": "m", "input": [{"role": "user", "content": "Hi"}, *output]}
    return DIALECT.read_call(msgspec.json.encode(body)).messages[1:]


def test_another_dialect_s_continuations_survive_a_client_of_this_one() -> None:
    gemini = Opaque("gemini", b'{"thoughtSignature":"xyz"}')
    reply = Reply(
        blocks=(
            Block(BlockKind.REASONING, "Hm.", opaque=THEIRS),
            Block(BlockKind.REASONING, "", opaque=THEIRS),
            Block(BlockKind.TEXT, "Hello"),
            Block(BlockKind.TOOL_CALL, "{}", "call_1", "f", gemini),
            Block(BlockKind.TOOL_CALL, "{}", "call_2", "g"),
        ),
        finish=Finish(FinishReason.TOOL_CALLS),
    )
    (message,) = echoed(reply)
    assert message == Message(
        Role.ASSISTANT,
        (
            Reasoning("Hm.", THEIRS),
            Reasoning("", THEIRS),
            Text("Hello"),
            ToolCall("call_1", "f", "{}", gemini),
            ToolCall("call_2", "g", "{}"),
        ),
    )


def test_a_continuation_of_a_trunkline_further_up_survives_too() -> None:
    further_up = Opaque("openai_responses", b'"~tl1.abc"')
    reply = Reply(blocks=(Block(BlockKind.REASONING, "Hm.", opaque=further_up),), finish=Finish(FinishReason.STOP))
    assert echoed(reply)[0].parts == (Reasoning("Hm.", further_up),)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_problem_has_a_word_in_each_form(kind: Kind) -> None:
    problem = Problem(kind, "It broke.", param="input")
    error = {"message": "It broke.", "type": ERROR_TYPE[kind][0], "param": "input", "code": ERROR_TYPE[kind][1]}
    assert msgspec.json.decode(DIALECT.write_problem(problem, as_json=True)) == {"error": error}
    (event,) = frames_of(DIALECT.write_problem(problem))
    assert {"type": "error", "message": "It broke.", "param": "input", "error": error}.items() <= event.items()
    failed = frames_of(Writer(OPENING).write_problem(problem))[-1]
    assert isinstance(failed["response"]["error"]["code"], str)


def test_a_stream_that_breaks_ends_with_an_error_and_a_failed_response_and_no_half_call_is_done() -> None:
    writer = Writer(OPENING)
    begun = [Head(id="resp_9"), Start(0, BlockKind.TEXT), Delta(0, "Hel"), End(0)]
    half = [Start(1, BlockKind.TOOL_CALL, "call_1", "delete"), Delta(1, '{"path":"/')]
    out = writer.write([*begun, *half]) + writer.write_problem(Problem(Kind.TRUNCATED, "It broke."))
    frames = frames_of(out)
    assert [one["sequence_number"] for one in frames] == list(range(len(frames)))
    assert [one["type"] for one in frames[-2:]] == ["error", "response.failed"]
    assert frames[-1]["response"]["status"] == "failed"
    assert frames[-1]["response"]["error"] == {"code": "upstream_truncated", "message": "It broke."}
    kept: list[dict[str, Any]] = frames[-1]["response"]["output"]
    assert [item["status"] for item in kept] == ["completed", "incomplete"]
    done = [one["item"]["type"] for one in frames if one["type"] == "response.output_item.done"]
    assert done == ["message"]


def test_a_message_that_breaks_is_kept_as_far_as_it_came() -> None:
    writer = Writer(OPENING)
    writer.write([Start(0, BlockKind.TEXT), Delta(0, "Hel"), Delta(0, "lo")])
    (message,) = frames_of(writer.write_problem(Problem(Kind.TIMED_OUT, "Late.")))[-1]["response"]["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "Hello")
