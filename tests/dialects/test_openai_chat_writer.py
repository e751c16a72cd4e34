"""What clients of OpenAI's chat dialect read: chunk by chunk, whole, forwarded, or an error."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.targets import says
from trunkline.core.call import Opaque
from trunkline.core.problem import STATUS, Kind, Problem
from trunkline.core.reply import Block, BlockKind, Delta, End, Event, Finish, FinishReason, Head, Reply, Start, Usage
from trunkline.dialects.dialect import Opening
from trunkline.dialects.opaque import unwrap
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.dialects.openai_chat.writer import ERRORS
from trunkline.dialects.sse import Frame, Framer

INGRESS = OpenAIChatIngress()
OPENING = Opening(id="r1", model="fast", created=1_795_471_983)
WANTING = Opening(id="r1", model="fast", created=1_795_471_983, wants_usage=True)
STOP = Finish(FinishReason.STOP, "stop")


def chunks(*events: Event, opening: Opening = OPENING) -> list[Any]:
    data = INGRESS.writer(opening).write(events)
    return [frame.data if frame.data == b"[DONE]" else msgspec.json.decode(frame.data) for frame in Framer().feed(data)]


def test_an_answer_to_the_byte() -> None:
    events = [Head(id="up", model="gpt-4o"), Start(0, BlockKind.TEXT), Delta(0, 'Hi "é"'), End(0), STOP]
    head = (
        b'data: {"id":"chatcmpl-r1","object":"chat.completion.chunk","created":1795471983,"model":"gpt-4o","choices":['
    )
    rest = b',"logprobs":null,"finish_reason":null}]}\n\n'
    assert INGRESS.writer(OPENING).write(events) == (
        head + b'{"index":0,"delta":{"role":"assistant","content":""}' + rest
        + head + '{"index":0,"delta":{"content":"Hi \\"é\\""}'.encode() + rest
        + head + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
        + b"data: [DONE]\n\n"
    )  # fmt: skip


def test_without_a_head_the_clients_own_name_for_the_model_stands() -> None:
    assert chunks(Start(0, BlockKind.TEXT))[0]["model"] == "fast"


def test_the_provider_stands_on_every_chunk_and_in_a_whole_answer_as_at_openrouter() -> None:
    opening = msgspec.structs.replace(WANTING, provider="Anthropic")
    counted = Usage(input_tokens=1, output_tokens=1)
    *told, done = chunks(Head(model="m"), Start(0, BlockKind.TEXT), Delta(0, "a"), counted, STOP, opening=opening)
    assert done == b"[DONE]"
    assert [chunk["provider"] for chunk in told] == ["Anthropic"] * 4
    whole = msgspec.json.decode(INGRESS.write_reply(Reply(finish=STOP), opening))
    assert whole["provider"] == "Anthropic"


def test_events_one_by_one_give_the_same_bytes_as_all_at_once() -> None:
    events = [Head(model="m"), Start(0, BlockKind.TEXT), Delta(0, "a"), Delta(0, "b"), End(0), Usage(), STOP]
    one_by_one = INGRESS.writer(WANTING)
    assert b"".join(one_by_one.write([event]) for event in events) == INGRESS.writer(WANTING).write(events)


USAGE = Usage(
    input_tokens=9,
    output_tokens=3,
    cached_tokens=4,
    cache_write_tokens=0,
    reasoning_tokens=2,
    cost_nano=1_234_567_890,
)


def test_usage_goes_last_and_only_to_those_who_asked() -> None:
    told = chunks(Head(), USAGE, STOP, opening=WANTING)
    assert [chunk["usage"] for chunk in told[:-2]] == [None, None]
    assert told[-2]["choices"] == []
    assert told[-2]["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": 1.23456789,
    }
    assert told[-1] == b"[DONE]"
    assert all("usage" not in chunk for chunk in chunks(Head(), USAGE, STOP)[:-1])


def test_usage_with_a_count_that_is_not_known_is_not_told() -> None:
    finish, done = chunks(Usage(output_tokens=0), STOP, opening=WANTING)[-2:]
    assert (finish["choices"][0]["finish_reason"], finish["usage"]) == ("stop", None)
    assert done == b"[DONE]"
    reply = Reply(blocks=(Block(BlockKind.TEXT, "Yes."),), usage=Usage(input_tokens=3), finish=STOP)
    assert "usage" not in msgspec.json.decode(INGRESS.write_reply(reply, OPENING))


def test_calls_are_numbered_and_their_id_and_name_are_said_once() -> None:
    told = chunks(
        Start(0, BlockKind.TEXT), Delta(0, "x"), End(0),
        Start(1, BlockKind.TOOL_CALL, "a", "f"), Delta(1, '{"x"'), Delta(1, ":1}"), End(1),
        Start(2, BlockKind.TOOL_CALL, "b", "g"), End(2),
        Finish(FinishReason.TOOL_CALLS, "tool_use"),
    )  # fmt: skip
    deltas = [chunk["choices"][0]["delta"] for chunk in told[2:-1]]
    assert deltas == [
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {},
    ]
    assert told[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert told[-2]["choices"][0]["native_finish_reason"] == "tool_use"


def test_reasoning_and_refusals_have_their_own_fields() -> None:
    told = chunks(Start(0, BlockKind.REASONING), Delta(0, "Hm."), End(0), Start(1, BlockKind.REFUSAL), Delta(1, "No."))
    assert [chunk["choices"][0]["delta"] for chunk in told[1:]] == [{"reasoning": "Hm."}, {"refusal": "No."}]


@pytest.mark.parametrize("reason", FinishReason)
def test_every_finish_has_its_word(reason: FinishReason) -> None:
    assert chunks(Finish(reason))[-2]["choices"][0]["finish_reason"] == reason.value


FOREIGN = Opaque("anthropic_messages", b'{"signature":"s"}')


def test_a_foreign_proof_rides_on_reasoning_details_with_its_place() -> None:
    told = chunks(
        Start(0, BlockKind.REASONING), Delta(0, "Hm."), End(0, FOREIGN),
        Start(1, BlockKind.REASONING), Delta(1, "So"), Delta(1, "."), End(1, FOREIGN),
        Start(2, BlockKind.TOOL_CALL, "a", "f"), End(2, FOREIGN),
    )  # fmt: skip
    details = [entry for chunk in told for entry in chunk["choices"][0]["delta"].get("reasoning_details", [])]
    assert [(entry["type"], entry["id"], entry["format"], entry["index"]) for entry in details] == [
        ("reasoning.encrypted", "tl-0-3", "unknown", 0),
        ("reasoning.encrypted", "tl-3-6", "unknown", 1),
        ("reasoning.encrypted", "a", "unknown", 2),
    ]
    assert {unwrap(entry["data"]) for entry in details} == {FOREIGN}


def test_a_proof_of_this_dialect_is_told_as_it_came_and_never_cuts_its_event() -> None:
    raw = b'[{"type":"reasoning.text",\n"text":"Hm.\\n"}]'
    data = INGRESS.writer(OPENING).write([Start(0, BlockKind.REASONING), End(0, Opaque("openai_chat", raw))])
    frames = Framer().feed(data)
    assert len(frames) == 2
    assert msgspec.json.decode(frames[1].data)["choices"][0]["delta"] == {
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm.\n"}]
    }
    call = [Start(0, BlockKind.TOOL_CALL, "a", "f"), End(0, Opaque("openai_chat", b'{"google":\n{"s":1}}'))]
    frames = Framer().feed(INGRESS.writer(OPENING).write(call))
    assert msgspec.json.decode(frames[-1].data)["choices"][0]["delta"] == {
        "tool_calls": [{"index": 0, "extra_content": {"google": {"s": 1}}}]
    }


def test_a_whole_answer() -> None:
    reply = Reply(
        head=Head(id="up", model="gpt-4o"),
        blocks=(
            Block(BlockKind.REASONING, "Hm.", opaque=FOREIGN),
            Block(BlockKind.TEXT, "Yes."),
            Block(BlockKind.TOOL_CALL, "{}", "a", "f"),
        ),
        usage=Usage(input_tokens=1, output_tokens=2, cost_nano=1),
        finish=Finish(FinishReason.TOOL_CALLS, "tool_use"),
    )
    body = INGRESS.write_reply(reply, OPENING)
    assert b'"cost":0.000000001' in body
    told = msgspec.json.decode(body)
    words, proof = told["choices"][0]["message"].pop("reasoning_details")
    assert words == {"type": "reasoning.text", "text": "Hm.", "id": "tl-0-3", "format": "unknown", "index": 0}
    assert (unwrap(proof["data"]), proof["id"], proof["index"]) == (FOREIGN, "tl-0-3", 1)
    assert told == {
        "id": "chatcmpl-r1",
        "object": "chat.completion",
        "created": 1_795_471_983,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Yes.",
                    "refusal": None,
                    "reasoning": "Hm.",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
                "native_finish_reason": "tool_use",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 1e-9},
    }


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (None, ""),
        (Block(BlockKind.TOOL_CALL, "{}", "a", "f"), None),
        (Block(BlockKind.REFUSAL, "No."), None),
        (Block(BlockKind.REASONING, "Hm."), ""),
    ],
)
def test_a_whole_answer_without_text(block: Block | None, content: str | None) -> None:
    reply = Reply(blocks=() if block is None else (block,), finish=STOP)
    assert msgspec.json.decode(INGRESS.write_reply(reply, OPENING))["choices"][0]["message"]["content"] == content


@pytest.mark.parametrize("kind", Kind)
def test_every_problem_has_its_type_and_code(kind: Kind) -> None:
    problem = Problem(kind, "What failed.", param="stop")
    type_, code = ERRORS[kind]
    expected = {"error": {"message": "What failed.", "type": type_, "param": "stop", "code": code}}
    assert msgspec.json.decode(INGRESS.write_problem(problem, as_json=True)) == expected
    in_stream = INGRESS.write_problem(problem)
    assert in_stream == b"data: " + INGRESS.write_problem(problem, as_json=True) + b"\n\n"
    assert (type_ == "server_error") is (STATUS[kind] >= 500)


def test_a_model_that_nobody_serves_has_openais_code() -> None:
    problem = Problem(Kind.NOT_FOUND, "No.", param="model")
    assert msgspec.json.decode(INGRESS.write_problem(problem, as_json=True))["error"]["code"] == "model_not_found"


USED = {"prompt_tokens": 1}


def forward(data: bytes, *, event: bytes | None = None, opening: Opening = OPENING) -> bytes:
    return INGRESS.forwarder(opening).forward(Frame(data, event))


@pytest.mark.parametrize(
    "data",
    [
        msgspec.json.encode(says({"content": "Hi"}, x={"y": 1})),
        b'{ "choices" : [ { "delta":{"new":1e2} } ] , "usage" : {"prompt_tokens": 1} }',
        b'{"choices":[],"prompt_filter_results":[1]}',
        b'{"choices":[],"usage":null}',
    ],
)
@pytest.mark.parametrize("event", [None, b"message", b"error"])
def test_a_chunk_goes_on_untouched_and_without_a_name(data: bytes, event: bytes | None) -> None:
    for opening in (OPENING, WANTING):
        assert forward(data, event=event, opening=opening) == b"data: " + data + b"\n\n"


@pytest.mark.parametrize("choices", [{"choices": []}, {"choices": None}, {}])
def test_usage_alone_goes_only_to_those_who_asked_and_with_a_list_of_choices(choices: dict[str, Any]) -> None:
    data = msgspec.json.encode({"id": "x", **choices, "usage": USED})
    assert forward(data) == b""
    (frame,) = Framer().feed(forward(data, opening=WANTING))
    assert msgspec.json.decode(frame.data) == {"id": "x", "choices": [], "usage": USED}


@pytest.mark.parametrize(
    "data", [b"", b"[DONE]", b": keep-alive", b'{"type":"ping"}', b"{}", b'{"usage":null}', b"null", b"x", b"[]"]
)
def test_what_is_no_chunk_is_not_forwarded(data: bytes) -> None:
    assert forward(data, opening=WANTING) == b""


def test_the_sentinel_comes_at_the_end_and_once() -> None:
    forwarder = INGRESS.forwarder(OPENING)
    assert forwarder.forward(Frame(b"[DONE]")) == b""
    assert forwarder.close() == b"data: [DONE]\n\n"


def test_a_payload_of_several_lines_stays_one_event() -> None:
    data = b'{"choices":[\n]}'
    assert Framer().feed(forward(data)) == [Frame(data)]
