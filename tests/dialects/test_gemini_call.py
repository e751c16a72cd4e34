"""A generateContent request is read: strict on types, generous on spelling and on what it does not know."""

from __future__ import annotations

import time
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import msgspec
import pytest

from dialects.gemini_streams import target
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
from trunkline.dialects.gemini.part import UNPROVEN
from trunkline.dialects.gemini.sides import Gemini, GeminiIngress
from trunkline.dialects.opaque import wrap
from trunkline.dialects.openai_chat.egress import OpenAIChat

HELLO: dict[str, Any] = {"role": "user", "parts": [{"text": "Hello"}]}
SIGNATURE = "EjQKMgEMOdbHO0Gd"
PROOF = Opaque("gemini", msgspec.json.encode(SIGNATURE))


def read(body: dict[str, Any]) -> Call:
    return GeminiIngress("m").read_call(msgspec.json.encode(body))


def config(**fields: Any) -> Call:
    return read({"contents": [HELLO], "generationConfig": fields})


def parts(*given: dict[str, Any], role: str = "user") -> tuple[Part, ...]:
    (message,) = read({"contents": [{"role": role, "parts": list(given)}]}).messages
    return message.parts


def again(body: dict[str, Any]) -> dict[str, Any]:
    """What goes to a target of this dialect when the request had to be read."""
    return msgspec.json.decode(Gemini().write_call(read(body), target()).body)


def problem(body: dict[str, Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        read(body)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


SDK = {
    "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
    "systemInstruction": {"parts": [{"text": "be"}], "role": "user"},
    "tools": [
        {
            "functionDeclarations": [
                {
                    "description": "d",
                    "name": "f",
                    "parameters": {"properties": {"a": {"type": "STRING"}}, "type": "OBJECT"},
                }
            ]
        }
    ],
    "serviceTier": "standard",
    "generationConfig": {
        "temperature": 0.5,
        "topK": 40.0,
        "responseMimeType": "application/json",
        "responseSchema": {"items": {"type": "STRING"}, "title": "Placeholder", "type": "ARRAY"},
        "thinkingConfig": {"include_thoughts": True, "thinking_budget": 0},
    },
}
"""As google-genai 3.4.0 sends it (seen on the wire, 2026-11-24)."""


def test_the_request_of_googles_sdk_is_read() -> None:
    parameters = b'{"properties":{"a":{"type":"STRING"}},"type":"OBJECT"}'
    assert read(SDK) == Call(
        messages=(Message(Role.SYSTEM, (Text("be"),)), Message(Role.USER, (Text("hi"),))),
        temperature=0.5,
        top_k=40,
        stream=False,
        tools=(
            Tool(
                name="f",
                description="d",
                schema=b'{"properties":{"a":{"type":"string"}},"type":"object"}',
                own_schema=Opaque("gemini", parameters),
            ),
        ),
        format=Format(schema=b'{"items":{"type":"string"},"title":"Placeholder","type":"array"}'),
        thinking=Thinking(is_on=False, is_shown=True),
        service_tier="default",
    )


def test_a_schema_of_googles_own_goes_back_to_google_as_it_came() -> None:
    assert again(SDK)["tools"] == SDK["tools"]


def test_a_schema_of_googles_own_is_told_to_others_and_not_named_as_dropped() -> None:
    call = read({"contents": [HELLO], "tools": SDK["tools"]})
    request = OpenAIChat().write_call(call, target())
    assert "parameters" in msgspec.json.decode(request.body)["tools"][0]["function"]
    assert request.dropped == ()


def snake(value: Any) -> Any:
    """The same request in the other spelling."""
    import re

    if isinstance(value, list):
        return [snake(one) for one in value]
    if isinstance(value, dict):
        return {
            re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name): snake(one) for name, one in value.items()
        }
    return value


def test_both_spellings_mean_the_same() -> None:
    assert read(snake(SDK)) == read(SDK)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"contents": [HELLO], "system_instruction": {}, "systemInstruction": {}}, "systemInstruction"),
        ({"contents": [HELLO], "generationConfig": {"topP": 1, "top_p": 1}}, "generationConfig.topP"),
    ],
)
def test_both_spellings_of_one_field_are_refused(body: dict[str, Any], path: str) -> None:
    assert problem(body).param == path


