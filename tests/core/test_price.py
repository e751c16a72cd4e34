"""Costs are integers of nano-dollars, never too low, and None where nobody knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.price import Price, dollars
from trunkline.core.reply import Usage

DOLLAR = 1_000_000_000
PLAIN = Price(input_nano=2 * DOLLAR, output_nano=8 * DOLLAR)
FULL = Price(
    input_nano=2 * DOLLAR,
    output_nano=8 * DOLLAR,
    cached_nano=DOLLAR // 2,
    cache_write_nano=3 * DOLLAR,
    reasoning_nano=9 * DOLLAR,
    request_nano=7,
)
TIERED = Price(
    input_nano=DOLLAR,
    output_nano=DOLLAR,
    tiers=(
        (1_000, Price(input_nano=2 * DOLLAR, output_nano=3 * DOLLAR)),
        (9_000, Price(input_nano=4 * DOLLAR, output_nano=5 * DOLLAR)),
    ),
)


def cost(price: Price, input_tokens: int, output_tokens: int, **more: int) -> int | None:
    return price.cost_nano(Usage(input_tokens=input_tokens, output_tokens=output_tokens, **more))


def test_each_kind_of_token_has_its_price() -> None:
    assert cost(PLAIN, 1_000_000, 500_000) == 6 * DOLLAR
    used = cost(FULL, 1_000_000, 100_000, cached_tokens=400_000, cache_write_tokens=100_000, reasoning_tokens=50_000)
    assert used == DOLLAR + DOLLAR // 5 + 3 * DOLLAR // 10 + 4 * DOLLAR // 10 + 45 * DOLLAR // 100 + 7


def test_a_kind_without_a_price_of_its_own_costs_what_the_plain_one_does() -> None:
    used = cost(PLAIN, 1_000_000, 500_000, cached_tokens=400_000, cache_write_tokens=1, reasoning_tokens=500_000)
    assert used == 6 * DOLLAR


def test_a_part_of_a_nano_dollar_is_a_whole_one() -> None:
    assert cost(Price(input_nano=1, output_nano=1), 1, 0) == 1
    assert Price(input_nano=1, output_nano=1).estimate_nano(1, 0) == 1


@pytest.mark.parametrize(("input_tokens", "output_tokens"), [(None, 5), (5, None), (None, None)])
def test_what_was_not_counted_has_no_cost(input_tokens: int | None, output_tokens: int | None) -> None:
    assert PLAIN.cost_nano(Usage(input_tokens=input_tokens, output_tokens=output_tokens)) is None


def test_nothing_used_costs_nothing() -> None:
    assert cost(PLAIN, 0, 0) == 0


@pytest.mark.parametrize(
    ("input_tokens", "nano"), [(1_000, 1_001_000), (1_001, 2_005_000), (9_000, 18_003_000), (9_001, 36_009_000)]
)
def test_above_a_tier_every_token_costs_what_it_says(input_tokens: int, nano: int) -> None:
    assert cost(TIERED, input_tokens, 1) == nano
    assert TIERED.estimate_nano(input_tokens, 1) == nano


TOKENS = st.integers(0, 10**9)
NANO = st.integers(0, 10**15)
PRICES = st.builds(
    Price,
    input_nano=NANO,
    output_nano=NANO,
    cached_nano=st.none() | NANO,
    cache_write_nano=st.none() | NANO,
    reasoning_nano=st.none() | NANO,
    request_nano=NANO,
)
USAGES = st.builds(
    Usage,
    input_tokens=TOKENS,
    output_tokens=TOKENS,
    cached_tokens=st.none() | TOKENS,
    cache_write_tokens=st.none() | TOKENS,
    reasoning_tokens=st.none() | TOKENS,
)


@given(PRICES, USAGES)
def test_whatever_an_upstream_counts_the_cost_is_between_the_cheapest_and_the_dearest_kind(
    price: Price, usage: Usage
) -> None:
    kinds = [
        one
        for one in (
            price.input_nano,
            price.output_nano,
            price.cached_nano,
            price.cache_write_nano,
            price.reasoning_nano,
        )
        if one is not None
    ]
    tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    nano = price.cost_nano(usage)
    assert nano is not None
    assert tokens * min(kinds) <= (nano - price.request_nano) * 1_000_000 < tokens * max(kinds) + 1_000_000


def test_nano_dollars_are_said_as_dollars_to_the_last_digit() -> None:
    assert [dollars(nano) for nano in (0, 12, 1_500_000_000)] == ["0.000000000", "0.000000012", "1.500000000"]
