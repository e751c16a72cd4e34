"""What a call becomes on the wire, block by block and quirk by quirk, and what a client's own body becomes."""

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
from trunkline.dialects.anthropic_messages.sides import AnthropicMessages
from trunkline.dialects.openai_chat.egress import OpenAIChat
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress

HELLO = Message(Role.USER, (Text("Hello"),))
OPENROUTER = Quirks(
    reasoning_key="reasoning", reasoning_echo_key="reasoning", takes_cache_control=True, accepts_provider_object=True
)


def write(call: Call, quirks: Quirks = Quirks()) -> tuple[dict[str, Any], tuple[str, ...]]:  # noqa: B008 - frozen
    request = OpenAIChat().write_call(call, target(quirks=quirks))
    return msgspec.json.decode(request.body), request.dropped


def said(role: Role, *parts: Part, quirks: Quirks = Quirks()) -> Any:  # noqa: B008 - frozen
    return write(Call(messages=(Message(role, parts),)), quirks)[0]["messages"]


def test_a_picture_a_file_and_sound_stand_beside_the_text() -> None:
    assert said(
        Role.USER,
        Text("Look"),
        Image(Url("https://a.example/x.png"), "low"),
        Image(Inline("image/png", "AAAA")),
        Document(Inline("application/pdf", "BBBB"), "a.pdf"),
        Audio("CCCC", "wav"),
    ) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "https://a.example/x.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,BBBB", "filename": "a.pdf"}},
                {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "wav"}},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("role", "part"),
    [
        (Role.SYSTEM, Image(Url("https://a.example/x.png"))),
        (Role.ASSISTANT, Image(Url("https://a.example/x.png"))),
        (Role.ASSISTANT, Audio("AAAA", "wav")),
        (Role.USER, Image(Stored("file-1"))),
        (Role.USER, Document(Stored("file-1"))),
        (Role.USER, ToolCall("a", "f", "{}")),
        (Role.USER, Reasoning("Hm.")),
        (Role.TOOL, Text("Hello")),
    ],
    ids=repr,
)
def test_a_block_that_its_message_cannot_hold_is_refused_and_not_lost(role: Role, part: Part) -> None:
    with pytest.raises(Problem) as caught:
        said(role, part)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "messages")


def test_a_turn_with_tools_is_written_whole() -> None:
    assert said(Role.ASSISTANT, Text("I'll look."), ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", "not json")) == [
        {
            "role": "assistant",
            "content": "I'll look.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "not json"}},
            ],
        }
    ]


def test_a_refusal_and_a_call_without_words_have_no_content() -> None:
    assert said(Role.ASSISTANT, Refusal("No.")) == [{"role": "assistant", "content": None, "refusal": "No."}]
    assert said(Role.ASSISTANT, ToolCall("a", "f", "{}"))[0]["content"] is None


def test_results_in_a_users_message_become_messages_of_their_own_in_order() -> None:
    parts = (
        ToolResult("a", (Text("1"),)),
        ToolResult("b", (Text("2"), Text("3")), is_error=True),
        Text("Go on."),
    )
    sent, dropped = write(Call(messages=(Message(Role.USER, parts),)))
    assert sent["messages"] == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2\n3"},
        {"role": "user", "content": "Go on."},
    ]
    assert dropped == ("tool_result.is_error",)


def test_pictures_in_results_follow_the_whole_row_of_results() -> None:
    picture = Image(Inline("image/png", "AAAA"))
    messages = (
        Message(Role.TOOL, (ToolResult("a", (Text("1"), picture)),)),
        Message(Role.TOOL, (ToolResult("b", (picture,)),)),
        HELLO,
    )
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert write(Call(messages=messages))[0]["messages"] == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "user", "content": [shown, shown]},
        {"role": "user", "content": "Hello"},
    ]


