"""Which models a request names, and how it narrows the choice."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trunkline.core.call import Preferences
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.asked_models import read_models, read_preferences, without_names
from trunkline.dialects.dialect import top_level
from trunkline.dialects.json_fields import JsonFields


def fields(**told: Any) -> JsonFields:
    return JsonFields(top_level(msgspec.json.encode(told)))


@pytest.mark.parametrize(
    ("told", "models"),
    [
        ({"model": "a"}, ("a", ())),
        ({"model": "a", "models": ["b", "a", "c"]}, ("a", ("b", "c"))),
        ({"models": ["b", "c"]}, ("b", ("c",))),
        ({"model": "a", "fallbacks": [{"model": "b"}]}, ("a", ("b",))),
    ],
    ids=repr,
)
def test_the_models_are_read_in_their_order_each_once(told: dict[str, Any], models: object) -> None:
    assert read_models(fields(**told)) == models


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ({}, "model"),
        ({"model": " "}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"model": "a\n"}, "model"),
        ({"model": "a", "models": ["\x00"]}, "models"),
        ({"model": "a", "models": [f"m{number}" for number in range(17)]}, "models"),
        ({"model": "a", "models": "b"}, "models"),
        ({"model": "a", "fallbacks": [{}]}, "fallbacks[0].model"),
    ],
    ids=repr,
)
def test_what_is_no_name_is_refused(told: dict[str, Any], param: str) -> None:
    with pytest.raises(Problem) as caught:
        read_models(fields(**told))
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


@pytest.mark.parametrize(
    ("provider", "preferences"),
    [
        (None, None),
        ({}, Preferences()),
        ({"order": ["a"], "only": ["b"], "ignore": ["c"]}, Preferences(order=("a",), only=("b",), ignore=("c",))),
        ({"allow_fallbacks": False, "sort": "price"}, Preferences(allow_fallbacks=False, sort="price")),
        ({"sort": {"by": "latency"}}, Preferences(sort="latency")),
        (
            {"max_price": {"prompt": 1, "completion": "2.5"}},
            Preferences(max_input_nano=1_000_000_000, max_output_nano=2_500_000_000),
        ),
        ({"zdr": True}, Preferences(beyond=("provider.zdr",))),
    ],
    ids=repr,
)
def test_the_callers_wishes_are_read(provider: object, preferences: Preferences | None) -> None:
    assert read_preferences(fields(provider=provider)) == preferences


@pytest.mark.parametrize(
    ("provider", "param"),
    [
        ({"order": "a"}, "provider.order"),
        ({"sort": "speed"}, "provider.sort"),
        ({"sort": {"by": 1}}, "provider.sort.by"),
        ({"max_price": {"prompt": -1}}, "provider.max_price.prompt"),
        ({"max_price": {"prompt": "much"}}, "provider.max_price.prompt"),
        ({"max_price": {"completion": "NaN"}}, "provider.max_price.completion"),
        ({"max_price": 1}, "provider.max_price"),
        (["a"], "provider"),
    ],
    ids=repr,
)
def test_a_wrong_wish_is_refused_by_its_path(provider: object, param: str) -> None:
    with pytest.raises(Problem) as caught:
        read_preferences(fields(provider=provider))
    assert caught.value.param == param


def test_names_that_were_the_planners_are_taken_out_and_the_rest_stays() -> None:
    told = msgspec.Raw(b'{"order":["groq","deepinfra"],"only":["groq"],"zdr":true}')
    assert without_names(told, {"groq"}) == b'{"order":["deepinfra"],"zdr":true}'
