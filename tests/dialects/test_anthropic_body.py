"""Anthropic's requests as they pass: what is seen of them, what a tenant may not name, what is spliced."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.admission import admitted, shallow
from dialects.anthropic_targets import FULL, body, target
from trunkline.core.call import (
    Envelope,
    Opaque,
    Operation,
)
from trunkline.core.catalog import Model
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.anthropic_messages.sides import AnthropicMessages, AnthropicMessagesIngress
from trunkline.dialects.opaque import wrap

EGRESS, INGRESS = AnthropicMessages(), AnthropicMessagesIngress()
COUNT = AnthropicMessagesIngress(Operation.COUNT)


def test_peek_sees_what_planning_needs() -> None:
    assert shallow(INGRESS, body(stream=True)) == Envelope(model="m", stream=True, max_tokens=100, wants_usage=True)


def test_a_count_of_tokens_is_its_own_operation() -> None:
    envelope = COUNT.peek(body(max_tokens=None))
    assert msgspec.structs.replace(envelope, keys={}) == Envelope(
        model="m", operation=Operation.COUNT, wants_usage=True
    )
    request = EGRESS.splice(body(max_tokens=None), envelope, target())
    assert request.path == "/v1/messages/count_tokens"
    assert msgspec.json.decode(request.body) == {**msgspec.json.decode(body(max_tokens=None)), "model": "claude-opus-5"}


def test_a_count_of_a_call_asks_only_about_the_prompt() -> None:
    call = INGRESS.read_call(body(**FULL))
    request = EGRESS.write_count_call(call, target())
    assert request.path == "/v1/messages/count_tokens"
    asked = {"model", "system", "messages", "tools", "tool_choice", "thinking", "output_config"}
    assert msgspec.json.decode(request.body).keys() == asked


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 1}, "model"),
        ({"model": " "}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": 1}]}, "tools"),
    ],
)
def test_peek_names_the_field_that_is_wrong(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Problem) as raised:
        admitted(INGRESS, body(**fields))
    assert (raised.value.kind, raised.value.param) == (Kind.INVALID_REQUEST, param)


FILE = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "container_1"}, "container"),
        ({"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "thread"),
        ({"diagnostics": {"previous_message_id": "msg_1"}}, "diagnostics"),
        ({"user_profile_id": "p"}, "user_profile_id"),
        ({"messages": [{"role": "user", "content": [FILE]}]}, "messages[0].content[0].source.file_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [FILE]}]}]},
            "messages[0].content[0].content[0].source.file_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]},
            "messages[0].content[0].file_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "invented_later", "in": [{"file_id": "f"}]}]}]},
            "messages[0].content[0].in[0].file_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {"content": [FILE]}}]}]},
            "messages[0].content[0].source.content[0].source.file_id",
        ),
        ({"system": [{"type": "image", "source": {"file_id": "f"}}]}, "system[0].source.file_id"),
        ({"tools": [{"type": "web_search_20250305"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}, {"type": "code_execution_20260521"}]}, "tools[1].type"),
        ({"tools": [{"type": "invented_later"}]}, "tools[0].type"),
        ({"mcp_servers": [{"type": "url", "url": "https://a.example"}]}, "mcp_servers"),
    ],
)
def test_what_a_tenant_may_not_name_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Problem) as raised:
        admitted(INGRESS, body(**fields))
    assert (raised.value.kind, raised.value.param) == (Kind.INVALID_REQUEST, param)


def test_a_file_that_is_spelled_with_escapes_is_found_all_the_same() -> None:
    sent = body(messages=[{"role": "user", "content": [FILE]}]).replace(b'"file_id"', b'"\\u0066ile_id"')
    with pytest.raises(Problem) as raised:
        admitted(INGRESS, sent)
    assert raised.value.param == "messages[0].content[0].source.file_id"


@pytest.mark.parametrize(
    "fields",
    [
        {"container": None, "mcp_servers": []},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": {"file_id": "mine"}}]}]},
        {"messages": [{"role": "user", "content": 'the "file_id"'}]},
        {"messages": [{"role": "user", "content": [{"type": "search_result", "source": "https://a.example"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "invented_later", "source": [1], "content": {"a": 1}}]}]},
        {"tools": [{"type": "bash_20250124"}, {"type": "custom"}, {"type": "computer_toolset_20260801"}]},
    ],
)
def test_what_only_looks_like_it_passes(fields: dict[str, Any]) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    assert admitted(INGRESS, msgspec.json.encode(request)).model == "m"


def splice(sent: bytes, model: Model | None = None) -> tuple[bytes, tuple[str, ...]]:
    request = EGRESS.splice(sent, INGRESS.peek(sent), target(model=model))
    return request.body, request.dropped


def test_a_body_goes_on_as_it_came_but_for_the_model() -> None:
    sent = b'{ "x": 1.0e2 , "model":"m", "max_tokens": 5,"messages":[ {"role":"user","content":"\\u0041"} ] }'
    spliced, dropped = splice(sent)
    assert spliced == (
        b'{"x":1.0e2,"model":"claude-opus-5","max_tokens":5,"messages":[ {"role":"user","content":"\\u0041"} ]}'
    )
    assert dropped == ()


def test_a_body_without_a_limit_gets_the_models() -> None:
    spliced, _ = splice(body(max_tokens=None), Model(id="m", max_output_tokens=64_000))
    assert msgspec.json.decode(spliced)["max_tokens"] == 64_000


def test_the_planners_fields_do_not_go_upstream() -> None:
    spliced, _ = splice(body(models=["a"], fallbacks=[{"model": "b"}], provider={"only": ["c"]}))
    assert msgspec.json.decode(spliced).keys() == {"model", "max_tokens", "messages"}


def test_thoughts_that_another_provider_proved_or_nobody_did_are_taken_out_of_a_body() -> None:
    own = {"type": "thinking", "thinking": "own", "signature": "EqQB"}
    sent = body(
        messages=[
            {"role": "user", "content": "~~tl1. is no signature"},
            {"role": "assistant", "content": [own, {"type": "thinking", "thinking": "x", "signature": ""}]},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": wrap(Opaque("gemini", b"1"))}]},
            {"role": "user", "content": [{"type": "text", "text": '"~tl1.'}]},
        ]
    )
    spliced, dropped = splice(sent)
    assert msgspec.json.decode(spliced)["messages"] == [
        {"role": "user", "content": "~~tl1. is no signature"},
        {"role": "assistant", "content": [own]},
        {"role": "user", "content": [{"type": "text", "text": '"~tl1.'}]},
    ]
    assert dropped == ("reasoning",)


FOREIGN = {"type": "thinking", "thinking": "x", "signature": wrap(Opaque("gemini", b"1"))}
OWN = {"type": "thinking", "thinking": "own", "signature": "EqQB"}
CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "18"}
BUDGET = {"type": "enabled", "budget_tokens": 2048}


@pytest.mark.parametrize(
    ("thinking", "turns", "is_kept"),
    [
        (BUDGET, [("assistant", [FOREIGN, CALL]), ("user", [RESULT])], False),
        (
            BUDGET,
            [("assistant", [FOREIGN, CALL]), ("user", [RESULT]), ("assistant", [CALL]), ("user", [RESULT])],
            False,
        ),
        (BUDGET, [("assistant", [OWN, FOREIGN, CALL]), ("user", [RESULT])], True),
        (
            BUDGET,
            [("assistant", [OWN, CALL]), ("user", [RESULT]), ("assistant", [FOREIGN, CALL]), ("user", [RESULT])],
            True,
        ),
        (BUDGET, [("assistant", [OWN]), ("user", "And?"), ("assistant", [FOREIGN, CALL]), ("user", [RESULT])], False),
        (BUDGET, [("assistant", [FOREIGN, CALL]), ("user", [RESULT]), ("assistant", "So"), ("user", "And?")], True),
        ({"type": "adaptive"}, [("assistant", [FOREIGN, CALL]), ("user", [RESULT])], True),
    ],
)
def test_a_tools_result_whose_thought_is_gone_is_answered_without_a_budget_for_thinking(
    thinking: dict[str, Any], turns: list[tuple[str, Any]], is_kept: bool
) -> None:
    messages = [{"role": role, "content": content} for role, content in [("user", "Hi"), *turns]]
    spliced, dropped = splice(body(messages=messages, thinking=thinking))
    assert msgspec.json.decode(spliced).get("thinking") == (thinking if is_kept else None)
    assert dropped == (("reasoning",) if is_kept else ("reasoning", "thinking"))


@pytest.mark.parametrize("sent", [b'{"messages":' + b"[" * 100_000, body(model="a")[:-1] + b',"model":"b"}'])
def test_nesting_without_end_and_keys_that_come_twice_are_refused(sent: bytes) -> None:
    with pytest.raises(Problem):
        admitted(INGRESS, sent)
