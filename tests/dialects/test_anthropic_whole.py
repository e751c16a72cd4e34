"""Anthropic's answers that do not stream: messages, counts, errors; and the laws of writing and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dialects.anthropic_targets import OPENING, body, frame, target
from trunkline.core.call import Opaque, ToolCall, ToolResult
from trunkline.core.problem import Kind, Problem, Retry
from trunkline.core.reply import Block, BlockKind, Finish, FinishReason, Head, Reply, Usage, unfold
from trunkline.dialects.anthropic_messages.sides import AnthropicMessages, AnthropicMessagesIngress, Forwarder, Writer
from trunkline.dialects.anthropic_messages.words import own_id, stop_reason_of
from trunkline.dialects.anthropic_messages.writer import ERROR_TYPE
from trunkline.dialects.opaque import unwrap, wrap
from trunkline.dialects.sse import Frame, Framer

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "anthropic_messages"
EGRESS, INGRESS = AnthropicMessages(), AnthropicMessagesIngress()


def written(reply: Reply) -> list[dict[str, Any]]:
    frames = Framer().feed(Writer(OPENING).write(unfold(reply)))
    events = [msgspec.json.decode(one.data) for one in frames]
    assert [one.event for one in frames] == [event["type"].encode() for event in events]
    return events


DONE = Finish(FinishReason.STOP)


def test_a_stream_has_the_order_and_the_shapes_of_the_dialect() -> None:
    usage = Usage(input_tokens=12, output_tokens=3, cached_tokens=4)
    events = written(
        Reply(head=Head(id="gen-1", model="m"), blocks=(Block(BlockKind.TEXT, "Hi"),), usage=usage, finish=DONE)
    )
    assert events == [
        {
            "type": "message_start",
            "message": {
                "id": "gen-1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 0,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                    "output_tokens": 0,
                    "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
                    "service_tier": "standard",
                },
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 3, "input_tokens": 8, "cache_read_input_tokens": 4},
        },
        {"type": "message_stop"},
    ]


def test_an_answer_without_a_head_gets_the_requests_id_and_the_clients_model() -> None:
    start = written(Reply(finish=DONE))[0]["message"]
    assert (start["id"], start["model"]) == ("msg_req_1", "claude")


def test_usage_that_is_known_early_stands_in_the_message_start() -> None:
    events = [Head(), Usage(input_tokens=9, cached_tokens=2), DONE]
    start = msgspec.json.decode(Framer().feed(Writer(OPENING).write(events))[0].data)
    assert start["message"]["usage"]["input_tokens"] == 7
    assert start["message"]["usage"]["cache_read_input_tokens"] == 2


FOREIGN = Opaque("openai_responses", b'"gAAAA"')


def test_another_dialects_proof_of_a_thought_stands_as_its_signature() -> None:
    reply = Reply(blocks=(Block(BlockKind.REASONING, "Hm", opaque=FOREIGN),), finish=DONE)
    signature = written(reply)[3]["delta"]
    assert signature == {"type": "signature_delta", "signature": wrap(FOREIGN)}
    whole = msgspec.json.decode(INGRESS.write_reply(reply, OPENING))
    assert whole["content"] == [{"type": "thinking", "thinking": "Hm", "signature": wrap(FOREIGN)}]


def test_another_dialects_proof_of_a_tool_call_stands_right_after_it() -> None:
    reply = Reply(blocks=(Block(BlockKind.TOOL_CALL, "{}", "t", "f", FOREIGN),), finish=DONE)
    blocks = [event["content_block"] for event in written(reply) if event["type"] == "content_block_start"]
    assert [block["type"] for block in blocks] == ["tool_use", "redacted_thinking"]
    assert unwrap(blocks[1]["data"]) == FOREIGN
    whole = msgspec.json.decode(INGRESS.write_reply(reply, OPENING))
    assert whole["content"][1] == blocks[1]


def test_a_thought_without_words_and_proof_is_not_told() -> None:
    events = written(Reply(blocks=(Block(BlockKind.REASONING, ""), Block(BlockKind.TEXT, "a")), finish=DONE))
    assert [event["index"] for event in events if event["type"] == "content_block_start"] == [0]


def test_a_call_that_came_without_an_id_gets_one() -> None:
    reply = Reply(blocks=(Block(BlockKind.TOOL_CALL, "{}", None, "f"),), finish=DONE)
    assert written(reply)[1]["content_block"]["id"] == "toolu_req_1_0"


def test_a_calls_id_is_told_in_letters_that_anthropic_takes_back_and_the_clients_echo_is_the_id_again() -> None:
    reply = Reply(blocks=(Block(BlockKind.TOOL_CALL, "{}", "functions.f:0", "f"),), finish=DONE)
    streamed = written(reply)[1]["content_block"]
    assert streamed == {"type": "tool_use", "id": "tl_ZnVuY3Rpb25zLmY6MA", "name": "f", "input": {}}
    whole = msgspec.json.decode(INGRESS.write_reply(reply, OPENING))
    assert whole["content"] == [streamed]
    result = {"type": "tool_result", "tool_use_id": streamed["id"]}
    turns = [{"role": "assistant", "content": [streamed]}, {"role": "user", "content": [result]}]
    called, answered = INGRESS.read_call(body(messages=turns)).messages
    assert called.parts == (ToolCall("functions.f:0", "f", "{}"),)
    assert answered.parts == (ToolResult("functions.f:0", ()),)


@pytest.mark.parametrize("call_id", ["tl_", "tl_YQ", "tl_ZnVuY3Rpb25zLmY6MB", "tl_é", "toolu_1"])
def test_an_id_that_was_never_put_into_other_letters_stays_as_it_is(call_id: str) -> None:
    assert own_id(call_id) == call_id


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish(FinishReason.STOP, "stop"), "end_turn"),
        (Finish(FinishReason.STOP, "pause_turn"), "pause_turn"),
        (Finish(FinishReason.STOP, None, "END"), "stop_sequence"),
        (Finish(FinishReason.LENGTH, "length"), "max_tokens"),
        (Finish(FinishReason.LENGTH, "model_context_window_exceeded"), "model_context_window_exceeded"),
        (Finish(FinishReason.TOOL_CALLS, "function_call"), "tool_use"),
        (Finish(FinishReason.CONTENT_FILTER, "SAFETY"), "refusal"),
    ],
)
def test_a_finish_has_its_word(finish: Finish, reason: str) -> None:
    assert stop_reason_of(finish) == reason


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_problem_is_told_with_a_type_of_the_dialects(kind: Kind) -> None:
    problem = Problem(kind, "No.")
    body = msgspec.json.decode(INGRESS.write_problem(problem, as_json=True))
    assert body["type"] == "error"
    assert body["error"]["type"] == ERROR_TYPE[kind]
    assert body["error"]["message"].endswith("No.")
    assert body["request_id"] is None
    assert INGRESS.write_problem(problem) == b"event: error\ndata: " + msgspec.json.encode(body) + b"\n\n"


def test_a_problem_names_the_request() -> None:
    problem = Problem(Kind.TRUNCATED, "It broke.")
    body = INGRESS.write_problem(problem, as_json=True, request_id=OPENING.id)
    assert msgspec.json.decode(body)["request_id"] == OPENING.id
    event = b"event: error\ndata: " + body + b"\n\n"
    assert INGRESS.writer(OPENING).write_problem(problem) == event
    assert INGRESS.forwarder(OPENING).write_problem(problem) == event


def test_a_conversation_that_is_too_long_is_told_in_words_that_clients_know() -> None:
    body = msgspec.json.decode(INGRESS.write_problem(Problem(Kind.CONTEXT_TOO_LONG, "Shorten it."), as_json=True))
    assert body["error"]["message"] == "prompt is too long: Shorten it."


def test_a_recorded_message_is_read() -> None:
    assert EGRESS.read_reply((TRANSCRIPTS / "llamacpp-length.json").read_bytes(), target()) == Reply(
        head=Head(id="chatcmpl-tVLpSdDJRn7uejbekVb7XHPHCdrurnT2", model="smollm2-135m"),
        blocks=(Block(BlockKind.TEXT, "Hello! I'm here to help with any kind of creative"),),
        usage=Usage(input_tokens=33, output_tokens=12, cached_tokens=32),
        finish=Finish(FinishReason.LENGTH, "max_tokens"),
    )


def test_a_thinking_block_is_kept_as_it_came() -> None:
    block = b'{ "type":"thinking", "thinking":"\\u0068m", "signature":"s", "later": 1 }'
    body = b'{"type":"message","content":[%b],"stop_reason":"end_turn"}' % block
    (read,) = EGRESS.read_reply(body, target()).blocks
    assert read == Block(BlockKind.REASONING, "hm", opaque=Opaque("anthropic_messages", block))


def test_a_recorded_count_is_read_and_written() -> None:
    tokens = EGRESS.read_count((TRANSCRIPTS / "llamacpp-count_tokens.json").read_bytes(), target())
    assert tokens == 33
    assert INGRESS.write_count(tokens) == b'{"input_tokens":33}'


@pytest.mark.parametrize("body", [b'{"input_tokens":-1}', b'{"input_tokens":"3"}', b"{}", b"[]"])
def test_what_is_no_count_is_a_problem(body: bytes) -> None:
    with pytest.raises(Problem):
        EGRESS.read_count(body, target())


def read_problem(status: int, error_type: str, message: str) -> Problem:
    body = msgspec.json.encode({"type": "error", "error": {"type": error_type, "message": message}})
    return EGRESS.read_problem(target(), status, {}, body)


@pytest.mark.parametrize(
    ("status", "error_type", "message", "kind"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", Kind.INVALID_REQUEST),
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", Kind.CONTEXT_TOO_LONG),
        (400, "invalid_request_error", "Output blocked by content filtering policy", Kind.CONTENT_FILTERED),
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", Kind.KEY_REFUSED),
        (401, "authentication_error", "invalid x-api-key", Kind.KEY_REFUSED),
        (402, "billing_error", "Payment required", Kind.KEY_REFUSED),
        (403, "permission_error", "No", Kind.KEY_REFUSED),
        (404, "not_found_error", "model: claude-9", Kind.NOT_FOUND),
        (413, "request_too_large", "Request exceeds the maximum size", Kind.TOO_LARGE),
        (429, "rate_limit_error", "Slow down", Kind.RATE_LIMITED),
        (500, "api_error", "Internal server error", Kind.UPSTREAM_FAILED),
        (504, "timeout_error", "Timed out", Kind.UPSTREAM_FAILED),
        (529, "overloaded_error", "Overloaded", Kind.UPSTREAM_FAILED),
    ],
)
def test_an_upstreams_error_says_who_is_at_fault(status: int, error_type: str, message: str, kind: Kind) -> None:
    assert read_problem(status, error_type, message).kind is kind


def test_an_overloaded_upstream_sends_the_attempt_elsewhere() -> None:
    assert read_problem(529, "overloaded_error", "Overloaded").retry is Retry.ELSEWHERE


@pytest.mark.parametrize(
    ("name", "kind"), [("error", Kind.INVALID_REQUEST), ("context-too-long", Kind.CONTEXT_TOO_LONG)]
)
def test_a_recorded_error_is_understood(name: str, kind: Kind) -> None:
    body = (TRANSCRIPTS / f"llamacpp-{name}.json").read_bytes()
    assert EGRESS.read_problem(target(), 400, {}, body).kind is kind


def test_a_recorded_failure_is_the_upstreams_own() -> None:
    body = (TRANSCRIPTS / "aimock-500.http").read_bytes().partition(b"\r\n\r\n")[2]
    assert EGRESS.read_problem(target(), 500, {}, body).kind is Kind.UPSTREAM_FAILED


def test_an_error_inside_a_good_status_is_an_error() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    with pytest.raises(Problem) as raised:
        EGRESS.read_reply(body, target())
    assert raised.value.kind is Kind.UPSTREAM_FAILED


@pytest.mark.parametrize("reason", [b"", b',"stop_reason":null'])
def test_a_message_that_does_not_say_why_it_ended_was_cut(reason: bytes) -> None:
    with pytest.raises(Problem) as caught:
        EGRESS.read_reply(b'{"type":"message","content":[{"type":"text","text":"Hel"}]%b}' % reason, target())
    assert caught.value.kind is Kind.TRUNCATED


def test_a_page_instead_of_a_stream_is_no_answer() -> None:
    problem = EGRESS.read_problem(target(), 200, {"content-type": "text/html"}, b"<html>")
    assert problem.kind is Kind.UPSTREAM_INVALID


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.sse")), ids=lambda path: path.stem)
def test_the_same_dialect_passes_every_payload_untouched_but_the_last_word(path: Path) -> None:
    frames = Framer().feed(path.read_bytes())
    forwarder = Forwarder(OPENING)
    sent = b"".join(forwarder.forward(one) for one in frames)
    assert Framer().feed(sent) == [one for one in frames if one.event != b"message_stop"]
    assert Framer().feed(forwarder.close()) == [Frame(b'{"type":"message_stop"}', b"message_stop")]


def test_the_upstreams_own_last_word_is_the_one_that_is_sent() -> None:
    forwarder = Forwarder(OPENING)
    assert forwarder.forward(Frame(b'{"type":"message_stop", "receipt":1}', b"message_stop")) == b""
    assert forwarder.forward(frame({"type": "ping"})) == b""
    assert forwarder.close() == b'event: message_stop\ndata: {"type":"message_stop", "receipt":1}\n\n'


def test_an_event_without_a_name_gets_that_of_its_type() -> None:
    sent = Forwarder(OPENING).forward(Frame(b'{"type":"ping",\n"n":1}'))
    assert sent == b'event: ping\ndata: {"type":"ping",\ndata: "n":1}\n\n'


@pytest.mark.parametrize("data", [b"[DONE]", b"", b": keep-alive", b'{"type":"a\\nb"}'])
def test_what_is_no_event_is_not_forwarded(data: bytes) -> None:
    assert Forwarder(OPENING).forward(Frame(data)) == b""
