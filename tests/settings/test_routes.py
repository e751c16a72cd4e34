"""Routes, retries and several keys in trunkline.toml: the catalogue has what is written, and mistakes are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trunkline.core.call import Need
from trunkline.core.catalog import Policy, Resume
from trunkline.core.resilience import BreakerLimits, HealthLimits, RetryLimits
from trunkline.settings.values import compile_catalog, from_bytes, local_provider, to_bytes, with_local

if TYPE_CHECKING:
    from settings.written import Desk
    from trunkline.core.catalog import Route
    from trunkline.settings.values import Settings

KEYS = {"GROQ_API_KEY": "g", "OPENROUTER_API_KEY": "o"}

ROUTES = """
[models.fast]
targets = [
  "groq/llama-3.3-70b-versatile",
  { target = "openrouter/meta-llama/llama-3.3-70b", weight = 3, needs = ["tools"], max_price = "0.5", tier = 1 },
  { target = "groq/new", canary = 0.1, region = "eu", caller = "beta" },
]
policy = ["sticky", "cheapest"]
hedge = true
resume = true
timeouts = { first_token_s = 7 }
"""


def route_of(settings: Settings) -> Route:
    return compile_catalog(settings).route("fast")


def test_a_route_is_as_it_is_written(desk: Desk) -> None:
    route = route_of(desk.write(toml=ROUTES).load(**KEYS))
    assert [leg.target.name for leg in route.legs] == [
        "groq/llama-3.3-70b-versatile",
        "openrouter/meta-llama/llama-3.3-70b",
        "groq/new",
    ]
    assert (route.policy, route.hedge, route.resume) == ((Policy.STICKY, Policy.CHEAPEST), True, Resume.PREFILL)
    second, third = route.legs[1:]
    assert (second.weight, second.needs, second.max_price_nano, second.tier) == (3, {Need.TOOLS}, 500_000_000, 1)
    assert (third.canary, third.region, third.caller) == (0.1, "eu", "beta")
    assert {leg.target.provider.timeouts.first_token_s for leg in route.legs} == {7}


def test_a_route_travels_to_a_worker(desk: Desk) -> None:
    settings = desk.write(toml=ROUTES).load(**KEYS)
    assert route_of(from_bytes(to_bytes(settings))) == route_of(settings)


def test_a_routes_name_comes_before_everything_else_of_that_name(desk: Desk) -> None:
    desk.write(toml='[models."groq/x"]\ntargets = ["openrouter/y"]\npolicy = "weighted"\nresume = "instruct"')
    route = compile_catalog(desk.load(**KEYS)).route("groq/x")
    assert [leg.target.name for leg in route.legs] == ["openrouter/y"]
    assert (route.policy, route.resume) == ((Policy.WEIGHTED,), Resume.INSTRUCT)


def test_a_target_on_this_machine_is_there_when_its_model_runs(desk: Desk) -> None:
    settings = desk.write(toml='[models.fast]\ntargets = ["groq/x", "local/smollm2"]').load(**KEYS)
    assert [leg.target.name for leg in route_of(settings).legs] == ["groq/x"]
    local = with_local(settings, local_provider(8123, "smollm2", 4096), as_default=False)
    assert [leg.target.name for leg in route_of(local).legs] == ["groq/x", "local/smollm2"]


MISTAKES = """
[models.a]
targets = ["nowhere/x", "anthropic/claude", "b", { target = "groq/x", weight = 0 }]
[models.b]
targets = []
[models.c]
targets = ["groq/x", { target = "groq/y", canary = 2 }, { target = "groq/z", max_price = "much" }]
policy = ["best"]
resume = "maybe"
[models.d]
targets = ["groq/x"]
cache_ttl_s = 5
colour = "red"
timeouts = { soon = 1 }
"""


def test_every_mistake_is_named_in_one_go(desk: Desk) -> None:
    told = desk.write(toml=MISTAKES).mistakes(GROQ_API_KEY="g")
    assert [line.removeprefix("trunkline.toml: models.").split(" ")[0].rstrip(":.") for line in told] == [
        "a.targets[3].weight",
        "b.targets",
        "c.targets[1].canary",
        "c.targets[2].max_price",
        "c.policy",
        "c.resume",
        "d.cache_ttl_s",
        "d.colour",
        "d.timeouts.soon",
    ]


@pytest.mark.parametrize(
    ("written", "where", "says"),
    [
        ("targets = 'groq/x'", "targets", "must name at least one target"),
        ("targets = ['groq/x', 5]", "targets[1]", "must be a string, or a table"),
        ("targets = ['groq/x', {weight = 2}]", "targets[1]", "has no `target`"),
        ("targets = [{target = 'groq/x', wait = 2}]", "targets[0].wait", "is not a setting"),
        ("targets = [{target = 'groq/x', weight = -1}]", "targets[0].weight", "not negative"),
        ("targets = [{target = 'groq/x', weight = nan}]", "targets[0].weight", "not negative"),
        ("targets = [{target = 'groq/x', weight = 'much'}]", "targets[0].weight", "Expected `float`"),
        ("targets = [{target = 'groq/x', canary = -0.1}]", "targets[0].canary", "not negative"),
        ("targets = [{target = 'groq/x', needs = ['wings']}]", "targets[0].needs", "Invalid enum value 'wings'"),
        ("targets = [{target = 'groq/x', tier = 3}]", "targets[0].tier", "Expected `int` <= 2"),
        ("targets = [{target = 'groq/x', max_price = 'nan'}]", "targets[0].max_price", "number of dollars"),
        ("targets = ['groq/x']\npolicy = []", "policy", "must name at least one"),
        ("targets = ['groq/x']\npolicy = ['sticky', 'sticky']", "policy", "names 'sticky' more than once"),
        ("targets = ['groq/x']\npolicy = ['priority', 'sticky']", "policy", "something after 'priority'"),
        ("targets = ['groq/x']\ntimeouts = 5", "timeouts", "must be a table"),
        ("targets = ['groq/x']\ntimeouts = {total_s = -1}", "timeouts.total_s", "not negative"),
        ("targets = ['groq/x']\nsingle_flight = true", "single_flight", "is not built yet"),
        ("targets = ['groq/x']\nhedge = 1", "hedge", "Expected `bool`"),
    ],
)
def test_a_mistake_in_a_route_is_named_with_its_place(desk: Desk, written: str, where: str, says: str) -> None:
    (told,) = desk.write(toml=f"[models.a]\n{written}").mistakes(GROQ_API_KEY="g")
    assert told.removeprefix("trunkline.toml: models.a.").startswith(where)
    assert says in told


def test_an_alias_of_a_route_is_no_target(desk: Desk) -> None:
    toml = '[aliases]\nx = "b"\n[models.a]\ntargets = ["x"]\n[models.b]\ntargets = ["groq/y"]'
    (told,) = desk.write(toml=toml).mistakes(GROQ_API_KEY="g")
    assert told == "trunkline.toml: models.a.targets[0]: 'x' is a route itself: name its targets."


def test_an_alias_of_a_model_is_a_target(desk: Desk) -> None:
    desk.write(toml='[aliases]\nx = "groq/y"\n[models.fast]\ntargets = ["x", "some/slug"]')
    assert [leg.target.name for leg in route_of(desk.load(**KEYS)).legs] == ["groq/y", "openrouter/some/slug"]


def test_a_target_that_nobody_serves_is_named_with_the_way_out(desk: Desk) -> None:
    told = desk.write(
        toml='[models.a]\ntargets = ["groq/x", "nowhere/x", "b"]\n[models.b]\ntargets = ["groq/x"]'
    ).mistakes(GROQ_API_KEY="g")
    assert [line.split(":")[1].strip() for line in told] == ["models.a.targets[1]", "models.a.targets[2]"]
    assert "Is its provider on?" in told[0]
    assert "is a route itself" in told[1]


def test_how_failures_are_met_can_be_set(desk: Desk) -> None:
    settings = desk.write(
        toml="[retries]\nattempts = 0\n[breaker]\nconsecutive = 9\npanic_share = 0\n[health]\ncool_s = 1.5"
    ).load(**KEYS)
    assert settings.retries == RetryLimits(attempts=0)
    assert settings.breaker == BreakerLimits(consecutive=9, panic_share=0.0)
    assert settings.health == HealthLimits(cool_s=1.5)


@pytest.mark.parametrize("table", ["retries", "breaker", "health"])
def test_a_setting_of_these_that_is_none_is_named(desk: Desk, table: str) -> None:
    assert desk.write(toml=f"[{table}]\nnothing = 1").mistakes(**KEYS) == [
        f"trunkline.toml: {table}.nothing is not a setting."
    ]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("[retries]\nattempts = 11", "retries.attempts: Expected `int` <= 10"),
        ("[retries]\nshare = 1.5", "retries.share: Expected `float` <= 1.0"),
        ("[retries]\nwindow_s = 0", "retries.window_s: Expected `float` > 0.0"),
        ("[retries]\nconcurrent = 1.5", "retries.concurrent: Expected `int`"),
        ("[breaker]\nconsecutive = 0", "breaker.consecutive: Expected `int` >= 1"),
        ("[breaker]\njitter = 2", "breaker.jitter: Expected `float` <= 1.0"),
        ("[breaker]\nopen_s = 1e9", "breaker.open_s: Expected `float` <= 86400.0"),
        ("[breaker]\npanic_share = -1", "breaker.panic_share must be a number that is not negative"),
        ("[health]\nhalf_life_s = 0", "health.half_life_s: Expected `float` > 0.0"),
        ("[health]\ncool_s = nan", "health.cool_s must be a number that is not negative"),
        ("health = 5", "health must be a table"),
    ],
)
def test_a_value_of_these_that_cannot_be_is_named(desk: Desk, written: str, says: str) -> None:
    (told,) = desk.write(toml=written).mistakes(**KEYS)
    assert told.removeprefix("trunkline.toml: ").startswith(says)


def test_they_are_all_told_in_one_go(desk: Desk) -> None:
    told = desk.write(toml="[retries]\nshare = 2\n[breaker]\nleast = 0\nshare = 3\n[health]\nhalf_life_s = 0")
    assert len(told.mistakes(**KEYS)) == 4


def test_how_failures_are_met_travels_to_a_worker(desk: Desk) -> None:
    settings = desk.write(toml="[retries]\nattempts = 4\n[breaker]\nleast = 3\n[health]\ncool_s = 9").load(**KEYS)
    assert from_bytes(to_bytes(settings)) == settings


SEVERAL = '[providers.groq]\ncredentials = ["env:ONE", "env:TWO", "env:THREE"]\n'


def test_a_provider_may_have_several_keys(desk: Desk) -> None:
    (provider,) = desk.write(toml=SEVERAL).load(ONE="1", TWO="2", THREE="3").providers
    keys = [(one.account, one.credential and one.credential.reveal()) for one in provider.variants()]
    assert keys == [("1", "1"), ("2", "2"), ("3", "3")]


def test_a_key_that_is_not_there_is_named(desk: Desk) -> None:
    assert desk.write(toml=SEVERAL).mistakes(ONE="1", TWO="2") == [
        "trunkline.toml: providers.groq.credentials: set THREE, or leave it out."
    ]


def test_a_secret_in_the_file_and_two_ways_to_say_a_key_are_refused(desk: Desk) -> None:
    told = desk.write(toml='[providers.groq]\ncredentials = ["gsk-secret"]').mistakes()
    assert "secrets do not belong into the file" in told[0]
    assert "gsk-secret" not in "".join(told)
    told = desk.write(toml='[providers.groq]\napi_key = "env:ONE"\ncredentials = ["env:ONE"]').mistakes(ONE="1")
    assert told == ["trunkline.toml: providers.groq has both api_key and credentials: give one of them."]
