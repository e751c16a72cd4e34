"""A call becomes a Gemini request: what is written is read back, less what is named as dropped."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.gemini_streams import KEY, target
from trunkline.core.call import (
    Audio,
    Call,
    ChoiceMode,
    Document,
    Extras,
    Image,
    Inline,
    Message,
    Opaque,
    Reasoning,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from trunkline.core.catalog import Model, Origin, Quirks, Target
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.gemini.part import UNPROVEN
from trunkline.dialects.gemini.sides import Gemini, GeminiIngress

HELLO = (Message(Role.USER, (Text("Hello"),)),)


def body(call: Call, to: Target | None = None) -> dict[str, Any]:
    return msgspec.json.decode(Gemini().write_call(call, to or target()).body)


def dropped(call: Call) -> tuple[str, ...]:
    return Gemini().write_call(call, target()).dropped


def refusal(call: Call, to: Target | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        Gemini().write_call(call, to or target())
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


def test_the_request_to_the_byte() -> None:
    call = Call(
        messages=(Message(Role.SYSTEM, (Text("Be brief."),)), *HELLO),
        temperature=0.5,
        max_tokens=100,
        tools=(Tool(name="f", description="d", schema=b'{"type":"object"}'),),
        tool_choice=ToolChoice(ChoiceMode.NAMED, "f"),
        thinking=Thinking(effort="low", is_shown=True),
    )
    request = Gemini().write_call(call, target(headers=(("x-team", "one"),)))
    assert request.method == "POST"
    assert request.origin == Origin("https", "generativelanguage.googleapis.com", 443)
    assert request.path == "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"
    assert request.headers == (
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("x-team", "one"),
        ("x-goog-api-key", KEY),
    )
    assert request.dropped == ()
    assert request.body == (
        b'{"systemInstruction":{"parts":[{"text":"Be brief."}]},'
        b'"contents":[{"role":"user","parts":[{"text":"Hello"}]}],'
        b'"tools":[{"functionDeclarations":[{"name":"f","description":"d","parametersJsonSchema":{"type":"object"}}]}],'
        b'"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}},'
        b'"generationConfig":{"temperature":0.5,"maxOutputTokens":100,'
        b'"thinkingConfig":{"includeThoughts":true,"thinkingLevel":"LOW"}}}'
    )


def test_a_call_that_is_no_stream_asks_for_json() -> None:
    request = Gemini().write_call(Call(messages=HELLO, stream=False), target(credential=None))
    assert request.path == "/v1beta/models/gemini-3-pro:generateContent"
    assert request.headers == (("content-type", "application/json"), ("accept", "application/json"))


def test_what_nobody_set_is_left_out() -> None:
    assert set(body(Call(messages=HELLO))) == {"contents"}


CONVERSATION = (
    *HELLO,
    Message(Role.ASSISTANT, (ToolCall("1", "f", '{ "a" : 1 }'), ToolCall("2", "g", "{}"))),
    Message(Role.TOOL, (ToolResult("2", (Text("two"),)),)),
    Message(Role.TOOL, (ToolResult("1", (Text("one"),), is_error=True),)),
)


def test_results_that_follow_each_other_are_one_turn_and_find_the_names_of_their_functions() -> None:
    _, calls_made, results = body(Call(messages=CONVERSATION))["contents"]
    assert results == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "2", "name": "g", "response": {"output": "two"}}},
            {"functionResponse": {"id": "1", "name": "f", "response": {"error": "one"}}},
        ],
    }
    assert [part["functionCall"]["id"] for part in calls_made["parts"]] == ["1", "2"]


@pytest.mark.parametrize(
    ("words", "response"),
    [
        ('{"celsius": 18, "sky": {"rain": true}}', {"celsius": 18, "sky": {"rain": True}}),
        ('{"output": "18"}', {"output": '{"output": "18"}'}),  # the words would be lost: Google's key for plain ones
        ("[18]", {"output": "[18]"}),
        ("{18", {"output": "{18"}),
    ],
)
def test_a_result_that_is_a_json_object_goes_out_as_one(words: str, response: dict[str, Any]) -> None:
    result = ToolResult("1", (Text(words),), name="f")
    call = Call(messages=(*HELLO, Message(Role.TOOL, (result,))))
    sent = Gemini().write_call(call, target()).body
    (part,) = msgspec.json.decode(sent)["contents"][1]["parts"]
    assert part["functionResponse"]["response"] == response
    (again,) = GeminiIngress().read_call(sent).messages[1].parts
    assert again == result


def test_the_first_call_of_a_turn_never_goes_without_a_proof() -> None:
    _, calls_made, _ = body(Call(messages=CONVERSATION))["contents"]
    assert [part.get("thoughtSignature") for part in calls_made["parts"]] == [UNPROVEN, None]


def test_arguments_go_out_as_the_bytes_that_the_model_wrote() -> None:
    assert b'"args":{ "a" : 1 }' in Gemini().write_call(Call(messages=CONVERSATION), target()).body


def test_a_result_for_no_call_is_refused() -> None:
    turns = (*HELLO, Message(Role.TOOL, (ToolResult("x", (Text("1"),)),)))
    assert refusal(Call(messages=turns)).param == "messages"


def test_a_part_that_came_whole_goes_out_whole() -> None:
    raw = b'{"executableCode":{"language":"PYTHON","code":"1\\n"},"thoughtSignature":"QUJD"}'
    turns = (*HELLO, Message(Role.ASSISTANT, (Reasoning("", Opaque("gemini", raw)),)))
    assert raw in Gemini().write_call(Call(messages=turns), target()).body


@pytest.mark.parametrize("raw", [b'{"fileData":{"fileUri":"files/a"}}', b"{}", b"[1]", b"5", b'{"text"'])
def test_a_forged_continuation_goes_nowhere(raw: bytes) -> None:
    turns = (*HELLO, Message(Role.ASSISTANT, (Text("a"), Reasoning("", Opaque("gemini", raw)))))
    request = Gemini().write_call(Call(messages=turns), target())
    assert request.dropped == ("reasoning.signature",)
    assert msgspec.json.decode(request.body)["contents"][1]["parts"] == [{"text": "a"}]


def test_a_message_without_words_is_left_out() -> None:
    turns = (*HELLO, Message(Role.ASSISTANT, (Text(""),)), Message(Role.USER, ()), *HELLO)
    assert len(body(Call(messages=turns))["contents"]) == 2


def test_only_a_system_message_is_no_conversation() -> None:
    assert refusal(Call(messages=(Message(Role.SYSTEM, (Text("x"),)),))).param == "messages"


def test_a_picture_for_the_system_is_refused() -> None:
    turns = (Message(Role.SYSTEM, (Image(Url("https://a.example/x.png")),)), *HELLO)
    assert refusal(Call(messages=turns)).param == "messages"


def test_media_say_their_type() -> None:
    parts = (
        Image(Inline("image/png", "QUJD")),
        Image(Url("https://a.example/x.webp?y=1")),
        Image(Url("https://a.example/x")),
        Document(Url("https://a.example/x.pdf")),
        Document(Url("https://www.youtube.com/watch?v=1")),
        Audio("QUJD", "wav"),
    )
    assert body(Call(messages=(Message(Role.USER, parts),)))["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"fileData": {"fileUri": "https://a.example/x.webp?y=1", "mimeType": "image/webp"}},
        {"fileData": {"fileUri": "https://a.example/x", "mimeType": "image/jpeg"}},
        {"fileData": {"fileUri": "https://a.example/x.pdf", "mimeType": "application/pdf"}},
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "QUJD"}},
    ]


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (Call(messages=HELLO, n=2), "n"),
        (Call(messages=HELLO, stop=tuple("abcdef")), "stop"),
        (Call(messages=HELLO, seed=2**31), "seed"),
        (Call(messages=HELLO, thinking=Thinking(effort="ultra")), "reasoning.effort"),
    ],
)
def test_what_google_cannot_take_is_refused_by_name(call: Call, param: str) -> None:
    assert refusal(call).param == param


SMALL = target(model=Model(id="small", max_output_tokens=4096))


def test_an_explicit_limit_over_what_the_model_gives_is_refused_and_a_default_is_lowered() -> None:
    problem = refusal(Call(messages=HELLO, max_tokens=10_000), SMALL)
    assert problem.message == "gemini/small gives at most 4,096 tokens in an answer; 10,000 were asked for."
    lowered = Call(messages=HELLO, max_tokens=10_000, defaulted=frozenset({"max_tokens"}))
    assert body(lowered, SMALL)["generationConfig"] == {"maxOutputTokens": 4096}


def test_a_default_temperature_is_left_out_where_it_would_be_refused_and_an_explicit_one_is_refused() -> None:
    cool = target(quirks=Quirks(takes_temperature=False))
    assert refusal(Call(messages=HELLO, temperature=0.5), cool).param == "temperature"
    assert "generationConfig" not in body(
        Call(messages=HELLO, temperature=0.5, defaulted=frozenset({"temperature"})), cool
    )


@pytest.mark.parametrize(
    ("thinking", "config", "names"),
    [
        (Thinking(), {"thinkingBudget": -1}, ()),
        (Thinking(is_on=False), {"thinkingBudget": 0}, ()),
        (Thinking(is_shown=True), {"includeThoughts": True}, ()),
        (Thinking(effort="high"), {"thinkingLevel": "HIGH"}, ()),
        (Thinking(effort="max"), {"thinkingLevel": "XHIGH"}, ("reasoning.effort",)),
        (Thinking(budget_tokens=500, is_shown=False), {"thinkingBudget": 500, "includeThoughts": False}, ()),
        (Thinking(budget_tokens=500, effort="low"), {"thinkingBudget": 500}, ("reasoning.effort",)),
    ],
)
def test_thinking_has_a_level_or_a_budget(thinking: Thinking, config: dict[str, Any], names: tuple[str, ...]) -> None:
    call = Call(messages=HELLO, thinking=thinking)
    assert body(call)["generationConfig"] == {"thinkingConfig": config}
    assert dropped(call) == names


def test_a_tier_of_another_vendor_is_named() -> None:
    assert dropped(Call(messages=HELLO, service_tier="scale")) == ("service_tier",)


def test_extras_of_another_dialect_are_named_and_left_out() -> None:
    foreign = Extras("openai_chat", (("x", b"1"),))
    call = Call(
        messages=(Message(Role.USER, (Text("a", extras=foreign),), name="bob", extras=foreign),),
        tools=(Tool(name="f", extras=foreign),),
        extras=foreign,
    )
    assert dropped(call) == ("x", "name", "text.x", "message.x", "tools.x")
    assert b'"x"' not in Gemini().write_call(call, target()).body


def test_extras_of_a_result_that_joins_the_turn_before_it_are_named_too() -> None:
    foreign = Extras("openai_chat", (("x", b"1"),))
    *before, last = CONVERSATION
    assert dropped(Call(messages=(*before, msgspec.structs.replace(last, extras=foreign)))) == ("message.x",)


def test_the_model_stays_in_its_place_in_the_path() -> None:
    odd = target(model=Model(id="a b/c?d#e:f%2f"))
    request = Gemini().write_call(Call(messages=HELLO), odd)
    assert request.path == "/v1beta/models/a%20b/c%3Fd%23e:f%252f:streamGenerateContent?alt=sse"
    for name in ("..", "../x", "a/./b", "a//b", "/a", "a/"):
        with pytest.raises(Problem) as caught:
            Gemini().write_call(Call(messages=HELLO), target(model=Model(id=name)))
        assert caught.value.kind is Kind.NOT_FOUND