def test_a_result_stands_in_the_row_after_its_call_whatever_was_said_before_it() -> None:
    calls = Message(Role.ASSISTANT, (ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")))
    first, second = (Message(Role.TOOL, (ToolResult(call_id, (Text(call_id),)),)) for call_id in "ab")
    other = Message(Role.TOOL, (ToolResult("c", (Text("c"),)),))
    words = Message(Role.USER, (Text("and?"),))
    sent, _ = write(Call(messages=(HELLO, calls, words, first, words, second, other)))
    told = [(message["role"], message["content"]) for message in sent["messages"][2:]]
    assert told == [("tool", "a"), ("tool", "b"), ("user", "and?"), ("user", "and?"), ("tool", "c")]


def test_a_mark_for_the_cache_goes_where_it_is_known() -> None:
    marked = {"type": "text", "text": "Long", "cache_control": {"type": "ephemeral"}}
    assert said(Role.SYSTEM, Text("Long", is_cached=True), quirks=OPENROUTER) == [
        {"role": "system", "content": [marked]}
    ]
    call = Call(messages=(Message(Role.SYSTEM, (Text("Long", is_cached=True),)),))
    sent, dropped = write(call)
    assert sent["messages"] == [{"role": "system", "content": "Long"}]
    assert dropped == ("cache_control",)


def test_a_mark_with_more_to_say_keeps_its_words() -> None:
    extras = Extras("openai_chat", (("cache_control", b'{"type":"ephemeral","ttl":"1h"}'),))
    (message,) = said(Role.USER, Text("Long", is_cached=True, extras=extras), quirks=OPENROUTER)
    assert message["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


OWN = Opaque("openai_chat", b'[{"type":"reasoning.text","text":"Hm.","signature":"s"}]')
FOREIGN = Opaque("anthropic_messages", b'{"signature":"s"}')


def test_a_proof_of_this_dialect_goes_back_as_it_came() -> None:
    request = OpenAIChat().write_call(
        Call(messages=(Message(Role.ASSISTANT, (Reasoning("Hm.", OWN), Text("Yes."))),)), target(quirks=OPENROUTER)
    )
    assert b'"reasoning":"Hm."' in request.body
    assert b'"reasoning_details":' + OWN.raw in request.body
    assert request.dropped == ()


def test_reasoning_that_is_not_taken_back_is_left_out_and_named() -> None:
    call = Call(messages=(Message(Role.ASSISTANT, (Reasoning("Hm.", OWN), Text("Yes."))),))
    sent, dropped = write(call)
    assert sent["messages"] == [{"role": "assistant", "content": "Yes."}]
    assert dropped == ("reasoning", "reasoning.signature")


def test_a_key_for_reasoning_of_ones_own_is_used() -> None:
    quirks = Quirks(reasoning_echo_key="reasoning_content")
    assert said(Role.ASSISTANT, Reasoning("Hm."), Text("Yes."), quirks=quirks)[0]["reasoning_content"] == "Hm."


def test_a_proof_of_another_dialect_is_left_out_and_named() -> None:
    parts = (Reasoning("Hm.", FOREIGN), ToolCall("a", "f", "{}", FOREIGN))
    sent, dropped = write(Call(messages=(Message(Role.ASSISTANT, parts),)), OPENROUTER)
    assert b"signature" not in msgspec.json.encode(sent)
    assert dropped == ("tool_call.signature", "reasoning.signature") or set(dropped) == {
        "tool_call.signature",
        "reasoning.signature",
    }


def test_the_proof_of_a_call_goes_back_with_it() -> None:
    google = Opaque("openai_chat", b'{"google":{"thought_signature":"s"}}')
    (message,) = said(Role.ASSISTANT, ToolCall("a", "f", "{}", google))
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "s"}}
    detail = Opaque("openai_chat", b'[{"type":"reasoning.encrypted","id":"a","data":"d"}]')
    (message,) = said(Role.ASSISTANT, ToolCall("a", "f", "{}", detail), quirks=OPENROUTER)
    assert message["reasoning_details"] == [{"type": "reasoning.encrypted", "id": "a", "data": "d"}]


def test_tools_and_the_choice_among_them() -> None:
    tools = (
        Tool(name="f", description="Does f.", schema=b'{"type": "object",  "x": 1e2}', is_strict=True),
        Tool(name="g"),
    )
    call = Call(
        messages=(HELLO,), tools=tools, tool_choice=ToolChoice(ChoiceMode.NAMED, "f"), parallel_tool_calls=False
    )
    request = OpenAIChat().write_call(call, target())
    assert b'"parameters":{"type": "object",  "x": 1e2}' in request.body  # the schema is never decoded
    sent = msgspec.json.decode(request.body)
    assert sent["tools"][1] == {"type": "function", "function": {"name": "g"}}
    assert sent["tools"][0]["function"]["strict"] is True
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert sent["parallel_tool_calls"] is False


@pytest.mark.parametrize("mode", [ChoiceMode.AUTO, ChoiceMode.NONE, ChoiceMode.REQUIRED])
def test_a_choice_of_no_tool_in_particular_is_a_word(mode: ChoiceMode) -> None:
    call = Call(messages=(HELLO,), tools=(Tool(name="f"),), tool_choice=ToolChoice(mode))
    assert write(call)[0]["tool_choice"] == mode.value


@pytest.mark.parametrize("mode", [ChoiceMode.AUTO, ChoiceMode.NONE])
def test_without_tools_nothing_is_said_of_how_to_call_them_which_openai_would_refuse(mode: ChoiceMode) -> None:
    sent, dropped = write(Call(messages=(HELLO,), tool_choice=ToolChoice(mode), parallel_tool_calls=False))
    assert sent.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})
    assert dropped == ()