def test_the_system_may_be_a_string() -> None:
    assert read({"contents": [HELLO], "system_instruction": "Be brief."}).messages[0] == Message(
        Role.SYSTEM, (Text("Be brief."),)
    )


def test_one_object_stands_for_a_list_of_one() -> None:
    assert read({"contents": {"parts": {"text": "Hello"}}}).messages == (Message(Role.USER, (Text("Hello"),)),)


def test_every_setting_is_read() -> None:
    call = config(
        temperature=1,
        topP=0.5,
        topK=3,
        maxOutputTokens=10,
        stopSequences=["a", "b"],
        candidateCount=1,
        seed=7,
        presencePenalty=0.25,
        frequencyPenalty=-0.5,
        responseLogprobs=True,
        logprobs=2,
    )
    assert call == Call(
        messages=(Message(Role.USER, (Text("Hello"),)),),
        stream=False,
        temperature=1.0,
        top_p=0.5,
        top_k=3,
        max_tokens=10,
        stop=("a", "b"),
        n=1,
        seed=7,
        presence_penalty=0.25,
        frequency_penalty=-0.5,
        logprobs=True,
        top_logprobs=2,
    )


def test_media_are_read_by_their_type() -> None:
    blob = {"data": "QUJD"}
    assert parts(
        {"inlineData": {"mimeType": "image/png", **blob}},
        {"inline_data": {"mime_type": "application/pdf", **blob}},
        {"inlineData": {"mimeType": "audio/wav", **blob}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/x.png"}},
        {"fileData": {"fileUri": "https://a.example/x.pdf"}},
    ) == (
        Image(Inline("image/png", "QUJD")),
        Document(Inline("application/pdf", "QUJD")),
        Audio("QUJD", "wav"),
        Image(Url("https://a.example/x.png")),
        Document(Url("https://a.example/x.pdf")),
    )


def test_media_go_back_to_google_as_they_came() -> None:
    given: list[dict[str, Any]] = [
        {"inlineData": {"mimeType": "audio/mpeg", "data": "QUJD"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "QUJD"}, "videoMetadata": {"fps": 5}},
        {"fileData": {"mimeType": "image/heic", "fileUri": "https://a.example/x"}},
        {"fileData": {"mimeType": "video/x-flv", "fileUri": "https://a.example/x"}},
        {"text": "a", "thoughtSignature": SIGNATURE},
    ]
    assert again({"contents": [{"role": "user", "parts": given}]})["contents"][0]["parts"] == given


@pytest.mark.parametrize("kind", ["image/png", "application/pdf", "audio/wav"])
def test_the_base64_of_googles_sdk_is_put_into_the_letters_that_others_take(kind: str) -> None:
    content = b"\xfb\xff\xbe\xfe"
    sent = urlsafe_b64encode(content).decode().rstrip("=")
    body = {"contents": [{"parts": [{"inlineData": {"mimeType": kind, "data": sent}}]}]}
    (part,) = read(body).messages[0].parts
    data = part.data if isinstance(part, Audio) else msgspec.to_builtins(part)["media"]["data"]
    assert data == b64encode(content).decode() == "+/++/g=="


CALLED: list[dict[str, Any]] = [
    HELLO,
    {
        "role": "model",
        "parts": [
            {"text": "Hm", "thought": True},
            {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": SIGNATURE},
            {"functionCall": {"name": "g"}, "thoughtSignature": UNPROVEN},
            {"functionCall": {"name": "f", "id": "own", "args": {}}},
        ],
    },
]


@pytest.mark.parametrize("word", [UNPROVEN, b64encode(UNPROVEN.encode()).decode()])
def test_the_word_for_no_proof_is_none_in_either_form(word: str) -> None:
    part = {"functionCall": {"name": "g", "id": "1"}, "thoughtSignature": word}
    assert parts(part, role="model") == (ToolCall("1", "g", "{}"),)


def test_a_thought_that_a_client_gathered_from_a_stream_is_one_again() -> None:
    pieces = ({"text": "H", "thought": True}, {"text": "m", "thought": True})
    proof = {"text": "", "thought": True, "thoughtSignature": SIGNATURE}
    after = {"text": "So", "thought": True}
    assert parts(*pieces, proof, after, role="model") == (Reasoning("Hm", PROOF), Reasoning("So"))


def test_calls_without_ids_get_some_and_results_find_theirs_by_name_and_order() -> None:
    results = {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "f", "response": {"output": "one"}}},
            {"functionResponse": {"id": "own", "name": "f", "response": {"error": "no"}}},
            {"functionResponse": {"name": "g", "response": {"t": 1}}},
            {"text": "And?"},
        ],
    }
    _, called, *rest = read({"contents": [*CALLED, results]}).messages
    assert called.parts == (
        Reasoning("Hm"),
        ToolCall("call_0", "f", '{"a":1}', PROOF),
        ToolCall("call_1", "g", "{}"),
        ToolCall("own", "f", "{}"),
    )
    assert rest == [
        Message(Role.TOOL, (ToolResult("call_0", (Text("one"),), name="f"),)),
        Message(Role.TOOL, (ToolResult("own", (Text("no"),), name="f", is_error=True),)),
        Message(
            Role.TOOL,
            (ToolResult("call_1", (Text('{"t":1}'),), name="g"),),
        ),
        Message(Role.USER, (Text("And?"),)),
    ]


