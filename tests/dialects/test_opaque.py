"""A continuation passes through a client of another dialect as text, and comes out as it went in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.hub_strategies import JSON_VALUES, RAW_OBJECTS
from trunkline.core.call import Opaque
from trunkline.dialects.opaque import PREFIX, unwrap, wrap


@given(st.builds(Opaque, st.text(st.characters(exclude_categories=["Cs"])), RAW_OBJECTS))
def test_what_was_wrapped_comes_out_as_it_went_in(opaque: Opaque) -> None:
    text = wrap(opaque)
    assert re.fullmatch(r"~tl1\.[A-Za-z0-9_-]+", text)
    assert unwrap(text) == opaque


def test_the_bytes_of_the_json_are_kept() -> None:
    raw = b'{ "b":1e2,\n"a" : "\\u00e9" , "b": 2}'
    assert unwrap(wrap(Opaque("gemini", raw))) == Opaque("gemini", raw)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EqQBCgIYAhIM",
        "~tl1",
        "~tl1.",
        "~tl1.!",
        "~tl1.e30",
        "~tl1.bnVsbA",
        "~tl1.\u00e9",
        "~tl1." + "A" * 41,
        "~tl2.e30",
    ],
)
def test_any_other_text_is_the_providers_own(text: str) -> None:
    assert unwrap(text) is None


@given(st.text() | st.binary().map(repr) | JSON_VALUES.map(str))
def test_any_text_is_ours_or_is_not(text: str) -> None:
    for one in (text, PREFIX + text):
        opaque = unwrap(one)
        assert opaque is None or isinstance(opaque, Opaque)
