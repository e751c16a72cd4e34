"""The top level of a JSON body is read without its depths, and what two readers could read in two ways is refused."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.targets import target
from trunkline.core.caller import Secret
from trunkline.core.problem import Kind, Problem, Source
from trunkline.dialects.dialect import MAX_TOP_LEVEL_KEYS, key_header, post, top_level


def refusal(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        top_level(body)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.source is Source.CALLER
    return caught.value


def test_values_stay_as_they_were_written() -> None:
    body = b' {"a" : 1.50, "b":\n{"x": [1, 2 ]}, "\\u0063":"\\u00e9", "":null } \n'
    assert {name: bytes(raw) for name, raw in top_level(body).items()} == {
        "a": b"1.50",
        "b": b'{"x": [1, 2 ]}',
        "c": b'"\\u00e9"',
        "": b"null",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    value=st.dictionaries(st.text(max_size=8), JSON, max_size=5),
    escapes=st.booleans(),
    indent=st.sampled_from([0, None]),
)
@settings(deadline=None, max_examples=200)
def test_any_object_is_read_as_a_deep_reader_reads_it(value: dict[str, Any], escapes: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=escapes, indent=indent).encode("utf-8", "surrogatepass")
    read = top_level(body)
    assert list(read) == list(value)
    assert {name: msgspec.json.decode(raw) for name, raw in read.items()} == msgspec.json.decode(body)


@given(body=st.binary(max_size=60), opening=st.sampled_from([b"", b'{"a":', b'{"', b'{"a":"\\u', b'{"a":1,']))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_an_object_or_a_problem(body: bytes, opening: bytes) -> None:
    for data in (body, opening + body, opening + body + b"}"):
        with suppress(Problem):
            top_level(data)


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"5", b"true", b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(body).message == "The body must be a JSON object."


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a":1,"a":2}', "a"),
        (b'{"a":1,"b":2,"\\u0061":1}', "a"),
        (b'{"":1,"":2}', ""),
        ('{"é":1,"\\u00e9":2}'.encode(), "é"),
        (b'{"\\ud83d\\ude00":1,"' + "😀".encode() + b'":2}', "😀"),
    ],
)
def test_a_key_that_comes_twice_is_refused_also_when_it_is_written_in_two_ways(body: bytes, name: str) -> None:
    problem = refusal(body)
    assert problem.message == f"The body holds `{name}` twice."
    assert problem.param == name


def test_a_key_that_comes_twice_deeper_down_is_not_looked_at() -> None:
    assert bytes(top_level(b'{"a":{"b":1,"b":2}}')["a"]) == b'{"b":1,"b":2}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{} trailing",
        b"{,}",
        b'{"a":1,}',
        b"{a:1}",
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":.5}',
        b'{"a":Infinity}',
        b'{"a":"\x00"}',
        b'{"a":"\n"}',
        b'{"\\ud800":1}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00"}',
        b'{"a":"\\x"}',
        b'\xef\xbb\xbf{"a":1}',
    ],
    ids=repr,
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(body).message.startswith("The body is not valid JSON")


def test_a_fault_is_named_by_the_key_at_which_it_stands() -> None:
    problem = refusal(b'{"message":"Hi","temperature":NaN,"maxTokens":5}')
    assert problem.param == "temperature"
    assert problem.message.startswith("The body is not valid JSON at or after `temperature`: ")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"a":"\xff"}', 6),
        (b'{"a":"\xed\xa0\x80"}', 6),
        (b'{"a":"\xc0\xaf"}', 6),
        ('{"a":1}'.encode("utf-16"), 0),
        ('{"a":"é"}'.encode("latin-1"), 6),
    ],
)
def test_what_is_not_utf_8_is_refused_and_its_place_named(body: bytes, place: int) -> None:
    assert refusal(body).message == f"The body is not valid UTF-8 (byte {place})."


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_depth_bomb_is_refused(opening: bytes, is_closed: bool) -> None:
    closing = opening[::-1].translate(bytes.maketrans(b"[{", b"]}"), b'"a:') if is_closed else b""
    assert refusal(b'{"x":' + opening * 1_000_000 + b"1" + closing * 1_000_000 + b"}").message.startswith("The body is")


def test_a_flood_of_keys_is_refused_at_once() -> None:
    body = b"{" + b",".join(b'"k%d":1' % number for number in range(300_000)) + b"}"
    started = time.process_time()
    assert refusal(body).message == f"The body has more than {MAX_TOP_LEVEL_KEYS:,} keys."
    assert time.process_time() - started < 0.1


def test_as_many_keys_as_are_allowed_are_read() -> None:
    body = msgspec.json.encode({f"k{number}": number for number in range(MAX_TOP_LEVEL_KEYS)})
    assert len(top_level(body)) == MAX_TOP_LEVEL_KEYS


def test_a_long_key_is_cut_where_it_is_told() -> None:
    key = b'"' + b"k" * 10_000 + b'":1'
    assert len(refusal(b"{" + key + b"," + key + b"}").message) < 200
    assert len(refusal(b"{" + key + b",x}").message) < 300


@pytest.mark.parametrize(
    ("dialect", "row", "header"),
    [
        ("openai_chat", None, ("authorization", "Bearer canary")),
        ("openai_responses", None, ("authorization", "Bearer canary")),
        ("anthropic_messages", None, ("x-api-key", "canary")),
        ("gemini", None, ("x-goog-api-key", "canary")),
        ("openai_chat", "api-key", ("api-key", "canary")),
    ],
)
def test_a_key_goes_in_its_dialects_own_header_or_its_rows(
    dialect: str, row: str | None, header: tuple[str, str]
) -> None:
    provider = target().provider
    keyed = msgspec.structs.replace(provider, dialect=dialect, key_header=row, credential=Secret("canary"))
    assert key_header(keyed) == (header,)
    assert key_header(msgspec.structs.replace(keyed, credential=None)) == ()


def test_a_header_goes_out_once_in_whatever_letters_its_row_writes_it() -> None:
    headers = post(target(headers=(("Authorization", "Basic x"), ("X-Title", "a"))), "/x", b"").headers
    names = [name.lower() for name, _ in headers]
    assert len(names) == len(set(names))
    assert dict(headers)["authorization"].startswith("Bearer ")
    assert dict(headers)["X-Title"] == "a"