def test_a_tool_that_must_be_called_and_is_not_there_is_left_for_the_provider_to_refuse() -> None:
    call = Call(messages=(HELLO,), tool_choice=ToolChoice(ChoiceMode.REQUIRED))
    assert write(call)[0]["tool_choice"] == "required"


def test_structured_output_is_asked_for() -> None:
    form = Format(schema=b'{"type":"object"}', description="An answer.", is_strict=True)
    assert write(Call(messages=(HELLO,), format=form))[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "description": "An answer.",
            "schema": {"type": "object"},
            "strict": True,
        },
    }
    assert write(Call(messages=(HELLO,), format=Format()))[0]["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("thinking", "effort", "dropped"),
    [
        (Thinking(effort="high"), "high", ()),
        (Thinking(), None, ()),
        (Thinking(is_on=False, effort="none"), "none", ()),
        (Thinking(is_on=False), None, ("reasoning.enabled",)),
        (Thinking(is_on=False, effort="low"), None, ("reasoning.enabled",)),
        (Thinking(budget_tokens=1_000), "low", ("reasoning.max_tokens",)),
        (Thinking(budget_tokens=5_000), "medium", ("reasoning.max_tokens",)),
        (Thinking(budget_tokens=30_000), "high", ("reasoning.max_tokens",)),
        (Thinking(effort="low", is_shown=False), "low", ("reasoning.exclude",)),
    ],
    ids=repr,
)
def test_reasoning_by_a_word(thinking: Thinking, effort: str | None, dropped: tuple[str, ...]) -> None:
    sent, lost = write(Call(messages=(HELLO,), thinking=thinking))
    assert (sent.get("reasoning_effort"), lost) == (effort, dropped)


@pytest.mark.parametrize(("budget", "effort"), [(200, "low"), (500, "medium"), (900, "high")])
def test_a_budget_becomes_the_word_for_its_share_of_the_answer(budget: int, effort: str) -> None:
    call = Call(messages=(HELLO,), max_tokens=1_000, thinking=Thinking(budget_tokens=budget))
    assert write(call)[0]["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("thinking", "told", "dropped"),
    [
        (Thinking(effort="high"), {"effort": "high"}, ()),
        (Thinking(budget_tokens=2_000), {"max_tokens": 2_000}, ()),
        (Thinking(budget_tokens=2_000, effort="low"), {"max_tokens": 2_000}, ("reasoning.effort",)),
        (Thinking(), {"enabled": True}, ()),
        (Thinking(is_on=False, effort="none"), {"enabled": False}, ()),
        (Thinking(effort="low", is_shown=False), {"effort": "low", "exclude": True}, ()),
        (Thinking(effort="low", is_shown=True), {"effort": "low", "exclude": False}, ()),
    ],
    ids=repr,
)
def test_reasoning_by_openrouters_object(thinking: Thinking, told: object, dropped: tuple[str, ...]) -> None:
    sent, lost = write(Call(messages=(HELLO,), thinking=thinking), OPENROUTER)
    assert (sent["reasoning"], lost) == (told, dropped)
    assert "reasoning_effort" not in sent


