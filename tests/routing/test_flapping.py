"""A provider that comes and goes, in virtual time: clients hardly notice, and it is used again soon (T14)."""

from __future__ import annotations

import pytest

from routing.fleet import Fleet, Simulated
from sizes import FLAPPING_S
from trunkline.core.resilience import BreakerLimits

UP_S = DOWN_S = 10.0
RATE = 50.0


def flaps(now: float) -> bool:
    """Ten seconds up, ten seconds down."""
    return now % (UP_S + DOWN_S) < UP_S


def steady(_: float) -> bool:
    """Always up."""
    return True


def flapping(seed: int, limits: BreakerLimits | None = None) -> Fleet:
    fleet = Fleet(Simulated("first", flaps), Simulated("second", steady), limits=limits, seed=seed)
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
def test_it_is_used_again_within_five_seconds_where_a_breaker_stays_open_no_longer(seed: int) -> None:
    """Not so by default: a provider that keeps failing its probes is left alone for up to a minute."""
    fleet = flapping(seed, BreakerLimits(longest_s=5.0))
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
def test_by_default_it_is_used_again_within_a_minute_of_its_health_for_good(seed: int) -> None:
    fleet = Fleet(Simulated("first", lambda now: flaps(now) or now >= 120), Simulated("second", steady), seed=seed)
    fleet.run(200, RATE)
    assert any(120 <= one.at <= 180 + 1 / RATE and one.is_answered for one in fleet.asked if one.provider == "first")
