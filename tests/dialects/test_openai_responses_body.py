"""A responses request on its way through: what is seen of it, what is refused, and what is changed in it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.admission import admitted, shallow
from dialects.responses_streams import OPENING, STREAMS, frames_of
from dialects.targets import KEY, target
from trunkline.core.call import Call, Envelope, Message, Role, Text
from trunkline.core.catalog import Model, Origin
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.dialect import top_level
from trunkline.dialects.openai_responses.sides import OpenAIResponses
from trunkline.dialects.openai_responses.state import provider_state, provider_tool
from trunkline.dialects.sse import Frame, Framer

DIALECT = OpenAIResponses()


def with_keys(data: bytes) -> Envelope:
    return Envelope(model="m", stream=True, keys=top_level(data))


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "gpt-5.2", "input": "Hi", **fields})


def refused(**fields: Any) -> str | None:
    with pytest.raises(Problem) as caught:
        admitted(DIALECT, body(**fields))
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value.param


def test_peek_sees_what_planning_needs() -> None:
    seen = shallow(DIALECT, body(stream=True, max_output_tokens=9))
    assert seen == Envelope(model="gpt-5.2", stream=True, max_tokens=9, wants_usage=True)
    assert shallow(DIALECT, body()) == Envelope(model="gpt-5.2", wants_usage=True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": " "}, "model"),
        ({"model": 7}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"stream": 1}, "stream"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "9"}, "max_output_tokens"),
        ({"input": 7}, "input"),
        ({"tools": 7}, "tools"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields) == param


ITEM = {"role": "user", "content": [{"type": "input_text", "text": "x"}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"background_options": {"continuation_id": "x"}}, "background_options"),
        ({"prompt_cache_options": {"comparison_response_id": "r"}}, "prompt_cache_options.comparison_response_id"),
        ({"input": [ITEM, {"type": "item_reference", "id": "msg_1"}]}, "input[1].type"),
        ({"input": [{"id": "msg_1"}]}, "input[0].id"),
        ({"input": [{"type": None, "id": "msg_1"}]}, "input[0].id"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"file_id": "file-1"}]}]},
            "input[0].output[0].file_id",
        ),
        (
            {"input": [{"type": "computer_call_output", "call_id": "c", "output": {"file_id": "file-1"}}]},
            "input[0].output.file_id",
        ),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, "input[0].type"),
        ({"input": [{"type": "code_interpreter_call", "container_id": "cntr_1"}]}, "input[0].container_id"),
        (
            {"input": [{"type": "shell_call", "environment": {"container_id": "cntr_1"}}]},
            "input[0].environment.container_id",
        ),
        ({"input": [{"type": "additional_tools", "tools": [{"type": "mcp"}]}]}, "input[0].tools[0].type"),
    ],
)
def test_what_names_the_provider_s_state_is_refused_by_its_path(fields: dict[str, Any], param: str) -> None:
    assert provider_state(top_level(body(**fields))) == param
    assert refused(**fields) == param


def test_a_stored_file_is_seen_however_its_name_is_written() -> None:
    data = rb'{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file\u005fid":"f"}]}]}'
    assert provider_state(top_level(data)) == "input[0].content[0].file_id"


KINDS = ["web_search", "web_search_preview", "file_search", "code_interpreter", "mcp", "image_generation", "shell"]


@pytest.mark.parametrize("kind", [*KINDS, "tool_search", "programmatic_tool_calling", "of_tomorrow", None])
def test_a_tool_that_the_provider_runs_is_refused_by_its_path(kind: str | None) -> None:
    tools = [{"type": "function", "name": "f"}, {"type": kind}]
    assert provider_tool(top_level(body(tools=tools))) == "tools[1].type"
    assert refused(tools=tools) == "tools[1].type"


def test_what_names_nothing_of_the_provider_s_passes() -> None:
    tools = [
        {"type": "function", "name": "f", "parameters": {"file_id": {"type": "string"}}},
        {"type": "custom", "name": "apply_patch"},
        {"type": "shell", "environment": {"type": "local"}},
    ]
    items = [
        ITEM,
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"file_id":"x"}'},
        {"type": "function_call_output", "call_id": "c", "output": '{"file_id":"x"}'},
        {"role": "user", "content": "my file_id is item_reference"},
    ]
    data = body(tools=tools, input=items, previous_response_id=None, conversation=None, background=False, store=True)
    assert provider_state(top_level(data)) is None
    assert provider_tool(top_level(data)) is None
    admitted(DIALECT, data)


def spliced(data: bytes) -> dict[str, bytes]:
    request = DIALECT.splice(data, with_keys(data), target())
    return {name: bytes(raw) for name, raw in top_level(request.body).items()}


def test_splice_keeps_odd_spelling_and_the_order_of_keys() -> None:
    data = rb'{ "input" : [ {"role":"user", "content" : "\u0041 1.50"} ], "top_p":1.50, "model":"x", "n\u00e9w":{} }'
    request = DIALECT.splice(data, with_keys(data), target())
    assert request.body == (
        rb'{"input":[ {"role":"user", "content" : "\u0041 1.50"} ],"top_p":1.50,"model":"openai/gpt-4o",'
        + '"néw":{},"store":false}'.encode()
    )


def test_splice_stores_nothing_and_takes_the_planner_s_fields_out() -> None:
    after = spliced(body(store=True, models=["a"], fallbacks=[], provider={"order": []}))
    assert after == {"model": b'"openai/gpt-4o"', "input": b'"Hi"', "store": b"false"}


@pytest.mark.parametrize(
    ("fields", "include"),
    [
        ({"reasoning": {"effort": "low"}}, ["reasoning.encrypted_content"]),
        ({"reasoning": {}, "include": ["a"]}, ["a", "reasoning.encrypted_content"]),
        ({"reasoning": {"effort": "none"}}, None),
        ({"reasoning": None}, None),
        ({"reasoning": {"effort": 7}}, None),
        ({}, None),
        ({"reasoning": {}, "include": ["reasoning.encrypted_content"]}, ["reasoning.encrypted_content"]),
    ],
)
def test_where_the_client_reasons_the_encrypted_thoughts_are_asked_for(
    fields: dict[str, Any], include: list[str] | None
) -> None:
    told = spliced(body(**fields)).get("include")
    assert (None if told is None else msgspec.json.decode(told)) == include


def test_thoughts_that_this_provider_cannot_read_stay_out_and_are_named() -> None:
    readable = b'{"type":"reasoning","id":"rs_2","summary":[],  "encrypted_content":"gAAA"}'
    spoken = b'{"type":"reasoning","id":"rs_3","summary":[],"content":[{"type":"reasoning_text","text":"Hm"}]}'
    call = b'{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}'
    lost = b'{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":null,"content":[]}'
    foreign = b'{"type":"reasoning","id":"rs_4","summary":[],"encrypted_content":"~tl1.call.eA"}'
    data = b'{"model":"m","input":[' + b", ".join([lost, readable, spoken, call, foreign]) + b"]}"
    request = DIALECT.splice(data, with_keys(data), target())
    assert bytes(top_level(request.body)["input"]) == b"[" + b",".join([readable, spoken, call]) + b"]"
    assert request.dropped == ("reasoning", "reasoning.signature")


def test_a_limit_over_the_target_s_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        DIALECT.splice(body(), Envelope(max_tokens=101), target(model=Model(id="m", max_output_tokens=100)))
    assert caught.value.param == "max_output_tokens"


@pytest.mark.parametrize("is_stream", [True, False])
def test_the_request_goes_to_responses_with_the_key_as_bearer(is_stream: bool) -> None:
    there = target(headers=(("x-title", "t"),), path="/v1", origin=Origin("https", "api.openai.com", 443))
    call = Call(messages=(Message(Role.USER, (Text("Hi"),)),), stream=is_stream)
    accept = "text/event-stream" if is_stream else "application/json"
    envelope = msgspec.structs.replace(with_keys(body()), stream=is_stream)
    for request in (DIALECT.write_call(call, there), DIALECT.splice(body(), envelope, there)):
        assert (request.method, request.path) == ("POST", "/v1/responses")
        assert request.headers == (
            ("content-type", "application/json"),
            ("accept", accept),
            ("x-title", "t"),
            ("authorization", f"Bearer {KEY}"),
        )
    told = msgspec.json.decode(DIALECT.write_call(call, there).body)
    assert told == {"model": "openai/gpt-4o", "input": [{"type": "message", "role": "user", "content": "Hi"}]} | (
        {"stream": True, "store": False} if is_stream else {"store": False}
    )


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_frames_are_passed_on_with_their_names_and_payloads_untouched(path: Any) -> None:
    frames = Framer().feed(path.read_bytes())
    forwarder = DIALECT.forwarder(OPENING)
    out = b"".join(forwarder.forward(one) for one in frames) + forwarder.close()
    assert Framer().feed(out) == frames


def test_a_payload_of_several_lines_and_one_without_a_name_stay_what_they_are() -> None:
    for one in (Frame(b'{\n"type":\n"x"}', b"x"), Frame(b'{"type":"x"}')):
        assert Framer().feed(DIALECT.forwarder(OPENING).forward(one)) == [one]


def test_a_sentinel_waits_for_the_end_and_none_is_made_up() -> None:
    forwarder = DIALECT.forwarder(OPENING)
    assert forwarder.close() == b""
    assert forwarder.forward(Frame(b"[DONE]")) == b""
    assert forwarder.close() == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("last", "number"), [(b'{"type":"x","sequence_number":7}', 8), (b'{"type":"x"}', 2**31 - 1), (None, 2**31 - 1)]
)
def test_a_forwarded_stream_that_breaks_is_numbered_on(last: bytes | None, number: int) -> None:
    forwarder = DIALECT.forwarder(OPENING)
    if last is not None:
        forwarder.forward(Frame(last))
    (event,) = frames_of(forwarder.write_problem(Problem(Kind.TRUNCATED, "It broke.")))
    assert (event["type"], event["sequence_number"]) == ("error", number)