def test_results_by_id_and_by_name_leave_each_other_their_calls() -> None:
    calls = [{"functionCall": {"id": call_id, "name": "f"}} for call_id in ("a", "b", "c")]
    answers = [{"id": "b"}, {"name": "f"}, {"name": "f"}]
    results = {"parts": [{"functionResponse": answer} for answer in answers]}
    _, _, *told = read({"contents": [HELLO, {"role": "model", "parts": calls}, results]}).messages
    assert [part.call_id for turn in told for part in turn.parts if isinstance(part, ToolResult)] == ["b", "a", "c"]


def test_many_results_that_answer_no_call_are_read_quickly() -> None:
    calls = {"role": "model", "parts": [{"functionCall": {"name": "f"}}] * 10_000}
    results = {"parts": [{"functionResponse": {"id": "x"}}] * 10_000}
    body = msgspec.json.encode({"contents": [calls, calls, results, results]})
    started = time.process_time()
    GeminiIngress("m").read_call(body)
    assert time.process_time() - started < 2.0  # about 0.2; ten seconds where every one looks at every call


def test_a_result_goes_back_to_google_as_it_came() -> None:
    result = {
        "functionResponse": {
            "id": "own",
            "name": "f",
            "response": {"t": {"x": [1]}},
            "scheduling": "SILENT",
            "parts": [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}],
        }
    }
    sent = again({"contents": [*CALLED, {"role": "user", "parts": [result]}]})
    assert sent["contents"][2]["parts"] == [result]


@pytest.mark.parametrize("kind", ["image/png", "audio/wav"])
def test_the_name_of_a_picture_or_sound_goes_back_to_google_and_is_named_elsewhere(kind: str) -> None:
    part = {"inlineData": {"mimeType": kind, "data": "QUJD", "displayName": "a.bin"}}
    asked = {"contents": [{"role": "user", "parts": [part]}]}
    assert again(asked)["contents"][0]["parts"] == [part]
    elsewhere = OpenAIChat().write_call(read(asked), target())
    assert elsewhere.dropped == ("inlineData.displayName",)


