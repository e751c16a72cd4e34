"""Requests of OpenAI's and OpenRouter's clients: what is read of them, and what is refused, by its name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.admission import admitted, shallow, translated
from trunkline.core.call import (
    Audio,
    Call,
    ChoiceMode,
    Document,
    Envelope,
    Extras,
    Format,
    Image,
    Inline,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.opaque import wrap
from trunkline.dialects.openai_chat.fields import FATES, Fate, fated
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress

INGRESS = OpenAIChatIngress()
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": HELLO, **fields})


def refusal_of(data: bytes, *, deep: bool = False) -> Problem:
    with pytest.raises(Problem) as caught:
        (translated if deep else admitted)(INGRESS, data)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


@pytest.mark.parametrize(
    ("fields", "envelope"),
    [
        ({}, Envelope(model="m")),
        ({"stream": True}, Envelope(model="m", stream=True)),
        ({"stream": None, "max_tokens": None, "stream_options": None, "usage": None, "n": None}, Envelope(model="m")),
        ({"max_tokens": 5}, Envelope(model="m", max_tokens=5)),
        ({"max_completion_tokens": 5}, Envelope(model="m", max_tokens=5)),
        ({"max_completion_tokens": 5, "max_tokens": 5}, Envelope(model="m", max_tokens=5)),
        ({"stream_options": {"include_usage": True}}, Envelope(model="m", wants_usage=True)),
        ({"stream_options": {"include_usage": False}}, Envelope(model="m")),
        ({"usage": {"include": True}}, Envelope(model="m", wants_usage=True)),
        ({"session_id": "s", "n": 2, "service_tier": "flex"}, Envelope(model="m", conversation="s", answers=2)),
        ({"plugins": [], "web_search_options": None, "background": False}, Envelope(model="m")),
    ],
    ids=repr,
)
def test_what_planning_needs_is_read(fields: dict[str, Any], envelope: Envelope) -> None:
    assert shallow(INGRESS, body(**fields)) == envelope


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"model": "m\n"}, "model"),
        ({"model": "openai/gpt-4o:online"}, "model"),
        ({"model": "openai/gpt-4o@preset/mine"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_completion_tokens": 5, "max_tokens": 6}, "max_tokens"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"usage": [True]}, "usage"),
        ({"usage": {"include": "yes"}}, "usage.include"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": "2"}, "n"),
        ({"service_tier": 5}, "service_tier"),
        ({"tools": {}}, "tools"),
        ({"tools": [5]}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}, {"type": "openrouter:web_search"}]}, "tools[1].type"),
    ],
    ids=repr,
)
def test_a_wrong_field_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    assert refusal_of(body(**fields)).param == param


def test_a_body_without_a_model_is_refused() -> None:
    assert refusal_of(b'{"messages":[]}').param == "model"


def test_a_key_that_comes_twice_is_refused_however_it_is_written() -> None:
    assert refusal_of(b'{"model":"m","messages":[],"mode\\u006c":"dear"}').param == "model"


@pytest.mark.parametrize("name", sorted(fated(Fate.STATE) | fated(Fate.TOOLS)))
@pytest.mark.parametrize("value", [{"id": "x"}, "x", True, [{"id": "web"}]], ids=repr)
def test_what_would_escape_a_key_is_refused_by_its_name(name: str, value: object) -> None:
    assert refusal_of(body(**{name: value})).param == name
    assert refusal_of(body(**{name: value}), deep=True).param == name


@pytest.mark.parametrize("fate", Fate)
def test_every_fate_has_its_fields(fate: Fate) -> None:
    assert fated(fate)
    assert fated(fate) <= set(FATES)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}, "content[0].file.file_id"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}, "content[0].file_id"),
        (
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"image_file": {"file_id": "f"}}]},
            "content[1].image_file.file_id",
        ),
        ({"role": "assistant", "audio": {"id": "audio_1"}}, "audio"),
    ],
    ids=repr,
)
def test_a_message_that_names_what_a_provider_keeps_is_refused(message: dict[str, Any], path: str) -> None:
    data = body(messages=[*HELLO, message])
    assert refusal_of(data).param == f"messages[1].{path}"
    assert refusal_of(data, deep=True).param == f"messages[1].{path}"
    escaped = data.replace(b"file_id", b"fil\\u0065_id").replace(b'"audio"', b'"\\u0061udio"')
    assert refusal_of(escaped).param == f"messages[1].{path}"


def test_a_message_that_only_speaks_of_files_is_not() -> None:
    admitted(INGRESS, body(messages=[{"role": "user", "content": 'What is "file_id" in {"file":{"file_id":"x"}}?'}]))


def read(**fields: Any) -> Call:
    return INGRESS.read_call(body(**fields))


def only(message: dict[str, Any]) -> Message:
    (read_as,) = read(messages=[message]).messages
    return read_as


def test_a_conversation_is_read() -> None:
    messages = [
        {"role": "system", "content": "Be brief.", "name": "boss"},
        {"role": "developer", "content": [{"type": "text", "text": "Very."}]},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi", "refusal": None, "annotations": [], "audio": None},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    assert read(messages=messages).messages == (
        Message(Role.SYSTEM, (Text("Be brief."),), "boss"),
        Message(Role.SYSTEM, (Text("Very."),)),
        Message(Role.USER, (Text("Hello"),)),
        Message(Role.ASSISTANT, (Text("Hi"),)),
        Message(Role.ASSISTANT, (Refusal("No."),)),
    )


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "text", "text": "x"}, Text("x")),
        ({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}, Text("x", is_cached=True)),
        (
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            Text(
                "x",
                is_cached=True,
                extras=Extras("openai_chat", (("cache_control", b'{"type":"ephemeral","ttl":"1h"}'),)),
            ),
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://a.example/x.png", "detail": "high"}},
            Image(Url("https://a.example/x.png"), "high"),
        ),
        ({"type": "image_url", "image_url": "https://a.example/x.png"}, Image(Url("https://a.example/x.png"))),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            Image(Inline("image/png", "AAAA")),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/svg+xml;charset=utf-8;base64,AAAA"}},
            Image(Inline("image/svg+xml", "AAAA")),
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
            Document(Inline("application/pdf", "AAAA"), "a.pdf"),
        ),
        ({"type": "file", "file": {"file_data": "JVBERi0="}}, Document(Inline("application/pdf", "JVBERi0="))),
        (
            {"type": "file", "file": {"file_data": "https://a.example/a.pdf"}},
            Document(Url("https://a.example/a.pdf")),
        ),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, Audio("AAAA", "wav")),
        (
            {"type": "text", "text": "x", "y": {"z": 1}},
            Text("x", extras=Extras("openai_chat", (("y", b'{"z":1}'),))),
        ),
    ],
    ids=repr,
)
def test_a_part_is_read(part: dict[str, Any], block: object) -> None:
    assert only({"role": "user", "content": [part]}).parts == (block,)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({}, "role"),
        ({"role": "bot", "content": "x"}, "role"),
        ({"role": "function", "name": "f", "content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": 5}, "content"),
        ({"role": "user", "content": [5]}, "content"),
        ({"role": "user", "content": [{}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "video_url", "video_url": {"url": "u"}}]}, "content[0].type"),
        ({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "content[0].text"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "cache_control": 5}]}, "content[0].cache_control"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "content[0].image_url"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "content[0].image_url.url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]},
            "content[0].image_url.url",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,AA"}}]},
            "content[0].image_url.url",
        ),
        ({"role": "user", "content": [{"type": "file", "file": {"filename": "x"}}]}, "content[0].file.file_data"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": "x"}]}, "content[0].input_audio"),
        ({"role": "tool", "content": "x"}, "tool_call_id"),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": ""}}, "function_call"),
        ({"role": "assistant", "tool_calls": [{"id": "a", "type": "custom"}]}, "tool_calls[0].type"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "tool_calls[0].id"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, "tool_calls[0].function"),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}]},
            "tool_calls[0].function.arguments",
        ),
        ({"role": "assistant", "content": "x", "reasoning_details": "x"}, "reasoning_details"),
        ({"role": "assistant", "content": "x", "reasoning": 5}, "reasoning"),
    ],
    ids=repr,
)
def test_a_wrong_message_is_refused_by_the_path_of_what_is_wrong(message: dict[str, Any], path: str) -> None:
    assert refusal_of(body(messages=[message]), deep=True).param == f"messages[0].{path}"


def test_calls_and_their_results_are_read() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1'}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "name": "f", "content": [{"type": "text", "text": "1"}]},
    ]
    assert read(messages=messages).messages == (
        Message(Role.ASSISTANT, (ToolCall("a", "f", '{"x": 1'),)),
        Message(Role.TOOL, (ToolResult("a", (Text("1"),), "f"),)),
    )


def test_reasoning_and_the_providers_own_proof_are_read() -> None:
    raw = b'[{"type":"reasoning.text","text":"Hm.",  "signature":"s"}]'
    data = b'{"model":"m","messages":[{"role":"assistant","content":"Y","reasoning":"Hm.","reasoning_details":%b}]}'
    (message,) = INGRESS.read_call(data % raw).messages
    assert message.parts == (Reasoning("Hm.", Opaque("openai_chat", raw)), Text("Y"))


def test_reasoning_that_is_only_in_its_details_is_read() -> None:
    entry = {"type": "reasoning.text", "text": "Hm."}
    (thought,) = only({"role": "assistant", "content": None, "reasoning_details": [entry]}).parts
    assert thought == Reasoning("Hm.", Opaque("openai_chat", msgspec.json.encode([entry])))


FOREIGN = Opaque("anthropic_messages", b'{"signature":"s"}')


@pytest.mark.parametrize(
    ("id_", "thoughts"),
    [
        ("tl-0-3", [Reasoning("Hm.", FOREIGN), Reasoning(" So.")]),
        ("tl-3-7", [Reasoning("Hm."), Reasoning(" So.", FOREIGN)]),
        ("tl-0-7", [Reasoning("Hm. So.", FOREIGN)]),
        ("tl-0-0", [Reasoning("", FOREIGN), Reasoning("Hm. So.")]),
        ("tl-0-99", [Reasoning("", FOREIGN), Reasoning("Hm. So.")]),
        ("tl-5-2", [Reasoning("", FOREIGN), Reasoning("Hm. So.")]),
        (None, [Reasoning("Hm. So.", FOREIGN)]),
        ("else", [Reasoning("Hm. So.", FOREIGN)]),
    ],
)
def test_a_foreign_proof_is_put_back_in_its_place(id_: str | None, thoughts: list[Reasoning]) -> None:
    entry = {"type": "reasoning.encrypted", "data": wrap(FOREIGN), "id": id_}
    message = {"role": "assistant", "content": None, "reasoning": "Hm. So.", "reasoning_details": [entry]}
    assert list(only(message).parts) == thoughts


@pytest.mark.parametrize("told", [{"reasoning": "Hm."}, {}])
def test_the_words_that_we_put_beside_a_foreign_proof_are_not_the_providers(told: dict[str, str]) -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm.", "id": "tl-0-3"},
        {"type": "reasoning.encrypted", "data": wrap(FOREIGN), "id": "tl-0-3"},
    ]
    message = {"role": "assistant", "content": None, "reasoning_details": details, **told}
    assert only(message).parts == (Reasoning("Hm.", FOREIGN),)


def test_a_call_that_asks_for_everything_is_read() -> None:
    assert read(
        temperature=1,
        max_tokens=5,
        stream=True,
        top_p=0.5,
        top_k=4,
        stop="x",
        seed=-3,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        logprobs=True,
        top_logprobs=2,
        n=2,
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}, "strict": False}}],
        tool_choice="required",
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
        reasoning_effort="low",
        user="u",
        metadata={"a": "b"},
        service_tier="flex",
        logit_bias={"5": 1},
        models=["dear"],
        provider={"only": ["x"]},
        store=True,
        usage={"include": True},
    ) == Call(
        messages=(Message(Role.USER, (Text("Hello"),)),),
        temperature=1.0,
        max_tokens=5,
        stream=True,
        top_p=0.5,
        top_k=4,
        stop=("x",),
        seed=-3,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        logprobs=True,
        top_logprobs=2,
        n=2,
        tools=(Tool(name="f", description="d", schema=b"{}", is_strict=False),),
        tool_choice=ToolChoice(ChoiceMode.REQUIRED),
        parallel_tool_calls=False,
        format=Format(),
        thinking=Thinking(effort="low"),
        user="u",
        metadata=b'{"a":"b"}',
        service_tier="flex",
        extras=Extras("openai_chat", (("logit_bias", b'{"5":1}'),)),
    )


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, Thinking(is_on=False, effort="none")),
        ({"reasoning": {"effort": "high"}}, Thinking(effort="high")),
        ({"reasoning": {"max_tokens": 2000}}, Thinking(budget_tokens=2000)),
        ({"reasoning": {"enabled": True, "exclude": True}}, Thinking(is_shown=False)),
        ({"reasoning": {"enabled": False}}, Thinking(is_on=False)),
        ({"include_reasoning": False}, Thinking(is_shown=False)),
    ],
    ids=repr,
)
def test_how_to_reason_is_read_in_either_form(fields: dict[str, Any], thinking: Thinking | None) -> None:
    assert read(**fields).thinking == thinking


SMUGGLED = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD"}, "file.file_id": "file-1"}
"""Nobody who looks for stored files within `file` sees it."""


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"stop": 5}, "stop"),
        ({"stop": ["x", 5]}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"logprobs": 1}, "logprobs"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"reasoning": {"enabled": "yes"}}, "reasoning.enabled"),
        ({"reasoning_effort": 5}, "reasoning_effort"),
        ({"metadata": []}, "metadata"),
        ({"user": 5}, "user"),
        ({"messages": [{"role": "user", "content": [SMUGGLED]}]}, "messages[0].content[0].file.file_id"),
    ],
    ids=repr,
)
def test_a_wrong_field_of_a_call_is_refused_by_its_path(fields: dict[str, Any], param: str) -> None:
    assert refusal_of(body(**fields), deep=True).param == param


def test_a_schema_is_kept_as_its_bytes() -> None:
    schema = b'{ "type" : "object", "n": 1e2, "b": 1, "a": 2 }'
    data = (
        b'{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":%b}}],'
        b'"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":%b}}}'
    )
    call = INGRESS.read_call(data % (schema, schema))
    assert call.tools[0].schema == schema
    assert call.format == Format(schema=schema, name="x")
