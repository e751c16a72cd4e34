"""A call becomes the request that this provider takes: to the byte, with its quirks, with the key where it belongs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.targets import KEY, target
from trunkline.core.call import Call, Message, Role, Text
from trunkline.core.catalog import Model, Origin, Quirks, Target
from trunkline.core.problem import Kind, Problem, Source
from trunkline.dialects.openai_chat.egress import OpenAIChat

HELLO = (Message(Role.USER, (Text("Hello"),)),)
SEED = Call(messages=HELLO, temperature=0.7, max_tokens=10_000, defaulted=frozenset({"temperature", "max_tokens"}))


def body(call: Call, to: Target) -> dict[str, Any]:
    return msgspec.json.decode(OpenAIChat().write_call(call, to).body)


def test_the_seeds_request_to_the_byte() -> None:
    request = OpenAIChat().write_call(
        SEED, target(headers=(("HTTP-Referer", "http://localhost:5173"), ("X-Title", "Trunkline")))
    )
    assert request.method == "POST"
    assert request.origin == Origin("https", "openrouter.ai", 443)
    assert request.path == "/api/v1/chat/completions"
    assert request.headers == (
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("HTTP-Referer", "http://localhost:5173"),
        ("X-Title", "Trunkline"),
        ("authorization", f"Bearer {KEY}"),
    )
    assert request.body == (
        b'{"model":"openai/gpt-4o","messages":[{"role":"user","content":"Hello"}],"stream":true,'
        b'"temperature":0.7,"max_tokens":10000,"stream_options":{"include_usage":true}}'
    )


def test_a_conversation_keeps_its_order_and_every_character() -> None:
    words = '漢字 👨‍👩‍👧 " \\ \n \x00 \u2028'
    messages = (
        Message(Role.SYSTEM, (Text("Be brief."),)),
        Message(Role.USER, (Text("One"), Text(" and two"))),
        Message(Role.ASSISTANT, (Text(words),)),
        *HELLO,
    )
    assert body(Call(messages=messages), target())["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One and two"},
        {"role": "assistant", "content": words},
        {"role": "user", "content": "Hello"},
    ]


def test_what_nobody_set_is_left_out() -> None:
    assert set(body(Call(messages=HELLO), target())) == {"model", "messages", "stream", "stream_options"}


def test_a_zero_temperature_is_a_temperature() -> None:
    assert body(Call(messages=HELLO, temperature=0.0), target())["temperature"] == 0.0


def test_a_call_that_is_no_stream_asks_for_json() -> None:
    request = OpenAIChat().write_call(Call(messages=HELLO, stream=False), target())
    assert ("accept", "application/json") in request.headers
    sent = msgspec.json.decode(request.body)
    assert sent["stream"] is False
    assert "stream_options" not in sent


def test_the_limit_goes_under_the_name_that_the_provider_has_for_it() -> None:
    sent = body(SEED, target(quirks=Quirks(max_tokens_key="max_completion_tokens")))
    assert sent["max_completion_tokens"] == 10_000
    assert "max_tokens" not in sent


def test_usage_is_not_asked_for_where_it_comes_by_itself() -> None:
    assert "stream_options" not in body(SEED, target(quirks=Quirks(stream_usage=False)))


def test_a_default_temperature_is_left_out_where_it_would_be_refused() -> None:
    assert "temperature" not in body(SEED, target(quirks=Quirks(takes_temperature=False)))


def test_an_explicit_temperature_is_refused_where_it_cannot_be_taken() -> None:
    with pytest.raises(Problem) as caught:
        body(Call(messages=HELLO, temperature=0.7), target(quirks=Quirks(takes_temperature=False)))
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "temperature")
    assert caught.value.message == "openrouter/openai/gpt-4o does not take a temperature: leave it out."


SMALL = Model(id="small", max_output_tokens=4096)


def test_a_default_limit_is_lowered_to_what_the_model_gives() -> None:
    assert body(SEED, target(model=SMALL))["max_tokens"] == 4096


def test_an_explicit_limit_over_what_the_model_gives_is_refused_and_named() -> None:
    with pytest.raises(Problem) as caught:
        body(Call(messages=HELLO, max_tokens=10_000), target(model=SMALL))
    assert (caught.value.kind, caught.value.source) == (Kind.INVALID_REQUEST, Source.CALLER)
    assert caught.value.param == "maxTokens"
    assert caught.value.message == "openrouter/small gives at most 4,096 tokens in an answer; 10,000 were asked for."


@pytest.mark.parametrize("wanted", [1, 4095, 4096])
def test_a_limit_within_what_the_model_gives_goes_out_as_it_is(wanted: int) -> None:
    assert body(Call(messages=HELLO, max_tokens=wanted), target(model=SMALL))["max_tokens"] == wanted


def test_a_provider_without_a_key_gets_none() -> None:
    request = OpenAIChat().write_call(SEED, target(credential=None))
    assert [name for name, _ in request.headers] == ["content-type", "accept"]


@pytest.mark.parametrize("is_allowed", [True, False])
def test_what_the_operator_wrote_of_private_addresses_goes_along(is_allowed: bool) -> None:
    assert OpenAIChat().write_call(SEED, target(allow_private=is_allowed)).allow_private is is_allowed


def test_a_request_shows_neither_its_key_nor_its_words() -> None:
    request = OpenAIChat().write_call(SEED, target())
    assert (
        repr(request) == f"WireRequest(POST https://openrouter.ai/api/v1/chat/completions, {len(request.body)} bytes)"
    )
    assert str(request) == repr(request)
