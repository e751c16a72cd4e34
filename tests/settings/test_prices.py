"""Prices: the operator's own before the vendors' lists, exact, and None where nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.core.price import Price
from trunkline.core.price_list import PriceList, Rule
from trunkline.settings.values import compile_catalog, from_bytes, local_provider, to_bytes, with_local

if TYPE_CHECKING:
    from settings.written import Desk
    from trunkline.settings.values import Settings

KEYS = {"OPENAI_API_KEY": "o", "OPENROUTER_API_KEY": "r"}
LISTED, FAMILY = Price(input_nano=10, output_nano=20), Price(input_nano=30, output_nano=40)
LISTS = {"openai": PriceList(prices=(LISTED, FAMILY), names={"gpt-4o": 0}, rules=(Rule(number=1, begins="gpt-4.1"),))}

OWN = """
[prices."openai/gpt-4o"]
input = 2.5
output = "10"
cached = 1.25
cache_write = "3.125"
reasoning = 12
request = "0.000000001"

[prices."openrouter/openrouter/auto"]
input = 1
output = 1

[prices."openrouter/auto"]
input = 0.1
output = 0
"""


def priced(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, price_lists=LISTS)


def price_of(settings: Settings, name: str) -> Price | None:
    return compile_catalog(settings).resolve(name).model.price


def test_dollars_become_exact_nano_dollars(desk: Desk) -> None:
    assert price_of(desk.write(toml=OWN).load(**KEYS), "openai/gpt-4o") == Price(
        input_nano=2_500_000_000,
        output_nano=10_000_000_000,
        cached_nano=1_250_000_000,
        cache_write_nano=3_125_000_000,
        reasoning_nano=12_000_000_000,
        request_nano=1,
    )


def test_a_price_is_that_of_the_target_as_it_is_named(desk: Desk) -> None:
    price = price_of(desk.write(toml=OWN).load(**KEYS), "openrouter/auto")
    assert price == Price(input_nano=100_000_000, output_nano=0)


def test_the_operators_own_price_comes_before_the_lists(desk: Desk) -> None:
    settings = priced(desk.write(toml=OWN).load(**KEYS))
    assert price_of(settings, "openai/gpt-4o") != LISTED
    assert price_of(priced(desk.write(toml="").load(**KEYS)), "openai/gpt-4o") == LISTED


def test_a_model_without_a_row_has_the_price_of_its_list(desk: Desk) -> None:
    settings = priced(desk.load(**KEYS))
    assert price_of(settings, "openai/gpt-4.1") == FAMILY
    assert price_of(settings, "openai/gpt-9") is None
    assert price_of(settings, "openrouter/openai/gpt-4o") is None


def test_routes_and_lists_of_models_have_prices_too(desk: Desk) -> None:
    settings = priced(desk.write(toml='[models.fast]\ntargets = ["openai/gpt-4o", "openai/gpt-4.1"]').load(**KEYS))
    catalog = compile_catalog(settings)
    assert [leg.target.model.price for leg in catalog.route("fast").legs] == [LISTED, FAMILY]
    openai = next(provider for provider in catalog.providers if provider.name == "openai")
    assert {model.id: model.price for model in openai.models}["gpt-4o"] == LISTED


def test_without_a_price_anywhere_it_is_not_known(desk: Desk) -> None:
    assert price_of(desk.load(**KEYS), "openai/gpt-4o") is None


def test_a_model_on_this_machine_costs_nothing(desk: Desk) -> None:
    local = with_local(desk.load(**KEYS), local_provider(8123, "smollm2", 4096), as_default=False)
    assert price_of(local, "local/smollm2") == Price(input_nano=0, output_nano=0)


def test_a_server_of_ones_own_may_be_given_a_price(desk: Desk) -> None:
    desk.write(toml='[prices."ollama/qwen3"]\ninput = 0\noutput = 0')
    settings = desk.load(OLLAMA_BASE_URL="http://localhost:11434")
    assert price_of(settings, "ollama/qwen3") == Price(input_nano=0, output_nano=0)
    assert price_of(settings, "ollama/other") is None


def test_prices_travel_to_a_worker(desk: Desk) -> None:
    settings = priced(desk.write(toml=OWN).load(**KEYS))
    assert from_bytes(to_bytes(settings)) == settings


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('[prices."gpt-4o"]\ninput = 1\noutput = 1', 'prices."gpt-4o" must be `provider/model`'),
        ('[prices."nobody/gpt-4o"]\ninput = 1\noutput = 1', 'prices."nobody/gpt-4o" must be `provider/model`'),
        ('[prices]\n"openai/x" = 5', 'prices."openai/x" must be a table'),
        ("prices = 5", "prices must be a table"),
        ('[prices."openai/x"]\ninput = 1', 'prices."openai/x" needs `output`, 0 where nothing is charged'),
        ('[prices."openai/x"]\ninput = 1\noutput = 1\ninputs = 1', 'prices."openai/x".inputs is not a setting'),
    ],
)
def test_a_mistake_in_a_price_is_named(desk: Desk, written: str, says: str) -> None:
    (told,) = desk.write(toml=written).mistakes(**KEYS)
    assert told.removeprefix("trunkline.toml: ").startswith(says)


@pytest.mark.parametrize(
    "dollars",
    [
        "-1",
        "nan",
        "inf",
        "'NaN'",
        "'-0.1'",
        "1e7",
        "'much'",
        "''",
        "true",
        "[1]",
        "0.0000000001",
        "'1e-10'",
        "'1e999999'",
    ],
)
def test_what_is_no_price_is_refused(desk: Desk, dollars: str) -> None:
    (told,) = desk.write(toml=f'[prices."openai/x"]\ninput = {dollars}\noutput = 1').mistakes(**KEYS)
    assert told.startswith('trunkline.toml: prices."openai/x".input must be dollars, from 0 to 1,000,000')


def test_a_price_has_one_place(desk: Desk) -> None:
    row = '[providers.openai]\nmodels = [{ id = "x", price = { input_nano = 1, output_nano = 1 } }]'
    assert desk.write(toml=row).mistakes(**KEYS) == [
        'trunkline.toml: providers.openai.models[0].price: prices stand under [prices."openai/x"].'
    ]


def test_a_provider_of_ones_own_may_name_a_list(desk: Desk) -> None:
    row = '[providers.proxy]\ndialect = "openai_chat"\nbase_url = "https://proxy.example/v1"\nprice_list = "openai"'
    assert price_of(priced(desk.write(toml=row).load()), "proxy/gpt-4o") == LISTED