def test_no_file_that_google_stores_comes_in_by_a_name_that_reads_as_a_path() -> None:
    stored = [{"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}}]
    result = {"functionResponse": {"name": "g", "response": {}}, "functionResponse.parts": stored}
    param = "contents[2].parts[0].functionResponse.parts"
    assert problem({"contents": [*CALLED, {"parts": [result]}]}).param == param


def test_a_result_for_no_call_is_refused() -> None:
    result = {"functionResponse": {"name": "h", "response": {}}}
    assert problem({"contents": [*CALLED, {"parts": [result]}]}).param == "contents[2].parts[0].functionResponse.name"


def test_a_proof_of_another_dialect_comes_out_again() -> None:
    foreign = Opaque("anthropic_messages", b'{"signature":"x"}')
    sealed = urlsafe_b64encode(wrap(foreign).encode()).decode()
    for signature in (sealed, b64encode(wrap(foreign).encode()).decode(), sealed.rstrip("=")):
        assert parts({"text": "Hm", "thought": True, "thoughtSignature": signature}, role="model") == (
            Reasoning("Hm", foreign),
        )
        assert parts({"functionCall": {"name": "f"}, "thoughtSignature": signature}, role="model") == (
            ToolCall("call_0", "f", "{}", foreign),
        )
        assert parts({"text": "a", "thoughtSignature": signature}, role="model") == (Text("a"), Reasoning("", foreign))


def test_what_the_hub_has_no_word_for_comes_back_in_its_place() -> None:
    given: list[dict[str, Any]] = [
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK"}, "thoughtSignature": SIGNATURE},
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}, "thoughtSignature": SIGNATURE},
        {"text": "", "thoughtSignature": SIGNATURE},
    ]
    turns = [HELLO, {"role": "model", "parts": given}]
    assert all(isinstance(part, Reasoning) for part in read({"contents": turns}).messages[1].parts)
    assert again({"contents": turns})["contents"][1]["parts"] == given


@pytest.mark.parametrize(
    ("given", "choice", "is_whole"),
    [
        ({"mode": "AUTO"}, ToolChoice(ChoiceMode.AUTO), True),
        ({"mode": "NONE"}, ToolChoice(ChoiceMode.NONE), True),
        ({"mode": "ANY"}, ToolChoice(ChoiceMode.REQUIRED), True),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice(ChoiceMode.NAMED, "f"), True),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}, ToolChoice(ChoiceMode.REQUIRED), False),
        ({"mode": "VALIDATED"}, ToolChoice(ChoiceMode.AUTO), False),
        ({}, None, True),
    ],
)
def test_a_choice_is_read_and_what_the_hub_cannot_say_of_it_is_kept(
    given: dict[str, Any], choice: ToolChoice | None, *, is_whole: bool
) -> None:
    tools = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
    body = {"contents": [HELLO], "tools": tools, "toolConfig": {"functionCallingConfig": given}}
    call = read(body)
    assert call.tool_choice == choice
    assert (call.extras is None) is is_whole
    if given:
        assert again(body)["toolConfig"] == body["toolConfig"]


@pytest.mark.parametrize(
    ("given", "thinking"),
    [
        ({"thinkingBudget": 0}, Thinking(is_on=False)),
        ({"thinkingBudget": -1}, Thinking()),
        ({"thinkingBudget": 512, "includeThoughts": True}, Thinking(budget_tokens=512, is_shown=True)),
        ({"thinkingLevel": "HIGH"}, Thinking(effort="high")),
        ({"includeThoughts": False}, Thinking(is_shown=False)),
    ],
)
def test_thinking_is_read(given: dict[str, Any], thinking: Thinking) -> None:
    assert config(thinkingConfig=given).thinking == thinking


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"responseMimeType": "application/json"}, Format()),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseJsonSchema": {"type": "object"}}, Format(schema=b'{"type":"object"}')),
        ({"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}}, None),
    ],
)
def test_a_format_is_read(given: dict[str, Any], wanted: Format | None) -> None:
    assert config(**given).format == wanted


def test_what_is_not_known_goes_back_to_google() -> None:
    body = {
        "contents": [HELLO],
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "labels": {"team": "a"},
        "tools": [{"googleSearch": {}}, {"codeExecution": {}}],
        "toolConfig": {"retrievalConfig": {"languageCode": "en"}},
        "generationConfig": {
            "responseModalities": ["TEXT"],
            "temperature": 1.0,
            "responseMimeType": "text/x.enum",
            "responseSchema": {"type": "STRING"},
        },
    }
    assert again(body) == body


def test_what_is_not_known_has_its_own_name() -> None:
    extras = read({"contents": [HELLO], "generationConfig": {"responseModalities": ["TEXT"], "topK": 1}}).extras
    assert extras == Extras("gemini", (("generationConfig.responseModalities", b'["TEXT"]'),))


def test_nothing_is_stored() -> None:
    assert "store" not in again({"contents": [HELLO], "store": True, "model": "models/other"})


