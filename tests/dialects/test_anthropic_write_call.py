"""A call becomes Anthropic's request: told, refused by name, or dropped by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.anthropic_laws import thought
from dialects.anthropic_targets import KEY, target
from trunkline.core.call import (
    Audio,
    Call,
    ChoiceMode,
    Document,
    Extras,
    Format,
    Image,
    Inline,
    Message,
    Opaque,
    Reasoning,
    Role,
    Stored,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from trunkline.core.caller import Secret
from trunkline.core.catalog import Model, Quirks
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.anthropic_messages.sides import AnthropicMessages, AnthropicMessagesIngress

EGRESS, INGRESS = AnthropicMessages(), AnthropicMessagesIngress()
NAME = "anthropic_messages"
ASKED = Message(Role.USER, (Text("Hi"),))


def write(call: Call, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = EGRESS.write_call(call, target(**fields))
    return msgspec.json.decode(request.body), request.dropped


def said(*parts: Any, role: Role = Role.USER, **fields: Any) -> Call:
    return Call(messages=(Message(role, parts),), **fields)


def refused(call: Call, **fields: Any) -> str | None:
    with pytest.raises(Problem) as raised:
        write(call, **fields)
    assert raised.value.kind is Kind.INVALID_REQUEST
    return raised.value.param


def test_a_request_goes_out_with_the_vendors_headers() -> None:
    request = EGRESS.write_call(said(Text("Hi")), target(credential=Secret(KEY), headers=(("x-more", "1"),)))
    assert request.path == "/v1/messages"
    assert dict(request.headers) == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "anthropic-version": "2023-06-01",
        "x-more": "1",
        "x-api-key": KEY,
    }


def test_a_rows_own_version_replaces_ours() -> None:
    request = EGRESS.write_call(said(Text("Hi"), stream=False), target(headers=(("Anthropic-Version", "2030-01-01"),)))
    assert [value for name, value in request.headers if name.lower() == "anthropic-version"] == ["2030-01-01"]
    assert ("accept", "application/json") in request.headers


@pytest.mark.parametrize(
    ("call", "limit", "expected"),
    [
        (said(Text("Hi")), None, 4096),
        (said(Text("Hi")), 64_000, 64_000),
        (said(Text("Hi"), max_tokens=10_000, defaulted=frozenset({"max_tokens"})), 8192, 8192),
        (said(Text("Hi"), max_tokens=100), 8192, 100),
        (said(Text("Hi"), thinking=Thinking(budget_tokens=10_000)), None, 14_096),
    ],
)
def test_the_limit_that_the_dialect_insists_on_is_always_there(call: Call, limit: int | None, expected: int) -> None:
    assert write(call, model=Model(id="m", max_output_tokens=limit))[0]["max_tokens"] == expected


def test_an_explicit_limit_over_the_models_is_refused() -> None:
    assert refused(said(Text("Hi"), max_tokens=9000), model=Model(id="m", max_output_tokens=8192)) == "max_tokens"


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (said(Text("Hi"), temperature=1.5), "temperature"),
        (said(Text("Hi"), top_p=1.5), "top_p"),
        (said(Text("Hi"), n=2), "n"),
        (said(Text("Hi"), stop=("\n",)), "stop"),
        (said(Text("Hi"), format=Format()), "response_format"),
        (said(Text("Hi"), thinking=Thinking(budget_tokens=100)), "thinking.budget_tokens"),
        (said(Text("Hi"), thinking=Thinking(effort="heroic")), "thinking.effort"),
        (said(Text("Hi"), tools=(Tool(name="f", schema=b"[]"),)), "tools"),
        (said(Audio("AAAA", "wav")), "messages"),
        (said(Document(Inline("application/zip", "AAAA"))), "messages"),
        (said(Document(Inline("text/plain", "////"))), "messages"),
        (said(Image(Url("https://a.example/a.png")), role=Role.ASSISTANT), "messages"),
        (said(Image(Url("https://a.example/a.png")), role=Role.SYSTEM), "messages"),
        (said(Image(Stored("file_1"))), "file_id"),
        (said(Text(" ")), "messages"),
        (said(Reasoning("only a thought"), role=Role.ASSISTANT), "messages"),
    ],
)
def test_what_this_dialect_cannot_be_told_is_refused_by_name(call: Call, param: str) -> None:
    assert refused(call) == param


def test_a_default_temperature_is_clamped_and_left_out_where_the_model_thinks() -> None:
    default: dict[str, Any] = {"temperature": 1.3, "defaulted": frozenset({"temperature"})}
    assert write(said(Text("Hi"), **default))[0]["temperature"] == 1.0
    assert "temperature" not in write(said(Text("Hi"), thinking=Thinking(), **default))[0]


def test_a_row_that_takes_no_temperature_gets_none() -> None:
    quirks = Quirks(takes_temperature=False)
    assert refused(said(Text("Hi"), temperature=0.5), quirks=quirks) == "temperature"
    default = said(Text("Hi"), temperature=0.5, defaulted=frozenset({"temperature"}))
    assert "temperature" not in write(default, quirks=quirks)[0]


def test_turns_of_one_side_are_joined_and_a_tools_results_come_first() -> None:
    call = Call(
        messages=(
            Message(Role.ASSISTANT, (ToolCall("a", "f", "{}"), ToolCall("b", "f", '{"x": 1}'))),
            Message(Role.USER, (Text("and?"),)),
            Message(Role.TOOL, (ToolResult("a", (Text("1"),)),)),
            Message(Role.TOOL, (ToolResult("b", (), is_error=True),)),
        )
    )
    assert write(call)[0]["messages"] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "a", "name": "f", "input": {}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "1"}]},
                {"type": "tool_result", "tool_use_id": "b", "is_error": True},
                {"type": "text", "text": "and?"},
            ],
        },
    ]


def test_system_text_stands_before_the_conversation_and_a_later_one_is_named() -> None:
    first, later = Message(Role.SYSTEM, (Text("Be kind."),)), Message(Role.SYSTEM, (Text("Be brief."),))
    written, dropped = write(Call(messages=(first, ASKED, later)))
    assert [block["text"] for block in written["system"]] == ["Be kind.", "Be brief."]
    assert dropped == ("system.position",)
    assert write(Call(messages=(first, later, ASKED)))[1] == ()


def test_arguments_that_are_no_object_are_shown_to_the_model_as_it_wrote_them() -> None:
    written, _ = write(said(ToolCall("a", "f", '{"x": '), role=Role.ASSISTANT))
    assert written["messages"][0]["content"][0]["input"] == {"INVALID_JSON": '{"x": '}


def test_arguments_go_on_with_every_digit() -> None:
    call = said(ToolCall("a", "f", '{"n": 123456789012345678901234567890.10}'), role=Role.ASSISTANT)
    assert b'"input":{"n": 123456789012345678901234567890.10}' in EGRESS.write_call(call, target()).body


def test_an_id_with_letters_that_are_not_taken_is_spelled_another_way_alike_for_call_and_result() -> None:
    call = Call(
        messages=(
            Message(Role.ASSISTANT, (ToolCall("functions.f:0", "f", "{}"), ToolCall("functions_f_0", "f", "{}"))),
            Message(Role.TOOL, (ToolResult("functions.f:0", (Text("1"),)),)),
        )
    )
    asked, answered = write(call)[0]["messages"]
    first, second = (block["id"] for block in asked["content"])
    assert answered["content"][0]["tool_use_id"] == first != second
    assert first.replace("_", "").replace("-", "").isalnum()


def test_a_thought_goes_back_exactly_as_it_came() -> None:
    raw = b'{"signature":"s", "type":"thinking","thinking":"\\u0068m"}'
    call = said(Reasoning("changed", Opaque(NAME, raw)), Text("So."), role=Role.ASSISTANT)
    assert raw in EGRESS.write_call(call, target()).body


@pytest.mark.parametrize(
    "opaque",
    [
        None,
        Opaque("gemini", b'"sig"'),
        Opaque(NAME, b'{"type":"image","source":{"type":"file","file_id":"file_1"}}'),
        Opaque(NAME, b'"thinking"'),
        Opaque(NAME, b"not json"),
    ],
)
def test_a_thought_without_a_proof_of_this_dialect_is_left_out_and_named(opaque: Opaque | None) -> None:
    written, dropped = write(said(Reasoning("hm", opaque), Text("So."), role=Role.ASSISTANT))
    assert written["messages"][0]["content"] == [{"type": "text", "text": "So."}]
    assert dropped == ("reasoning",)


def in_the_middle(*before: Any) -> Call:
    return Call(
        messages=(
            ASKED,
            Message(Role.ASSISTANT, (*before, ToolCall("a", "f", "{}"))),
            Message(Role.TOOL, (ToolResult("a", (Text("1"),)),)),
        ),
        thinking=Thinking(budget_tokens=2000),
        tools=(Tool(name="f"),),
    )


def test_a_budget_is_given_up_where_the_thought_before_the_call_is_not_there() -> None:
    written, dropped = write(in_the_middle())
    assert "thinking" not in written
    assert dropped == ("thinking",)
    written, dropped = write(in_the_middle(thought("hm", "s")))
    assert written["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert dropped == ()


@pytest.mark.parametrize(
    ("thinking", "written", "effort"),
    [
        (Thinking(), {"type": "adaptive"}, None),
        (Thinking(is_on=False), {"type": "disabled"}, None),
        (Thinking(is_on=False, effort="none"), {"type": "disabled"}, None),
        (Thinking(effort="high", is_shown=False), {"type": "adaptive", "display": "omitted"}, "high"),
        (Thinking(effort="minimal"), {"type": "adaptive"}, "low"),
        (
            Thinking(budget_tokens=2000, is_shown=True),
            {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
            None,
        ),
    ],
)
def test_how_much_to_reason_is_told(thinking: Thinking, written: dict[str, Any], effort: str | None) -> None:
    request, _ = write(said(Text("Hi"), thinking=thinking))
    assert request["thinking"] == written
    assert request.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(
    ("choice", "is_parallel", "written"),
    [
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(ChoiceMode.REQUIRED), None, {"type": "any"}),
        (ToolChoice(ChoiceMode.NAMED, "f"), True, {"type": "tool", "name": "f", "disable_parallel_tool_use": False}),
        (ToolChoice(ChoiceMode.NONE), False, {"type": "none"}),
    ],
)
def test_whether_tools_are_called_is_told(choice: ToolChoice | None, is_parallel: bool | None, written: object) -> None:
    call = said(Text("Hi"), tools=(Tool(name="f"),), tool_choice=choice, parallel_tool_calls=is_parallel)
    assert write(call)[0]["tool_choice"] == written


def test_a_tool_to_call_where_there_are_no_tools_is_named() -> None:
    written, dropped = write(said(Text("Hi"), tool_choice=ToolChoice(ChoiceMode.REQUIRED)))
    assert "tool_choice" not in written
    assert dropped == ("tool_choice",)


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        (None, b'{"type":"object"}'),
        (b" {} ", b'{"type":"object"}'),
        (b'{"properties": {}}', b'{"type":"object","properties": {}}'),
        (b'{"type": "object"}', b'{"type": "object"}'),
    ],
)
def test_a_tools_schema_says_that_it_is_an_object(schema: bytes | None, written: bytes) -> None:
    request = EGRESS.write_call(said(Text("Hi"), tools=(Tool(name="f", schema=schema),)), target())
    assert b'"input_schema":' + written in request.body


def test_extras_of_this_dialect_are_written_back_and_others_are_named() -> None:
    own = Extras(NAME, (("cache_control", b'{"type":"ephemeral"}'), ("output_config", b'{"task_budget":{"total":1}}')))
    written, dropped = write(said(Text("Hi", extras=Extras("gemini", (("thought", b"true"),))), extras=own))
    assert written["cache_control"] == {"type": "ephemeral"}
    assert written["output_config"] == {"task_budget": {"total": 1}}
    assert dropped == ("thought",)
