"""A provider that comes and goes, in virtual time: clients hardly notice, and it is used again soon (T14)."""

from __future__ import annotations

from functools import cache

import pytest

from routing.fleet import Fleet, Simulated
from sizes import FLAPPING_S

UP_S = DOWN_S = 10.0
RATE = 50.0


def flaps(now: float) -> bool:
    """Ten seconds up, ten seconds down."""
    return now % (UP_S + DOWN_S) < UP_S


def steady(_: float) -> bool:
    """Always up."""
    return True


@cache
def flapping(seed: int) -> Fleet:
    """One run of it, at which several tests look."""
    fleet = Fleet(Simulated("first", flaps), Simulated("second", steady), seed=seed)
    fleet.run(FLAPPING_S, RATE)
    return fleet


@pytest.mark.parametrize("seed", range(5))
def test_with_a_fallback_clients_hardly_notice(seed: int) -> None:
    fleet = flapping(seed)
    assert fleet.answered + fleet.failed == FLAPPING_S * RATE
    assert fleet.answered >= 0.995 * FLAPPING_S * RATE


@pytest.mark.parametrize("seed", range(5))
def test_one_request_at_a_time_finds_out_whether_it_works_again(seed: int) -> None:
    fleet = flapping(seed)
    assert fleet.most_probes == 1


@pytest.mark.parametrize("seed", range(5))
def test_it_is_used_again_within_five_seconds_of_its_health(seed: int) -> None:
    fleet = flapping(seed)
    served = [one.at for one in fleet.asked if one.provider == "first" and one.is_answered]
    cycles = int(FLAPPING_S / (UP_S + DOWN_S))
    for cycle in range(cycles):
        up_at = cycle * (UP_S + DOWN_S)
        assert any(up_at <= at <= up_at + 5 + 1 / RATE for at in served), f"cycle {cycle}"


@pytest.mark.parametrize("seed", range(5))
def test_while_it_is_down_few_requests_find_that_out(seed: int) -> None:
    fleet = flapping(seed)
    wasted = [one for one in fleet.asked if not one.is_answered]
    down = FLAPPING_S / (UP_S + DOWN_S)
    assert len(wasted) / down <= 0.05 * RATE * DOWN_S


def test_when_both_are_down_and_come_back_they_are_used_again() -> None:
    fleet = Fleet(*(Simulated(name, lambda now: not 20 <= now < 40) for name in ("first", "second")))
    fleet.run(80, RATE)
    served = [one.at for one in fleet.asked if one.is_answered and one.at >= 40]
    assert served[0] <= 45
    assert all(fleet.health.standing(one, fleet.now).in_flight == 0 for one in fleet.targets.values())


@pytest.mark.parametrize("seed", range(5))
def test_whoever_hangs_is_left_alone_longer_and_longer_and_used_again_within_a_minute(seed: int) -> None:
    """Each try costs a client what it takes to give up, so few are made: see docs/decisions/0006."""
    hangs = Simulated("first", lambda now: not 20 <= now < 620, takes_s=10)
    fleet = Fleet(hangs, Simulated("second", steady), seed=seed)
    fleet.run(720, RATE / 10)
    tries = [one for one in fleet.asked if one.provider == "first" and one.is_probe and 30 <= one.at < 620]
    assert len(tries) <= 20
    assert any(620 <= one.at <= 680 + 10 / RATE and one.is_answered for one in fleet.asked if one.provider == "first")
    assert fleet.failed == 0


@pytest.mark.parametrize("seed", range(5))
def test_while_whoever_fails_at_once_is_tried_each_five_seconds(seed: int) -> None:
    fleet = Fleet(Simulated("first", lambda now: now < 20), Simulated("second", steady), seed=seed)
    fleet.run(320, RATE)
    tries = [one.at for one in fleet.asked if one.provider == "first" and one.is_probe]
    assert 300 / 5 <= len(tries) <= 300 / 2.5
    assert (fleet.failed, fleet.most_probes) == (0, 1)
