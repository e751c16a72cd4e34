"""Retries do not multiply what goes upstream (T10, in virtual time)."""

from __future__ import annotations

import pytest

from trunkline.core.resilience import RetryLimits
from trunkline.routing.retry_budget import RetryBudget

LIMITS = RetryLimits()


@pytest.mark.parametrize("rate", [1, 20, 100, 1000])
def test_when_everything_fails_retries_are_a_fifth_of_the_requests_and_the_reserve(rate: int) -> None:
    budget, upstream, seconds = RetryBudget(LIMITS, 0.0), 0, 60
    for number in range(rate * seconds):
        now = number / rate
        budget.earn(now)
        upstream += 1
        for _ in range(3):
            upstream += budget.spend(now)
    assert upstream <= 1.2 * rate * seconds + LIMITS.reserve_per_s * seconds + LIMITS.concurrent


def test_a_quiet_router_may_retry_at_once_but_not_without_end() -> None:
    budget = RetryBudget(LIMITS, 100.0)
    budget.earn(100.0)
    assert [budget.spend(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert budget.spend(100.2)


def test_what_was_earned_is_forgotten() -> None:
    budget = RetryBudget(RetryLimits(reserve_per_s=0.0, concurrent=0), 0.0)
    for _ in range(50):
        budget.earn(0.0)
    assert budget.spend(5.0)
    assert not budget.spend(11.0)


def test_the_wait_before_a_retry_is_a_random_part_of_a_doubled_time() -> None:
    assert [LIMITS.backoff(retry, 1.0) for retry in range(7)] == [0.25, 0.5, 1, 2, 4, 8, 8]
    assert LIMITS.backoff(3, 0.0) == 0
