"""A price list knows a model by every name that it goes by, and nothing of the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.price import Price
from trunkline.core.price_list import MAX_NAME, PriceList, Rest, Rule

FIRST, SECOND = Price(input_nano=1, output_nano=1), Price(input_nano=2, output_nano=2)


def listed(*rules: Rule, **names: int) -> PriceList:
    return PriceList(prices=(FIRST, SECOND, None), names=names, rules=rules)


def test_a_name_that_is_listed_comes_before_every_rule() -> None:
    known = listed(Rule(number=1, begins="m"), m=0)
    assert known.price_of("m") == FIRST
    assert known.price_of("M") == FIRST
    assert known.price_of("m-2") == SECOND


def test_the_first_rule_that_holds_counts() -> None:
    known = listed(Rule(number=1, begins="m-large"), Rule(number=0, begins="m"))
    assert (known.price_of("m-large-2"), known.price_of("m-small")) == (SECOND, FIRST)


def test_a_model_that_is_known_to_have_no_price_has_none() -> None:
    assert listed(m=2).price_of("m") is None
    assert listed(m=2).price_of("other") is None


@pytest.mark.parametrize(
    ("rule", "name", "holds"),
    [
        (Rule(number=0, begins="m-"), "m-x", True),
        (Rule(number=0, begins="m-"), "x-m-", False),
        (Rule(number=0, ends="-lite"), "m-lite", True),
        (Rule(number=0, ends="-lite"), "m-lite-2", False),
        (Rule(number=0, has=("nova", "pro")), "us.nova-pro-v1", True),
        (Rule(number=0, has=("nova", "pro")), "us.nova-lite-v1", False),
        (Rule(number=0, begins="m", lacks=("-tts",)), "m-tts", False),
        (Rule(number=0, begins="m", rest=Rest.DATE), "m-20260131", True),
        (Rule(number=0, begins="m", rest=Rest.DATE), "m@20260131", True),
        (Rule(number=0, begins="m", rest=Rest.DATE), "m-2026-01-31", True),
        (Rule(number=0, begins="m", rest=Rest.DATE), "m", False),
        (Rule(number=0, begins="m", rest=Rest.DATE), "m-2026013", False),
        (Rule(number=0, begins="m", rest=Rest.DATE), "m-20260131-fast", False),
        (Rule(number=0, begins="m", rest=Rest.DATE), "m-mini", False),
        (Rule(number=0, begins="m-", rest=Rest.NUMBER), "m-001", True),
        (Rule(number=0, begins="m-", rest=Rest.NUMBER), "m-lite-001", False),
    ],
)
def test_a_rule_says_which_names_it_means(rule: Rule, name: str, *, holds: bool) -> None:
    assert rule.holds(name) is holds


def test_a_name_longer_than_any_is_not_compared_with_rules() -> None:
    known = listed(Rule(number=0, begins="m"))
    assert known.price_of("m" * MAX_NAME) == FIRST
    assert known.price_of("m" * (MAX_NAME + 1)) is None


@given(st.text())
def test_any_text_may_be_asked_for(name: str) -> None:
    assert listed(*(Rule(number=0, begins="\0", rest=rest) for rest in Rest)).price_of(name) is None or "\0" in name
