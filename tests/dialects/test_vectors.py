"""Vectors: what is one, its base64, and an answer without them."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.dialects.vectors import EDGE_BYTES, LARGEST, is_vector, json_list, less_vectors, packed

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "openai_embeddings"
NUMBERS = st.lists(st.floats(-LARGEST, LARGEST, allow_nan=False), min_size=1, max_size=9)
LONG = b"[" + b"0.25," * EDGE_BYTES + b"1]"


@given(NUMBERS)
def test_a_list_of_numbers_is_a_vector_and_packs_into_four_bytes_each(numbers: list[float]) -> None:
    raw = msgspec.Raw(msgspec.json.encode(numbers))
    assert is_vector(raw)
    unpacked = struct.unpack(f"<{len(numbers)}f", b64decode(msgspec.json.decode(packed(raw), type=str)))
    assert list(unpacked) == [struct.unpack("<f", struct.pack("<f", number))[0] for number in numbers]


def test_our_base64_is_that_of_a_real_server() -> None:
    told, same = (json.loads((TRANSCRIPTS / name).read_bytes()) for name in ("llamacpp.json", "llamacpp-base64.json"))
    ours = [json.loads(packed(msgspec.Raw(json.dumps(row["embedding"]).encode()))) for row in told["data"]]
    assert ours == [row["embedding"] for row in same["data"]]


@pytest.mark.parametrize(
    "raw", [b"[]", b"null", b'"AACAPw=="', b'["a"]', b"[[1]]", b"[null]", b"5", b"[1e39]", b"[1e999]"]
)
def test_what_is_no_list_of_numbers_is_no_vector(raw: bytes) -> None:
    assert not is_vector(msgspec.Raw(raw))


def test_a_list_is_its_items_as_they_came() -> None:
    assert json_list([]) == b"[]"
    assert json_list([b"[1.50]", b"[2]"]) == b"[[1.50],[2]]"


@pytest.mark.parametrize(
    "body",
    [
        b'{"object":"list","data":%b,"usage":{"a":1}}' % LONG,
        b'{"usage":{"a":1},"data":%b}' % LONG,
        b'{"usage" : {"a":1} ,\n "data":%b, "model":"m"}\n' % LONG,
        b'{"data":%b,"model":"usage","usage":{"a":1},"more":"\\"usage\\""}' % LONG,
    ],
)
def test_a_large_answer_is_read_before_or_after_its_vectors(body: bytes) -> None:
    rest = less_vectors(body, b"data", b"usage")
    assert rest is not None
    assert len(rest) < 200
    assert json.loads(rest)["usage"] == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[1],"usage":{"a":1}}',
        b'{"values":%b,"usage":{"a":1}}' % LONG,
        b'{"data":%b}' % LONG,
        b"",
        LONG,
    ],
)
def test_an_answer_that_is_small_or_of_another_shape_is_read_whole(body: bytes) -> None:
    assert less_vectors(body, b"data", b"usage") is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":%b,"of":{"usage":{"a":1}}}' % LONG,
        b'{"of":{"usage":{"a":1},"data":%b}}' % LONG,
        b'[{"x":"data"},{"usage":1},%b' % LONG,
    ],
)
def test_a_field_further_inside_gives_no_object_with_that_field(body: bytes) -> None:
    rest = less_vectors(body, b"data", b"usage")
    try:
        told = json.loads(rest or b"")
    except json.JSONDecodeError:
        told = {}
    assert "usage" not in told
