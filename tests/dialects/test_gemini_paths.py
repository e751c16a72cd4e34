"""Gemini names the model and the action in the path: what each path asks for, and where it goes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.admission import admitted, shallow
from dialects.gemini_streams import KEY, target
from dialects.hub_strategies import JSON_VALUES, WORDS
from trunkline.core.call import Call, ChoiceMode, Envelope, Message, Operation, Role, Text, ToolChoice
from trunkline.core.catalog import Origin, Quirks
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.dialect import Egress, WholeIngress, top_level
from trunkline.dialects.gemini.sides import Gemini, GeminiIngress

HELLO = b'{"contents":[{"parts":[{"text":"Hello"}]}]}'
STREAM = Envelope(model="m", stream=True)
COUNT = Envelope(model="m", operation=Operation.COUNT)


def keyed(envelope: Envelope, body: bytes) -> Envelope:
    return msgspec.structs.replace(envelope, keys=top_level(body))


def refusal(ingress: GeminiIngress, body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        admitted(ingress, body)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


def test_both_sides_are_what_a_dialect_must_be() -> None:
    ingress: WholeIngress = GeminiIngress()
    egress: Egress = Gemini()
    assert ingress.name == egress.name == "gemini"


@pytest.mark.parametrize("stream", [True, False])
def test_the_path_says_which_model_and_whether_to_stream(*, stream: bool) -> None:
    ingress = GeminiIngress().at("openrouter/openai/gpt-4o", stream=stream)
    assert shallow(ingress, HELLO) == Envelope(model="openrouter/openai/gpt-4o", stream=stream, wants_usage=True)
    assert ingress.read_call(HELLO).stream is stream


def test_the_limit_is_seen_in_either_spelling() -> None:
    for body in (
        b'{"contents":[{}],"generationConfig":{"maxOutputTokens":5}}',
        b'{"contents":[{}],"generation_config":{"max_output_tokens":5.0}}',
    ):
        assert GeminiIngress("m").peek(body).max_tokens == 5


def test_a_stream_that_is_no_event_stream_is_refused_with_the_way_out() -> None:
    problem = refusal(GeminiIngress().at("m", stream=True, is_sse=False), HELLO)
    assert problem.param == "alt"
    assert "?alt=sse" in problem.message


def test_a_path_without_a_model_is_refused() -> None:
    assert refusal(GeminiIngress(), HELLO).param == "model"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "contents"),
        (b'{"contents":null}', "contents"),
        (b'{"contents":5}', "contents"),
        (b'{"contents":[5]}', "contents[0]"),
        (b'{"contents":[{"parts":[{"fileData":5}]}]}', "contents[0].parts[0].fileData"),
        (b'{"contents":[{}],"contents":[{}]}', "contents"),
        (b'{"contents":[{}],"generationConfig":[]}', "generationConfig"),
        (b'{"contents":[{}],"generationConfig":{"maxOutputTokens":"x"}}', "generationConfig.maxOutputTokens"),
        (b'{"contents":[{}],"generationConfig":{"maxOutputTokens":-1}}', "generationConfig.maxOutputTokens"),
        (b'{"contents":[{}],"tools":5}', "tools"),
    ],
)
def test_a_wrong_field_is_named_before_planning(body: bytes, param: str) -> None:
    assert refusal(GeminiIngress("m"), body).param == param


def test_the_clients_own_body_goes_on_as_it_came() -> None:
    body = b'{"contents" : [ {"parts":[{"text":"\\u00e9 \xc3\xa9"}]} ],\n "new":{"a":1.0}}'
    request = Gemini().splice(body, keyed(STREAM, body), target(headers=(("x-team", "one"),)))
    assert request.body == body
    assert request.origin == Origin("https", "generativelanguage.googleapis.com", 443)
    assert request.path == "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"
    assert request.headers[2:] == (("x-team", "one"), ("x-goog-api-key", KEY))


@given(extra=st.dictionaries(WORDS, JSON_VALUES, max_size=4), model=st.booleans(), store=st.booleans())
@settings(deadline=None, max_examples=200)
def test_a_splice_changes_only_the_model_and_what_would_be_stored(
    extra: dict[str, Any], *, model: bool, store: bool
) -> None:
    body: dict[str, Any] = {"contents": [{}], **extra}
    body.pop("model", None)
    body.pop("store", None)
    kept = msgspec.json.encode(body)
    if model:
        body["model"] = "models/another"
    if store:
        body["store"] = True
    data = msgspec.json.encode(body)
    spliced = top_level(Gemini().splice(data, keyed(STREAM, data), target()).body)
    assert spliced.pop("store", None) == (msgspec.Raw(b"false") if store else None)
    assert spliced == top_level(kept)


def test_a_count_goes_to_its_own_action_with_the_targets_model_in_it() -> None:
    whole = b'{"generateContentRequest":{"model":"models/m","contents":[{"parts":[{"text":"a"}]}],"x":1.0}}'
    request = Gemini().splice(whole, keyed(COUNT, whole), target())
    assert request.path == "/v1beta/models/gemini-3-pro:countTokens"
    assert request.body == (
        b'{"generateContentRequest":{"model":"models/gemini-3-pro","contents":[{"parts":[{"text":"a"}]}],"x":1.0}}'
    )
    assert Gemini().splice(HELLO, keyed(COUNT, HELLO), target()).body == HELLO


def test_a_count_is_read_and_written() -> None:
    ingress = GeminiIngress().at("m", stream=False, operation=Operation.COUNT)
    whole = b'{"generate_content_request":{"contents":[{"parts":[{"text":"a"}]}]}}'
    assert shallow(ingress, whole) == Envelope(model="m", operation=Operation.COUNT, wants_usage=True)
    assert ingress.read_call(whole).messages == (Message(Role.USER, (Text("a"),)),)
    assert ingress.write_count(7) == b'{"totalTokens":7}'
    assert Gemini().read_count(b'{"totalTokens":7,"promptTokensDetails":[]}', target()) == 7


def test_a_call_is_counted_with_all_that_is_in_it() -> None:
    call = Call(messages=(Message(Role.SYSTEM, (Text("s"),)), Message(Role.USER, (Text("u"),))))
    request = Gemini().write_count_call(call, target())
    assert request.path == "/v1beta/models/gemini-3-pro:countTokens"
    assert msgspec.json.decode(request.body) == {
        "generateContentRequest": {
            "systemInstruction": {"parts": [{"text": "s"}]},
            "contents": [{"role": "user", "parts": [{"text": "u"}]}],
            "model": "models/gemini-3-pro",
        }
    }


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"totalTokens":-1}', b'{"totalTokens":"x"}'])
def test_a_count_that_is_none_is_an_invalid_answer(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        Gemini().read_count(body, target())
    assert caught.value.kind is Kind.UPSTREAM_INVALID


BARE = target(quirks=Quirks(counts_bare=True))


def test_a_bare_count_holds_a_requests_fields_and_nothing_else() -> None:
    call = Call(messages=(Message(Role.USER, (Text("Hi"),)),), temperature=0.5, tool_choice=ToolChoice(ChoiceMode.NONE))
    body = msgspec.json.decode(Gemini().write_count_call(call, BARE).body)
    assert set(body) == {"contents", "generationConfig"}


@pytest.mark.parametrize(
    "sent",
    [
        b'{"contents":[{"parts":[{"text":"Hi"}]}],"system_instruction":{"parts":[]},"safetySettings":[]}',
        (
            b'{"generateContentRequest":{"model":"models/x","contents":[{"parts":[{"text":"Hi"}]}],'
            b'"system_instruction":{"parts":[]}}}'
        ),
    ],
)
def test_a_clients_own_count_is_unwrapped_for_a_bare_one(sent: bytes) -> None:
    request = Gemini().splice(sent, keyed(COUNT, sent), BARE)
    assert request.body == b'{"contents":[{"parts":[{"text":"Hi"}]}],"system_instruction":{"parts":[]}}'
    assert request.path.endswith(":countTokens")
