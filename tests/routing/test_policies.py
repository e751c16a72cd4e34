"""Each policy puts targets in order by facts, and leaves what it holds for equal to the next one."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.facts import candidate
from trunkline.core.catalog import Policy
from trunkline.routing.difficulty import Difficulty
from trunkline.routing.policies import Asked, Candidate, ordered

NOBODY = Asked()


def names(candidates: list[Candidate], *policies: Policy, asked: Asked = NOBODY) -> list[str]:
    return [one.leg.target.provider.name for one in ordered(candidates, policies, asked)]


def talk(number: int) -> Asked:
    return Asked(f"conversation {number}".encode())


def test_priority_keeps_what_is_written() -> None:
    assert names([candidate("b", 1), candidate("a", 0), candidate("c", 2)], Policy.PRIORITY) == ["a", "b", "c"]


@pytest.mark.parametrize("weights", [(1, 1), (1, 3), (1, 2, 7)])
def test_weighted_gives_each_its_share_in_the_long_run(weights: tuple[int, ...]) -> None:
    draw = random.Random(1)  # noqa: S311 - a draw that is the same each time
    firsts = Counter(
        names(
            [candidate(str(n), n, chance=draw.random(), leg={"weight": weight}) for n, weight in enumerate(weights)],
            Policy.WEIGHTED,
        )[0]
        for _ in range(4000)
    )
    for number, weight in enumerate(weights):
        assert abs(firsts[str(number)] / 4000 - weight / sum(weights)) < 0.03


def test_where_the_first_of_the_weighted_fails_the_rest_have_their_shares_too() -> None:
    draw = random.Random(2)  # noqa: S311 - a draw that is the same each time
    seconds = Counter[str]()
    for _ in range(6000):
        legs = [
            candidate(str(n), n, chance=draw.random(), leg={"weight": weight}) for n, weight in enumerate((6, 1, 3))
        ]
        order = names(legs, Policy.WEIGHTED)
        if order[0] == "0":
            seconds[order[1]] += 1
    assert abs(seconds["2"] / seconds.total() - 3 / 4) < 0.04


def test_fastest_counts_the_first_token_and_the_pace() -> None:
    soon_but_slow = candidate("soon", 0, first_token_s=0.2, tokens_per_s=20.0)
    late_but_quick = candidate("late", 1, first_token_s=1.0, tokens_per_s=200.0)
    assert names([soon_but_slow, late_but_quick], Policy.FASTEST) == ["late", "soon"]


def test_fastest_asks_whom_nobody_has_seen_first() -> None:
    seen = candidate("seen", 0, first_token_s=0.01, tokens_per_s=500.0)
    assert names([seen, candidate("new", 1)], Policy.FASTEST) == ["new", "seen"]


def test_fastest_holds_what_is_nearly_as_fast_for_equal() -> None:
    nearly = [candidate("a", 0, first_token_s=1.06, cost_nano=9), candidate("b", 1, first_token_s=1.08, cost_nano=3)]
    assert names(nearly, Policy.FASTEST, Policy.CHEAPEST) == ["b", "a"]


def test_cheapest_puts_an_unknown_price_last_and_none_at_all_first() -> None:
    legs = [candidate("unknown", 0), candidate("dear", 1, cost_nano=9), candidate("free", 2, cost_nano=0)]
    assert names(legs, Policy.CHEAPEST) == ["free", "dear", "unknown"]


def test_least_busy_counts_by_weight() -> None:
    legs = [
        candidate("small", 0, in_flight=3),
        candidate("large", 1, in_flight=6, leg={"weight": 4.0}),
        candidate("idle", 2),
    ]
    assert names(legs, Policy.LEAST_BUSY) == ["idle", "large", "small"]


def test_sticky_is_the_same_for_all_turns_and_even_over_all_conversations() -> None:
    legs = [candidate(name, place) for place, name in enumerate("abcd")]
    firsts = Counter(names(legs, Policy.STICKY, asked=talk(n))[0] for n in range(2000))
    assert names(legs, Policy.STICKY, asked=talk(7)) == names(legs[::-1], Policy.STICKY, asked=talk(7))
    assert all(abs(count / 2000 - 1 / 4) < 0.05 for count in firsts.values())
    assert len(firsts) == 4


def test_sticky_goes_by_weight() -> None:
    legs = [candidate("a", 0), candidate("b", 1, leg={"weight": 3.0})]
    firsts = Counter(names(legs, Policy.STICKY, asked=talk(n))[0] for n in range(3000))
    assert abs(firsts["b"] / 3000 - 3 / 4) < 0.04


@given(st.sets(st.sampled_from("abcdefgh"), min_size=2), st.binary(min_size=1), st.data())
def test_when_a_target_goes_only_its_own_conversations_move(every: set[str], key: bytes, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(every)))
    legs = [candidate(name, place) for place, name in enumerate(sorted(every))]
    before = names(legs, Policy.STICKY, asked=Asked(key))
    left = [leg for leg in legs if leg.leg.target.provider.name != gone]
    assert names(left, Policy.STICKY, asked=Asked(key)) == [name for name in before if name != gone]


def test_sticky_before_another_keeps_one_target_and_leaves_the_rest_to_it() -> None:
    legs = [
        candidate(name, place, cost_nano=cost) for place, (name, cost) in enumerate({"a": 3, "b": 2, "c": 1}.items())
    ]
    for number in range(50):
        kept = names(legs, Policy.STICKY, asked=talk(number))[0]
        order = names(legs, Policy.STICKY, Policy.CHEAPEST, asked=talk(number))
        assert order == [kept, *(name for name in "cba" if name != kept)]


TIERS = [
    candidate("small", 0, cost_nano=1, leg={"tier": 0}),
    candidate("middle", 1, cost_nano=5, leg={"tier": 1}),
    candidate("large", 2, cost_nano=9, leg={"tier": 2}),
]


@pytest.mark.parametrize(
    ("tier", "order"),
    [
        (0, ["small", "middle", "large"]),
        (1, ["middle", "large", "small"]),
        (2, ["large", "middle", "small"]),
    ],
)
def test_auto_takes_the_cheapest_that_is_good_enough_then_the_best_of_the_others(tier: int, order: list[str]) -> None:
    assert names(TIERS, Policy.AUTO, asked=Asked(difficulty=Difficulty(tier))) == order


def test_auto_goes_by_price_among_those_of_one_tier() -> None:
    legs = [candidate("a", 0, cost_nano=5), candidate("b", 1, cost_nano=2), candidate("c", 2)]
    assert names(legs, Policy.AUTO) == ["b", "a", "c"]


def test_the_second_policy_decides_where_the_first_does_not() -> None:
    legs = [candidate("a", 0, in_flight=1, cost_nano=9), candidate("b", 1, in_flight=1, cost_nano=3), candidate("c", 2)]
    assert names(legs, Policy.LEAST_BUSY, Policy.CHEAPEST) == ["c", "b", "a"]


def test_where_nothing_decides_the_order_is_that_of_the_configuration() -> None:
    legs = [candidate(name, place) for place, name in enumerate("abc")]
    assert names(legs[::-1], Policy.LEAST_BUSY, Policy.CHEAPEST) == ["a", "b", "c"]


CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.sampled_from("abcdefgh"),
        cost_nano=st.none() | st.integers(0, 10**12),
        chance=st.floats(0, 1, exclude_max=True),
        in_flight=st.integers(0, 1000),
        first_token_s=st.none() | st.floats(0, 600),
        tokens_per_s=st.none() | st.floats(0.01, 10_000),
        leg=st.fixed_dictionaries({"weight": st.floats(1e-6, 1e6), "tier": st.none() | st.integers(0, 2)}),
    ),
    max_size=6,
)


@given(CANDIDATES, st.lists(st.sampled_from(list(Policy)), min_size=1, max_size=3), st.binary(), st.integers(0, 2))
def test_no_facts_lose_a_target_or_add_one(
    legs: list[Candidate], policies: list[Policy], conversation: bytes, tier: int
) -> None:
    placed = [one._replace(place=place) for place, one in enumerate(legs)]
    made = ordered(placed, tuple(policies), Asked(conversation, Difficulty(tier)))
    assert sorted(one.place for one in made) == list(range(len(legs)))
