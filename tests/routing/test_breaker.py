"""A breaker in virtual time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.resilience import BreakerLimits
from trunkline.routing.breaker import Breaker, State

LIMITS = BreakerLimits()


def failed(times: int = 5, *, chance: float = 0.0, limits: BreakerLimits = LIMITS) -> Breaker:
    breaker = Breaker(limits)
    for _ in range(times):
        breaker.fail(0.0, chance)
    return breaker


def test_it_opens_after_five_failures_in_a_row_and_not_after_four() -> None:
    assert failed(4).state(0.0) is State.CLOSED
    assert failed(5).state(0.0) is State.OPEN


def test_a_success_between_them_starts_the_count_again() -> None:
    breaker = failed(4)
    breaker.succeed(0.0)
    for _ in range(4):
        breaker.fail(0.0, 0.0)
    assert breaker.state(0.0) is State.CLOSED


def test_it_opens_when_half_of_ten_fail_though_never_five_in_a_row() -> None:
    breaker = Breaker(LIMITS)
    for turn in range(9):
        (breaker.fail(0.0, 0.0) if turn % 2 else breaker.succeed(0.0))
    assert breaker.state(0.0) is State.CLOSED
    breaker.fail(0.0, 0.0)
    assert breaker.state(0.0) is State.OPEN


def test_what_is_older_than_the_window_no_longer_counts() -> None:
    breaker = Breaker(LIMITS)
    for _ in range(4):
        breaker.fail(0.0, 0.0)
        breaker.succeed(0.0)
    for _ in range(4):
        breaker.succeed(40.0)
        breaker.fail(40.0, 0.0)
    assert breaker.state(40.0) is State.CLOSED


def test_it_stays_open_five_seconds_and_then_lets_one_request_try() -> None:
    breaker = failed()
    assert breaker.state(4.9) is State.OPEN
    assert breaker.opens_in(4.0) == 1.0
    assert breaker.state(5.0) is State.HALF_OPEN
    breaker.probe(5.0)
    assert breaker.state(5.0) is State.OPEN


def test_chance_spreads_the_moment_by_at_most_half() -> None:
    assert failed(chance=1.0).opens_in(0.0) == 2.5
    assert failed(chance=0.5).opens_in(0.0) == 3.75


def waits_after(*tries_s: float) -> list[float]:
    """How long it stays open after tries that took so long to fail."""
    breaker = failed()
    now, waits = 0.0, list[float]()
    for takes_s in tries_s:
        now += breaker.opens_in(now)
        breaker.probe(now)
        now += takes_s
        breaker.fail(now, 0.0)
        waits.append(breaker.opens_in(now))
    return waits


def test_each_try_that_fails_slowly_doubles_the_wait_up_to_a_minute() -> None:
    assert waits_after(*[2.0] * 6) == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_a_try_that_fails_at_once_costs_nobody_much_and_the_next_comes_as_soon() -> None:
    assert waits_after(*[0.5] * 6) == [5.0] * 6
    assert waits_after(2.0, 2.0, 0.5, 2.0) == [10.0, 20.0, 5.0, 10.0]


def test_a_try_that_works_closes_it_and_its_traffic_grows_within_half_a_minute() -> None:
    breaker = failed()
    breaker.probe(5.0)
    breaker.succeed(5.0)
    assert breaker.state(5.0) is State.CLOSED
    assert [round(breaker.share(5.0 + after), 2) for after in (0, 3, 6, 15, 30)] == [0.1, 0.1, 0.2, 0.5, 1.0]


def test_a_try_whose_client_left_leaves_the_question_open() -> None:
    breaker = failed()
    breaker.probe(5.0)
    breaker.give_up()
    assert breaker.state(5.0) is State.HALF_OPEN


def test_answers_to_what_was_asked_before_it_opened_change_nothing() -> None:
    breaker = failed()
    breaker.succeed(1.0)
    breaker.fail(1.0, 0.0)
    assert breaker.state(1.0) is State.OPEN
    assert breaker.opens_in(1.0) == 4.0


STEPS = st.lists(st.tuples(st.sampled_from(["fail", "succeed", "probe", "give_up"]), st.floats(0, 20)), max_size=200)


@given(STEPS)
def test_whatever_happens_it_is_asked_again_within_a_minute(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(LIMITS), 0.0
    is_probing = False
    for step, after in steps:
        now += after
        match step:
            case "fail":
                breaker.fail(now, 0.3)
                is_probing = False
            case "succeed":
                breaker.succeed(now)
                is_probing = False
            case "probe" if breaker.state(now) is State.HALF_OPEN:
                breaker.probe(now)
                is_probing = True
            case _:
                breaker.give_up()
                is_probing = False
        assert 0 <= breaker.opens_in(now) <= 60
        assert 0.1 <= breaker.share(now) <= 1
    if not is_probing:
        assert breaker.state(now + 60) is not State.OPEN


def test_a_clock_that_goes_back_a_little_is_no_fault() -> None:
    breaker = Breaker(LIMITS)
    breaker.succeed(5.0)
    breaker.fail(4.9, 0.0)
    assert breaker.state(5.0) is State.CLOSED
