"""The seed's request body: defaults for what is not given, and a Problem that names the field for what is wrong."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.admission import shallow
from trunkline.core.call import Call, Envelope, Message, Role, Text
from trunkline.core.problem import Kind, Problem, Source
from trunkline.dialects.simple import Simple


def asking(**fields: Any) -> bytes:
    return json.dumps({"message": "Hi", **fields}).encode()


def raw(field: str, value: bytes) -> bytes:
    return b'{"message":"Hi","' + field.encode() + b'":' + value + b"}"


def refusal(body: bytes) -> Problem:
    """What both readings of a bad body say: the same."""
    with pytest.raises(Problem) as shallow:
        Simple().peek(body)
    with pytest.raises(Problem) as deep:
        Simple().read_call(body)
    assert (shallow.value.message, shallow.value.param) == (deep.value.message, deep.value.param)
    assert shallow.value.kind is Kind.INVALID_REQUEST
    assert shallow.value.source is Source.CALLER
    assert 400 <= shallow.value.status < 500
    return shallow.value


def test_what_the_message_is_as_long_as_is_known() -> None:
    facts = Simple().facts(Simple().peek(asking(message="Hé")))
    assert (facts.messages, facts.text_bytes, facts.last_text, facts.opening) == (1, 3, "Hé", "Hé")


def test_a_message_alone_gets_the_seeds_defaults() -> None:
    assert shallow(Simple(), asking()) == Envelope(model=None, stream=True, max_tokens=10_000, is_kept=True)
    assert Simple().read_call(asking()) == Call(
        messages=(Message(Role.USER, (Text("Hi"),)),),
        temperature=0.7,
        max_tokens=10_000,
        stream=True,
        defaulted=frozenset({"temperature", "max_tokens"}),
    )


def test_what_is_given_is_taken_and_is_no_default() -> None:
    body = asking(temperature=0, maxTokens=5, model="openai/gpt-4o", sessionId="s-1")
    assert shallow(Simple(), body) == Envelope(
        model="openai/gpt-4o", stream=True, max_tokens=5, session_id="s-1", is_kept=True, conversation="s-1"
    )
    call = Simple().read_call(body)
    assert (call.temperature, call.max_tokens, call.defaulted) == (0.0, 5, frozenset())


def test_null_is_not_given() -> None:
    body = asking(temperature=None, maxTokens=None, model=None, sessionId=None)
    assert Simple().read_call(body) == Simple().read_call(asking())
    assert shallow(Simple(), body) == shallow(Simple(), asking())


def test_fields_that_nobody_knows_are_ignored() -> None:
    assert Simple().read_call(asking(userId="u", stream=False, x={"y": [1]})) == Simple().read_call(asking())


@pytest.mark.parametrize("temperature", [0, 0.0, 1, 1.5, 2, 2.0])
def test_a_temperature_from_0_to_2_is_taken(temperature: float) -> None:
    taken = Simple().read_call(asking(temperature=temperature)).temperature
    assert taken == temperature
    assert isinstance(taken, float)


@pytest.mark.parametrize("max_tokens", [1, 1_000_000])
def test_max_tokens_from_1_to_a_million_are_taken(max_tokens: int) -> None:
    assert Simple().read_call(asking(maxTokens=max_tokens)).max_tokens == max_tokens


@pytest.mark.parametrize("message", ["x" * 1_000_000, "漢" * 1_000_000, " x ", "\x00", "\n\ttext", "👨‍👩‍👧", "\ufeff!"])
def test_a_message_goes_through_as_it_is(message: str) -> None:
    assert Simple().read_call(asking(message=message)).messages[0].text == message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "`message` is missing: give the prompt as a string."),
        (b'{"Message":"Hi"}', "`message` is missing: give the prompt as a string."),
        (asking(message=None), "`message` must be a string."),
        (asking(message=5), "`message` must be a string."),
        (asking(message=["Hi"]), "`message` must be a string."),
        (asking(message=""), "`message` must not be empty."),
        (asking(message=" \n\t\u3000"), "`message` must not be empty."),
        (asking(message="x" * 1_000_001), "`message` must have at most 1,000,000 characters."),
        (asking(temperature=-0.1), "`temperature` must be from 0 to 2."),
        (asking(temperature=2.1), "`temperature` must be from 0 to 2."),
        (asking(temperature=2**63), "`temperature` must be from 0 to 2."),
        (asking(temperature="0.7"), "`temperature` must be a number."),
        (asking(temperature=True), "`temperature` must be a number."),
        (asking(temperature=[1]), "`temperature` must be a number."),
        (raw("temperature", b"9" * 309), "`temperature` must be from 0 to 2."),
        (raw("temperature", b"-" + b"9" * 4000), "`temperature` must be from 0 to 2."),
        (raw("temperature", b"1e999"), "`temperature` is out of range."),
        (raw("temperature", b"-1e999"), "`temperature` is out of range."),
        (raw("temperature", b"1" + b"0" * 1_000_000), "`temperature` is out of range."),
        (asking(maxTokens=0), "`maxTokens` must be from 1 to 1,000,000."),
        (asking(maxTokens=-1), "`maxTokens` must be from 1 to 1,000,000."),
        (asking(maxTokens=1_000_001), "`maxTokens` must be from 1 to 1,000,000."),
        (asking(maxTokens=2**64), "`maxTokens` must be from 1 to 1,000,000."),
        (asking(maxTokens=1.5), "`maxTokens` must be an integer."),
        (raw("maxTokens", b"5.0"), "`maxTokens` must be an integer."),
        (raw("maxTokens", b"1e3"), "`maxTokens` must be an integer."),
        (asking(maxTokens="5"), "`maxTokens` must be an integer."),
        (asking(maxTokens=True), "`maxTokens` must be an integer."),
        (raw("maxTokens", b"9" * 1_000_000), "`maxTokens` is out of range."),
        (asking(model=""), "`model` must be a string that is not empty."),
        (asking(model="  "), "`model` must be a string that is not empty."),
        (asking(model=5), "`model` must be a string that is not empty."),
        (asking(model="m" * 257), "`model` must be at most 256 printable characters."),
        (asking(model="a\r\nb"), "`model` must be at most 256 printable characters."),
        (asking(model="a\u200bb"), "`model` must be at most 256 printable characters."),
        (asking(sessionId=""), "`sessionId` must be a string that is not empty."),
        (asking(sessionId=7), "`sessionId` must be a string that is not empty."),
        (asking(sessionId="\x00"), "`sessionId` must be at most 256 printable characters."),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_a_wrong_field_is_named_with_what_it_must_be(body: bytes, said: str) -> None:
    problem = refusal(body)
    assert problem.message == said
    assert problem.param == said.split("`")[1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"message"',
        b"message=Hi",
        b'{"message":"Hi"',
        b'{"message":"Hi"} trailing',
        b'{"message":"Hi"}{"message":"Hi"}',
        b'{"message":"\\ud800"}',
        b'{"message":"Hi\\udc00"}',
        b'{"message":"Hi","sessionId":"\\ud83d"}',
        b'{"message":"Hi","temperature":NaN}',
        b'{"message":"Hi","temperature":-Infinity}',
        b'{"message":"Hi","message":"Ho"}',
        b'{"message":"Hi","\\u006dessage":"Ho"}',
        b'{"message":"Hi","temperature":1,"temperature":1}',
        b'\xef\xbb\xbf{"message":"Hi"}',
        '{"message":"Hi"}'.encode("utf-16"),
        '{"message":"Hi"}'.encode("utf-16-le"),
        '{"message":"Hi"}'.encode("utf-32"),
        b'{"message":"\xff\xfe"}',
        b'{"message":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b'{"message":"Hi","x":' + b'{"x":' * 100_000,
    ],
    ids=lambda body: repr(body[:60]),
)
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    assert refusal(body).message


@pytest.mark.parametrize("field", ["message", "temperature", "maxTokens", "model", "sessionId"])
@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b'"\\ud800"', b"undefined", b"'x'", b"0x1", b"01", b"+1"])
def test_what_is_not_json_names_the_field_where_it_stands(field: str, value: bytes) -> None:
    problem = refusal(b'{"first":1,"' + field.encode() + b'":' + value + b',"last":1}')
    assert problem.param == field
    assert f"`{field}`" in problem.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    fields=st.fixed_dictionaries({"message": JSON}, optional=dict.fromkeys(("temperature", "maxTokens"), JSON)),
    names=st.fixed_dictionaries({}, optional=dict.fromkeys(("model", "sessionId", "x"), JSON)),
)
@settings(deadline=None, max_examples=300)
def test_any_json_is_a_request_or_a_problem(fields: dict[str, Any], names: dict[str, Any]) -> None:
    body = json.dumps({**fields, **names}).encode()
    with suppress(Problem):
        call = Simple().read_call(body)
        assert call.messages[0].text == fields["message"]
        assert 0 <= (call.temperature or 0) <= 2
        assert 1 <= (call.max_tokens or 0) <= 1_000_000


@given(number=st.integers() | st.integers(min_value=300, max_value=5000).map(lambda digits: "9" * digits))
@settings(deadline=None, max_examples=100)
def test_any_number_is_in_range_or_a_problem(number: object) -> None:
    for field in ("temperature", "maxTokens"):
        with suppress(Problem):
            Simple().peek(raw(field, str(number).encode()))


@pytest.mark.parametrize("digits", [b"9" * 1_000_000, b"0." + b"9" * 1_000_000, b"1e" + b"9" * 1_000_000])
def test_a_million_digits_are_refused_at_once(digits: bytes) -> None:
    started = time.process_time()
    refusal(raw("maxTokens", digits))
    assert time.process_time() - started < 0.1