SCHEMA = {
    "type": "OBJECT",
    "nullable": True,
    "propertyOrdering": ["a"],
    "required": ["a"],
    "properties": {
        "nullable": {"type": "INTEGER", "minimum": 1, "format": "int32"},
        "a": {"type": "ARRAY", "min_items": "1", "items": {"type": "STRING", "format": "enum", "enum": ["x"]}},
        "b": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
        "c": {"type": "STRING", "enum": ["y"], "nullable": True},
    },
}


def test_a_schema_of_googles_own_becomes_json_schema() -> None:
    (tool,) = read(
        {"contents": [HELLO], "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}]}
    ).tools
    assert tool.schema is not None
    assert msgspec.json.decode(tool.schema) == {
        "type": ["object", "null"],
        "required": ["a"],
        "properties": {
            "nullable": {"type": "integer", "minimum": 1, "format": "int32"},
            "a": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": ["x"]}},
            "b": {"anyOf": [{"anyOf": [{"type": "number"}, {"type": "boolean"}]}, {"type": "null"}]},
            "c": {"type": ["string", "null"], "enum": ["y", None]},
        },
    }


def test_a_schema_that_refers_to_another_by_its_name_still_does() -> None:
    node = {"type": "OBJECT", "properties": {"ref": {"type": "STRING"}, "next": {"ref": "#/defs/Node"}}}
    schema = {"ref": "#/defs/Node", "defs": {"Node": node}}
    form = config(responseMimeType="application/json", responseSchema=schema).format
    assert form is not None
    assert form.schema is not None
    assert msgspec.json.decode(form.schema) == {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {"type": "object", "properties": {"ref": {"type": "string"}, "next": {"$ref": "#/$defs/Node"}}}
        },
    }


def test_a_number_of_a_schema_that_is_a_string_keeps_all_its_digits() -> None:
    schema = {"type": "STRING", "maxLength": "9007199254740993", "minLength": "1e2"}
    (tool,) = read(
        {"contents": [HELLO], "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]}
    ).tools
    assert tool.schema == b'{"type":"string","maxLength":9007199254740993,"minLength":100}'


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": "hi"}, "contents"),
        ({"contents": [HELLO, {"role": "system", "parts": []}]}, "contents[1].role"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": "x"}]}, "contents[0].parts"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"inlineData": {"data": "x"}}]}]}, "contents[0].parts[0].inlineData.mimeType"),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": "https://a.example/a.pdf"}, "fileData.fileUri": "x"}]}]},
            "contents[0].parts[0].fileData.fileUri",
        ),
        (
            {"contents": [{"parts": [{"functionCall": {"name": "f"}, "functionCall.parts": []}]}]},
            "contents[0].parts[0].functionCall.parts",
        ),
        ({"contents": [{"parts": [{"functionCall": {"args": {}}}]}]}, "contents[0].parts[0].functionCall.name"),
        (
            {"contents": [{"parts": [{"functionCall": {"name": "f", "args": 5}}]}]},
            "contents[0].parts[0].functionCall.args",
        ),
        ({"contents": [HELLO], "generationConfig": 5}, "generationConfig"),
        ({"contents": [HELLO], "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": [HELLO], "generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
        ({"contents": [HELLO], "generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({"contents": [HELLO], "generationConfig": {"stopSequences": "x"}}, "generationConfig.stopSequences"),
        (
            {"contents": [HELLO], "generationConfig": {"thinkingConfig": {"thinkingBudget": -2}}},
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        ({"contents": [HELLO], "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        (
            {"contents": [HELLO], "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": 5}}]}]},
            "tools[0].functionDeclarations[0].parameters",
        ),
        (
            {"contents": [HELLO], "generationConfig": {"responseSchema": {"type": "NUMBER", "maximum": "Infinity"}}},
            "generationConfig.responseSchema",
        ),
        ({"contents": [HELLO], "generationConfig": {"maxOutputTokens": 1e300}}, "generationConfig.maxOutputTokens"),
        (
            {"contents": [HELLO], "toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}},
            "toolConfig.functionCallingConfig.mode",
        ),
        ({"contents": [HELLO], "systemInstruction": {"parts": [{"functionCall": {"name": "f"}}]}}, "systemInstruction"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(body: dict[str, Any], path: str) -> None:
    assert problem(body).param == path