def test_several_answers_are_refused_where_they_would_be_lost() -> None:
    with pytest.raises(Problem) as caught:
        write(Call(messages=(HELLO,), n=2))
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "n")
    assert caught.value.message.startswith("2 answers were asked for (`n`, or `candidateCount`)")


def test_a_service_tier_of_another_dialect_is_left_out_and_named() -> None:
    assert write(Call(messages=(HELLO,), service_tier="flex"))[0]["service_tier"] == "flex"
    assert write(Call(messages=(HELLO,), service_tier="standard_only"))[1] == ("service_tier",)


def test_extras_go_to_their_own_dialect_and_only_there() -> None:
    fields = (("top_a", b"0.5"), ("transforms", b'["middle-out"]'), ("model", b'"dear"'))
    own, foreign = Extras("openai_chat", fields), Extras("gemini", fields)
    sent, dropped = write(Call(messages=(HELLO,), extras=own), OPENROUTER)
    assert (sent["top_a"], sent["transforms"], sent["model"]) == (0.5, ["middle-out"], "openai/gpt-4o")
    assert dropped == ("model",)
    assert write(Call(messages=(HELLO,), extras=own))[1] == ("transforms", "model")
    sent, dropped = write(Call(messages=(HELLO,), extras=foreign))
    assert "top_a" not in sent
    assert dropped == ("top_a", "transforms", "model")


NESTED = {
    "messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/a.png", "x": 1}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}", "x": 2}}],
        },
    ],
    "tools": [{"type": "function", "function": {"name": "f", "x": 3}}],
    "tool_choice": {"type": "function", "function": {"name": "f", "x": 4}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "x": 5}},
    "reasoning": {"effort": "low", "summary": "auto"},
}


def nested(quirks: Quirks) -> tuple[dict[str, Any], tuple[str, ...]]:
    return write(OpenAIChatIngress().read_call(msgspec.json.encode({"model": "m", **NESTED})), quirks)


def test_what_nobody_reads_within_an_object_goes_back_into_it() -> None:
    sent, dropped = nested(OPENROUTER)
    assert {name: sent[name] for name in NESTED} == NESTED
    assert dropped == ()


def test_a_field_that_calls_itself_by_a_path_comes_into_no_object_of_ours() -> None:
    body = {"model": "m", **NESTED, "stream": True, "stream_options.x": 1, "messages.x": 2}
    sent, _ = write(OpenAIChatIngress().read_call(msgspec.json.encode(body)))
    assert sent["stream_options"] == {"include_usage": True}
    assert (sent["stream_options.x"], sent["messages.x"]) == (1, 2)


def test_what_nobody_reads_within_an_object_is_named_where_there_is_no_such_object() -> None:
    sent, dropped = nested(Quirks())
    assert sent["reasoning_effort"] == "low"
    assert dropped == ("reasoning.summary",)


def test_what_nobody_reads_within_an_object_is_named_by_its_path_in_another_dialect() -> None:
    call = OpenAIChatIngress().read_call(msgspec.json.encode({"model": "m", **NESTED}))
    assert AnthropicMessages().write_call(call, target()).dropped == (
        "image_url.x",
        "function.x",
        "tool_choice.function.x",
        "response_format.json_schema.x",
        "reasoning.summary",
    )


def splice(body: bytes, *, model: Model | None = None, **quirks: Any) -> tuple[bytes, tuple[str, ...]]:
    envelope = OpenAIChatIngress().peek(body)
    request = OpenAIChat().splice(body, envelope, target(model=model, quirks=Quirks(**quirks)))
    accept = "text/event-stream" if envelope.stream else "application/json"
    assert ("accept", accept) in request.headers
    assert request.path == "/api/v1/chat/completions"
    return request.body, request.dropped


def test_a_spliced_body_is_the_clients_to_the_byte_but_for_the_model() -> None:
    body = b'{"model":"fast","messages":[ {"role":"user" , "content":"\\u00e9"} ],"x":{"y":[1e2]},"seed":1}'
    assert splice(body) == (body.replace(b'"fast"', b'"openai/gpt-4o"'), ())


