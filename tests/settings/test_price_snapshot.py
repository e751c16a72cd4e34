"""Price lists say what genai-prices says, name by name, and are silent where they cannot."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices.data import providers
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEquals,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from trunkline.core.price import Price
from trunkline.core.price_list import Rest, Rule
from trunkline.settings.price_snapshot import DatedList, rules_of, snapshot
from trunkline.settings.reading import presets

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = date(2026, 11, 25)
LISTS = snapshot(providers)
OURS = sorted({row.price_list for row in presets().values() if row.price_list})
DOLLAR = 1_000_000_000


def listed(prices: Any, name: str = "m") -> DatedList:
    model = ModelInfo(id=name, match=ClauseEquals(equals=name), prices=prices)
    return snapshot([Provider(id="v", name="V", api_pattern="", models=[model])])["v"]


def asked(*, input_mtok: str = "1", output_mtok: str = "2", **more: Any) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(input_mtok), output_mtok=Decimal(output_mtok), **more)


def vendor(name: str) -> Provider:
    return next(one for one in providers if one.id == name)


MOST_NAMES = 60


def names(name: str) -> Iterator[str]:
    """What clients may write: some of the names that are listed, and some that are close to them."""
    every = sorted(LISTS[name].names)
    for known in every[:: -(-len(every) // MOST_NAMES)]:
        yield known
        for ending in ("-20251101", "-latest", "-001", "-preview", "-tts", "-fast", ":nitro", ":free", "x"):
            yield known + ending
        yield f"us.{known}"
        yield known[:-1]


@pytest.mark.parametrize("name", OURS)
def test_every_name_means_the_model_that_it_means_in_genai_prices(name: str) -> None:
    prices = LISTS[name].on(DAY)
    behind = [vendor(one) for one in vendor(name).fallback_model_providers or ()]
    models = [model for one in (vendor(name), *behind) for model in one.models]
    assert len(models) == len(prices.prices)
    for written in names(name):
        meant = vendor(name)._match_model(written, all_providers=providers)
        known = prices.price_of(written)
        if meant is not None:
            place = next(place for place, model in enumerate(models) if model is meant)
            # Ours are a little stricter with what is spoken.
            assert known == prices.prices[place] or (known is None and "-tts" in written), written
        elif not written.endswith("-20251101"):
            assert known is None, written


@pytest.mark.parametrize("name", OURS)
def test_every_pattern_of_the_vendors_that_we_know_can_be_told(name: str) -> None:
    patterns = [clause for model in vendor(name).models for clause in _patterns(model.match)]
    assert [clause for clause in patterns if not rules_of(clause)] == []


def _patterns(clause: Any) -> Iterator[Any]:
    if isinstance(clause, ClauseRegex | ClauseAnd):
        yield clause
    for inner in getattr(clause, "or_", ()):
        yield from _patterns(inner)


@pytest.mark.parametrize(
    ("clause", "rules"),
    [
        (
            ClauseRegex(regex=r"^gpt-6\.1-sol-\d{4}-\d{2}-\d{2}$"),
            [Rule(number=0, begins="gpt-6.1-sol", rest=Rest.DATE)],
        ),
        (ClauseRegex(regex=r"^opus[-@]\d{8}$"), [Rule(number=0, begins="opus", rest=Rest.DATE)]),
        (ClauseRegex(regex=r"^flash-\d"), [Rule(number=0, begins="flash-", rest=Rest.NUMBER)]),
        (ClauseRegex(regex=r"^(a|b)$"), []),
        (ClauseEquals(equals="m"), []),
        (
            ClauseAnd(and_=[ClauseStartsWith(starts_with="A"), ClauseContains(contains="B")]),
            [Rule(number=0, begins="a", has=("b",))],
        ),
        (ClauseAnd(and_=[ClauseStartsWith(starts_with="a"), ClauseRegex(regex="(a|b)")]), []),
    ],
)
def test_a_condition_on_names_becomes_rules_or_nothing(clause: Any, rules: list[Rule]) -> None:
    assert rules_of(clause) == rules


def test_a_price_is_exact() -> None:
    made = listed(
        asked(
            input_mtok="0.003625",
            cache_read_mtok=Decimal("0.1"),
            cache_write_mtok=Decimal("1.25"),
            output_reasoning_mtok=Decimal(3),
            requests_kcount=Decimal(5),
        )
    )
    assert made.on(DAY).price_of("m") == Price(
        input_nano=3_625_000,
        output_nano=2 * DOLLAR,
        cached_nano=100_000_000,
        cache_write_nano=1_250_000_000,
        reasoning_nano=3 * DOLLAR,
        request_nano=5_000_000,
    )


def test_a_tier_is_kept() -> None:
    price = listed(
        asked(cache_read_mtok=TieredPrices(base=Decimal(1), tiers=[Tier(start=200_000, price=Decimal(2))]))
    ).on(DAY)
    assert price.price_of("m") == Price(
        input_nano=DOLLAR,
        output_nano=2 * DOLLAR,
        cached_nano=DOLLAR,
        tiers=((200_000, Price(input_nano=DOLLAR, output_nano=2 * DOLLAR, cached_nano=2 * DOLLAR)),),
    )


def test_a_price_holds_from_its_day_on() -> None:
    made = listed(
        [
            ConditionalPrice(prices=asked(input_mtok="1")),
            ConditionalPrice(StartDateConstraint(date(2026, 12, 1)), prices=asked(input_mtok="3")),
        ]
    )
    before, after = made.on(date(2026, 11, 30)).price_of("m"), made.on(date(2026, 12, 1)).price_of("m")
    assert before is not None
    assert after is not None
    assert (before.input_nano, after.input_nano) == (DOLLAR, 3 * DOLLAR)


def test_where_the_hour_counts_the_dearest_of_the_day_is_taken() -> None:
    hours = TimeOfDateConstraint(time(1), time(4))
    made = listed(
        [
            ConditionalPrice(prices=asked(input_mtok="1", output_mtok="9")),
            ConditionalPrice(hours, prices=asked(input_mtok="3", output_mtok="6")),
            ConditionalPrice(StartDateConstraint(date(2026, 12, 1)), prices=asked(input_mtok="2", output_mtok="2")),
        ]
    )
    assert made.on(DAY).price_of("m") == Price(input_nano=3 * DOLLAR, output_nano=9 * DOLLAR)
    assert made.on(date(2026, 12, 2)).price_of("m") == Price(input_nano=2 * DOLLAR, output_nano=2 * DOLLAR)


@pytest.mark.parametrize(
    "prices",
    [
        ModelPrice(),
        ModelPrice(output_mtok=Decimal(1)),
        ModelPrice(audio_hours=Decimal(1)),
        ModelPrice(input_mtok=Decimal(1), output_image_mtok=Decimal(1)),
        ModelPrice(input_mtok=Decimal(-1), output_mtok=Decimal(1)),
        ModelPrice(input_mtok=Decimal("NaN"), output_mtok=Decimal(1)),
        [],
    ],
)
def test_what_has_no_price_by_tokens_has_none(prices: Any) -> None:
    assert listed(prices).on(DAY).price_of("m") is None


def test_only_what_is_marked_as_free_is_free() -> None:
    assert listed(ModelPrice(), "m:free").on(DAY).price_of("m:free") == Price(input_nano=0, output_nano=0)


def test_embeddings_cost_what_goes_in() -> None:
    made = listed(ModelPrice(input_mtok=Decimal("0.02"))).on(DAY)
    assert made.price_of("m") == Price(input_nano=20_000_000, output_nano=0)


@pytest.mark.parametrize(
    ("name", "model"),
    [(row.price_list, row.default_model) for row in presets().values() if row.price_list and row.default_model],
)
def test_the_default_model_of_each_provider_has_a_price(name: str, model: str) -> None:
    known = LISTS[name].on(DAY).price_of(model)
    # What OpenRouter's own choice costs depends on what it chooses: it says so itself, afterwards.
    assert (known is None) == (model == "openrouter/auto")
