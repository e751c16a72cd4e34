"""A plan in words: why each target stands where it does, and why others were passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from trunkline.core.call import Envelope, Facts, Need
from trunkline.core.caller import Caller
from trunkline.core.catalog import Catalog, Leg, Model, Origin, Policy, Provider, Route, Target
from trunkline.core.price import Price
from trunkline.routing.breaker import State
from trunkline.routing.explanation import considered, explained
from trunkline.routing.health import Standing, Verdict
from trunkline.routing.plan import Rules, Wanted, plan

if TYPE_CHECKING:
    from trunkline.routing.plan import Plan

PRICE = Price(input_nano=1_000_000_000, output_nano=2_000_000_000)


def target(name: str, price: Price | None = None, **model: Any) -> Target:
    origin = Origin("http", "127.0.0.1", 8080)
    provider = Provider(name=name, label=name.title(), dialect="openai_chat", origin=origin, path="/v1")
    return Target(provider, Model(id="m", price=price, **model))


def planned(
    *legs: Leg,
    policy: Policy = Policy.PRIORITY,
    standings: dict[str, Standing] | None = None,
    needs: frozenset[Need] = frozenset(),
) -> Plan:
    catalog = Catalog(providers=(), routes=(Route(name="fast", legs=legs, policy=(policy,)),))
    known = standings or {}
    rules = Rules(
        offers={"openai_chat": frozenset(Need)},
        standing=lambda one: known.get(one.provider.name, Standing(Verdict(State.CLOSED))),
        chance=lambda: 0.5,
    )
    wanted = Wanted(
        Envelope(model="fast"),
        "openai_chat",
        Caller(),
        catalog,
        lambda: Facts(needs=needs, text_bytes=400),
        explains=True,
    )
    return plan(wanted, rules)


SEEN = Standing(Verdict(State.CLOSED), in_flight=3, first_token_s=0.251, tokens_per_s=80.4)


@pytest.mark.parametrize(
    ("policy", "first", "second"),
    [
        (Policy.PRIORITY, "is number 1 of its route", "is number 2 of its route"),
        (Policy.WEIGHTED, "was drawn by chance, with the weight 1", "was drawn by chance, with the weight 1"),
        (
            Policy.FASTEST,
            "has not been seen yet",
            "gave its first token after 0.25 s lately, then 80 tokens a second",
        ),
        (Policy.CHEAPEST, "would cost about $0.001100000", "has no known price"),
        (Policy.LEAST_BUSY, "has 0 requests under way", "has 3 requests under way"),
        (
            Policy.AUTO,
            "is of tier 0 for a request of tier 0, at about $0.001100000",
            "is of tier 0 for a request of tier 0, at no known price",
        ),
    ],
)
def test_each_policy_says_what_it_went_by(policy: Policy, first: str, second: str) -> None:
    made = planned(Leg(target=target("a", PRICE)), Leg(target=target("b")), policy=policy, standings={"b": SEEN})
    assert [one.why for one in explained(made).targets] == [first, second]


def test_a_conversation_is_where_its_hash_puts_it_and_the_hash_is_not_told() -> None:
    made = explained(planned(Leg(target=target("a")), Leg(target=target("b")), policy=Policy.STICKY))
    assert {one.why for one in made.targets} == {"is where the conversation's hash puts it"}


def test_an_only_target_says_so() -> None:
    assert [one.why for one in explained(planned(Leg(target=target("a")))).targets] == ["is the only target"]


def test_a_canary_says_so_first() -> None:
    made = explained(planned(Leg(target=target("a")), Leg(target=target("b"), canary=0.05)))
    assert made.targets[-1].why == "is a canary for 5.0% of conversations; is number 2 of its route"


def test_every_fact_is_told_even_where_nothing_is_chosen_by_it() -> None:
    made = explained(planned(Leg(target=target("a", PRICE)), Leg(target=target("b")), standings={"a": SEEN}))
    known, unknown = made.targets
    assert (known.in_flight, known.first_token_s, known.tokens_per_s) == (3, 0.251, 80.4)
    assert (known.state, known.estimated_cost, known.ranks) == ("closed", "0.001100000", {"priority": 0.0})
    assert (unknown.first_token_s, unknown.tokens_per_s, unknown.estimated_cost) == (None, None, None)
    assert (made.route, made.policy, made.hedge, made.resume) == ("fast", ("priority",), False, None)


def test_those_that_were_passed_over_have_their_reasons() -> None:
    gone = Standing(Verdict(State.OPEN, "it has failed too often", 12.0))
    made = explained(
        planned(
            Leg(target=target("a", offers=frozenset[Need]())),
            Leg(target=target("b")),
            Leg(target=target("c")),
            Leg(target=target("d"), caller="gold"),
            standings={"b": gone},
            needs=frozenset({Need.TOOLS}),
        )
    )
    assert [one.target for one in made.targets] == ["c/m"]
    assert {one.target: one.why for one in made.passed_over} == {
        "a/m": "does not take tools",
        "b/m": "is not asked now: it has failed too often, for 12 s more",
        "d/m": "is for callers with the tag `gold`",
    }


def test_what_is_for_other_callers_is_marked_for_the_record() -> None:
    looked_at = considered(planned(Leg(target=target("a")), Leg(target=target("b"), caller="gold")))
    assert [(one.target, one.passed_over, one.foreign) for one in looked_at] == [
        ("a/m", False, False),
        ("b/m", True, True),
    ]


def test_auto_names_the_signs_by_which_a_request_is_difficult() -> None:
    needs = frozenset({Need.TOOLS, Need.SCHEMA})
    made = planned(Leg(target=target("a"), tier=1), Leg(target=target("b")), policy=Policy.AUTO, needs=needs)
    first, second = [one.why for one in explained(made).targets]
    assert first == "is of tier 1 for a request of tier 1 (tools, schema), at no known price"
    assert second == "is of tier 0 for a request of tier 1 (tools, schema), at no known price"