def test_usage_is_asked_for_in_a_stream_and_the_clients_own_options_stay() -> None:
    body = b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_obfuscation":false}}'
    sent, _ = splice(body)
    assert sent.endswith(b'"stream_options":{"include_obfuscation":false,"include_usage":true}}')
    sent, _ = splice(body.replace(b"false", b"null").replace(b"include_obfuscation", b"include_usage"))
    assert sent.endswith(b'"stream_options":{"include_usage":true}}')
    sent, _ = splice(b'{"model":"m","messages":[],"stream":true}')
    assert sent.endswith(b'"stream":true,"stream_options":{"include_usage":true}}')


def test_usage_is_not_asked_for_where_it_would_be_refused() -> None:
    body = b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}'
    assert splice(body, stream_usage=False)[0] == b'{"model":"openai/gpt-4o","messages":[],"stream":true}'


def test_what_is_the_planners_never_goes_upstream() -> None:
    body = (
        b'{"model":"m","models":["a","b"],"fallbacks":[{"model":"c"}],"route":"fallback",'
        b'"usage":{"include":true},"messages":[]}'
    )
    for takes in (True, False):
        assert splice(body, accepts_provider_object=takes) == (b'{"model":"openai/gpt-4o","messages":[]}', ())


def test_the_provider_object_goes_only_to_those_who_know_it() -> None:
    body = b'{"model":"m","messages":[],"provider":{"only":["x"]}}'
    assert splice(body, accepts_provider_object=True) == (body.replace(b'"m"', b'"openai/gpt-4o"'), ())
    assert splice(body) == (b'{"model":"openai/gpt-4o","messages":[]}', ())


def test_what_only_openrouter_knows_goes_only_there() -> None:
    body = b'{"model":"m","messages":[],"transforms":["middle-out"],"session_id":"s"}'
    assert splice(body, accepts_provider_object=True) == (body.replace(b'"m"', b'"openai/gpt-4o"'), ())
    assert splice(body) == (b'{"model":"openai/gpt-4o","messages":[]}', ("session_id", "transforms"))


def test_nothing_is_stored() -> None:
    body = b'{"model":"m","messages":[],"store":true,"metadata":{"a":"b"}}'
    assert splice(body, keeps_answers=True) == (
        b'{"model":"openai/gpt-4o","messages":[],"store":false}',
        ("metadata",),
    )
    assert splice(body) == (b'{"model":"openai/gpt-4o","messages":[],"metadata":{"a":"b"}}', ())
    assert splice(b'{"model":"m","messages":[]}', keeps_answers=True)[0].endswith(b',"store":false}')


@pytest.mark.parametrize(
    ("given", "own"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_the_limit_goes_under_the_targets_own_name(given: str, own: str) -> None:
    body = msgspec.json.encode({"model": "m", "messages": [], given: 5})
    sent = msgspec.json.decode(splice(body, max_tokens_key=own)[0])
    assert sent == {"model": "openai/gpt-4o", "messages": [], own: 5}
    assert splice(body, max_tokens_key=given)[0] == body.replace(b'"m"', b'"openai/gpt-4o"')


def test_an_explicit_limit_over_what_the_model_gives_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        splice(b'{"model":"m","messages":[],"max_tokens":10}', model=Model(id="small", max_output_tokens=9))
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "max_tokens")


def test_an_explicit_temperature_is_refused_where_it_cannot_be_taken() -> None:
    with pytest.raises(Problem) as caught:
        splice(b'{"model":"m","messages":[],"temperature":0}', takes_temperature=False)
    assert caught.value.param == "temperature"
    splice(b'{"model":"m","messages":[],"temperature":null}', takes_temperature=False)


def test_a_spliced_body_goes_out_with_the_key() -> None:
    body = b'{"model":"m","messages":[]}'
    request = OpenAIChat().splice(body, OpenAIChatIngress().peek(body), target())
    assert request.headers[-1][0] == "authorization"


def test_a_seed_goes_under_the_providers_own_name_and_what_it_refuses_is_left_out_by_name() -> None:
    quirks = Quirks(seed_key="random_seed", refuses=("user", "service_tier"))
    body, dropped = write(Call(messages=(HELLO,), seed=7, user="u-1"), quirks)
    assert body["random_seed"] == 7
    assert "seed" not in body
    assert "user" not in body
    assert dropped == ("user",)
