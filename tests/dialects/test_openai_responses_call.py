"""A responses request becomes a Call and back, and what the dialect has no word for is named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.targets import target
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
    Part,
    Reasoning,
    Refusal,
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
from trunkline.core.catalog import Model, Quirks
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.openai_responses.sides import OpenAIResponses

DIALECT = OpenAIResponses()
NAME = "openai_responses"


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "gpt-5.2", "input": "Hi", **fields})


def read(**fields: Any) -> Call:
    return DIALECT.read_call(body(**fields))


def sent(call: Call, **fields: Any) -> dict[str, Any]:
    return msgspec.json.decode(DIALECT.write_call(call, target(**fields)).body)


def user(*parts: Part) -> Message:
    return Message(Role.USER, parts)


def asks(*messages: Message, **fields: Any) -> Call:
    return Call(messages=messages or (user(Text("Hi")),), stream=False, **fields)


def test_a_string_is_what_the_user_says_and_instructions_are_the_system_s() -> None:
    assert read(instructions="Be brief.").messages == (
        Message(Role.SYSTEM, (Text("Be brief."),)),
        user(Text("Hi")),
    )


def test_items_become_messages_and_the_assistant_s_in_a_row_are_one() -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
            "encrypted_content": "gAAA",
        },
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Looking.", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "Not that."},
            ],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call_output", "id": "o", "call_id": "call_1", "output": "rain", "status": "completed"},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "sun"}]},
    ]
    assert read(input=items).messages == (
        Message(Role.SYSTEM, (Text("Be brief."),)),
        user(Text("Weather?")),
        Message(
            Role.ASSISTANT,
            (
                Reasoning("One.\n\nTwo.", Opaque(NAME, b'"gAAA"')),
                Text("Looking."),
                Refusal("Not that."),
                ToolCall("call_1", "f", '{"a":1}'),
            ),
        ),
        Message(Role.TOOL, (ToolResult("call_1", (Text("rain"),)),)),
        Message(Role.TOOL, (ToolResult("call_1", (Text("sun"),)),)),
    )


def test_media_is_inline_or_behind_an_address() -> None:
    content = [
        {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "high"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"},
        {"type": "input_file", "file_url": "https://a.example/b.pdf"},
        {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "wav"}},
    ]
    assert read(input=[{"role": "user", "content": content}]).messages[0].parts == (
        Image(Url("https://a.example/b.png"), "high"),
        Image(Inline("image/png", "AAAA")),
        Document(Inline("application/pdf", "BBBB"), "a.pdf"),
        Document(Url("https://a.example/b.pdf")),
        Audio("CCCC", "wav"),
    )


def test_settings_are_read_and_the_rest_is_kept_raw() -> None:
    call = read(
        stream=True,
        temperature=1,
        top_p=0.5,
        max_output_tokens=64,
        top_logprobs=2,
        include=["message.output_text.logprobs", "reasoning.encrypted_content", "web_search_call.results"],
        parallel_tool_calls=False,
        tools=[
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "defer_loading": True}
        ],
        tool_choice={"type": "function", "name": "f"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"a": 1}, "strict": True}, "verbosity": "low"},
        reasoning={"effort": "high", "summary": "detailed"},
        metadata={"a": "b"},
        safety_identifier="who",
        service_tier="flex",
        store=True,
        truncation="disabled",
        previous_response_id=None,
        prompt_cache_key="k",
        models=["a"],
    )
    assert call == Call(
        messages=(user(Text("Hi")),),
        stream=True,
        temperature=1.0,
        top_p=0.5,
        max_tokens=64,
        logprobs=True,
        top_logprobs=2,
        parallel_tool_calls=False,
        tools=(
            Tool(
                name="f",
                schema=b'{"type":"object"}',
                is_strict=True,
                extras=Extras(NAME, (("defer_loading", b"true"),)),
            ),
        ),
        tool_choice=ToolChoice(ChoiceMode.NAMED, "f"),
        format=Format(schema=b'{"a":1}', name="n", is_strict=True),
        thinking=Thinking(effort="high", is_shown=True),
        metadata=b'{"a":"b"}',
        user="who",
        service_tier="flex",
        extras=Extras(
            NAME,
            (
                ("prompt_cache_key", b'"k"'),
                ("include", b'["web_search_call.results"]'),
                ("safety_identifier", b'"who"'),
                ("text.verbosity", b'"low"'),
                ("reasoning.summary", b'"detailed"'),
            ),
        ),
    )
    again = sent(call)
    assert again["text"]["verbosity"] == "low"
    assert again["reasoning"] == {"effort": "high", "summary": "detailed"}
    assert again["include"] == [
        "web_search_call.results",
        "message.output_text.logprobs",
        "reasoning.encrypted_content",
    ]
    assert again["tools"][0]["defer_loading"] is True
    assert again["store"] is False


ITEM: dict[str, Any] = {"role": "user"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": []}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"id": "x"}]}, "input[0].id"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "critic", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{**ITEM, "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{**ITEM, "content": [{"type": "input_video"}]}]}, "input[0].content[0].type"),
        ({"input": [{**ITEM, "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0].file_id"),
        ({"input": [{**ITEM, "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data"),
        ({"input": [{**ITEM, "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        (
            {"input": [{**ITEM, "content": [{"type": "input_image", "image_url": "data:x"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"instructions": ["x"]}, "instructions"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"reasoning": "high"}, "reasoning"),
        ({"metadata": []}, "metadata"),
        ({"include": "x"}, "include"),
        ({"truncation": "auto"}, "truncation"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Problem) as caught:
        read(**fields)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


def test_what_cannot_be_told_is_named_as_dropped() -> None:
    call = asks(
        Message(Role.USER, (Text("Hi", is_cached=True),), name="ann", extras=Extras("openai_chat", (("x", b"1"),))),
        Message(
            Role.ASSISTANT,
            (
                Reasoning("Hm."),
                Reasoning("Hm.", Opaque("gemini", b"{}")),
                ToolCall("c", "f", "{}", Opaque("gemini", b"{}")),
            ),
        ),
        Message(Role.TOOL, (ToolResult("c", (Text("no"),), name="f", is_error=True),)),
        top_k=5,
        seed=1,
        frequency_penalty=0.5,
        presence_penalty=0.0,
        top_logprobs=2,
        thinking=Thinking(budget_tokens=9000),
        extras=Extras("anthropic_messages", (("mcp_servers", b"[]"),)),
    )
    request = DIALECT.write_call(call, target())
    assert request.dropped == (
        "x",
        "name",
        "cache_control",
        "reasoning",
        "reasoning.signature",
        "tool_call.signature",
        "tool_result.is_error",
        "tool_result.name",
        "top_k",
        "seed",
        "frequency_penalty",
        "reasoning.budget_tokens",
        "mcp_servers",
    )
    told = msgspec.json.decode(request.body)
    assert told["reasoning"] == {"effort": "medium"}
    assert [item["type"] for item in told["input"]] == ["message", "function_call", "function_call_output"]


def test_an_assistants_words_are_written_so_that_servers_need_no_id_of_them() -> None:
    one = Message(Role.ASSISTANT, (Text("Who's there?"),))
    many = Message(Role.ASSISTANT, (Text("a"), Refusal("b")))
    told = sent(Call(messages=(user(Text("Hi")), one, user(Text("Orange.")), many)))
    assert told["input"][1] == {"type": "message", "role": "assistant", "content": "Who's there?"}
    assert told["input"][3]["content"] == [
        {"type": "output_text", "text": "a", "annotations": []},
        {"type": "refusal", "refusal": "b"},
    ]


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (asks(n=2), "n"),
        (asks(stop=("END",)), "stop"),
        (asks(max_tokens=101), "max_tokens"),
        (asks(temperature=0.5), "temperature"),
        (asks(user(Document(Stored("file-1")))), "file_id"),
        (asks(Message(Role.ASSISTANT, (Image(Url("https://a.example/b.png")),))), "messages"),
    ],
)
def test_what_would_change_the_meaning_is_refused(call: Call, param: str) -> None:
    small = target(model=Model(id="m", max_output_tokens=100), quirks=Quirks(takes_temperature=False))
    with pytest.raises(Problem) as caught:
        DIALECT.write_call(call, small)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


def test_defaults_are_clamped_or_left_out() -> None:
    call = asks(max_tokens=101, temperature=0.7, defaulted=frozenset({"max_tokens", "temperature"}))
    told = sent(call, model=Model(id="m", max_output_tokens=100), quirks=Quirks(takes_temperature=False))
    assert told["max_output_tokens"] == 100
    assert "temperature" not in told


def test_a_thought_goes_back_with_its_proof_as_it_came() -> None:
    raw = b'"g\\u0041AA_-=="'
    request = DIALECT.write_call(
        asks(user(Text("Hi")), Message(Role.ASSISTANT, (Reasoning("Hm.", Opaque(NAME, raw)),))), target()
    )
    assert b'"encrypted_content":' + raw in request.body
    assert request.dropped == ()


@pytest.mark.parametrize(
    ("thinking", "told"),
    [
        (Thinking(is_on=False), {"effort": "none"}),
        (Thinking(effort="low"), {"effort": "low"}),
        (Thinking(budget_tokens=1024), {"effort": "low"}),
        (Thinking(budget_tokens=32000, is_shown=True), {"effort": "high", "summary": "auto"}),
        (Thinking(effort="low", budget_tokens=32000), {"effort": "low"}),
    ],
)
def test_thinking_is_asked_for_with_its_proof(thinking: Thinking, told: dict[str, str]) -> None:
    request = sent(asks(thinking=thinking))
    assert request["reasoning"] == told
    assert request.get("include") == (["reasoning.encrypted_content"] if thinking.is_on else None)


def test_a_function_that_is_not_said_to_be_strict_is_not() -> None:
    assert sent(asks(tools=(Tool(name="f"),)))["tools"] == [
        {"type": "function", "name": "f", "parameters": None, "strict": False}
    ]


NAMES = [
    *("type", "role", "content", "input", "text", "image_url", "file_data", "summary", "tools", "name", "format"),
    *("call_id", "arguments", "output", "reasoning", "effort", "include", "tool_choice", "encrypted_content", "model"),
]
WORDS = ["message", "user", "assistant", "input_text", "function_call", "reasoning", "function", "~tl1.call.eA", "auto"]


@pytest.mark.parametrize("number", ["1e999", "9" * 5000, "-" + "9" * 400])
def test_a_number_without_bounds_is_a_problem_of_the_caller_s(number: str) -> None:
    for name in ("temperature", "max_output_tokens", "top_p"):
        data = f'{{"model":"m","input":"x","{name}":{number}}}'.encode()
        with pytest.raises(Problem) as caught:
            DIALECT.read_call(data)
        assert caught.value.param == name
