"""What becomes of a target by how its attempts end (F23, F24), in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from routing.facts import target
from trunkline.core.problem import Kind, Problem, Source
from trunkline.core.resilience import BreakerLimits, HealthLimits
from trunkline.routing import health as subject
from trunkline.routing.breaker import State
from trunkline.routing.health import FRESH, Health

if TYPE_CHECKING:
    from trunkline.core.catalog import Target
    from trunkline.routing.health import Verdict, Watch

A = target("a")


def made(limits: HealthLimits | None = None) -> Health:
    return Health(limits or HealthLimits(), BreakerLimits(), chance=lambda: 0.0)


def problem(kind: Kind, status: int | None = None, *, after: float | None = None) -> Problem:
    source = Source.NETWORK if kind in {Kind.UNREACHABLE, Kind.TIMED_OUT, Kind.TRUNCATED} else Source.UPSTREAM
    return Problem(kind, "x", source=source, upstream_status=status, retry_after_s=after)


def fail(health: Health, one: Problem, *, at: float = 0.0, times: int = 1, where: Target = A) -> None:
    for _ in range(times):
        health.begin(where, at).fail(one, at)


def verdict(health: Health, at: float = 0.0, where: Target = A) -> Verdict:
    return health.standing(where, at).verdict


LIMITED = problem(Kind.RATE_LIMITED, 429)
FAILED = problem(Kind.UPSTREAM_FAILED, 500)
REFUSED = problem(Kind.KEY_REFUSED, 401)


def test_nobody_knows_anything_of_a_target_that_was_never_asked() -> None:
    health = made()
    assert health.standing(A, 0.0) == FRESH
    assert len(health) == 0


@pytest.mark.parametrize(
    "one",
    [
        problem(Kind.UPSTREAM_FAILED, 500),
        problem(Kind.UPSTREAM_INVALID, 200),
        problem(Kind.UNREACHABLE),
        problem(Kind.TIMED_OUT),
        problem(Kind.TRUNCATED),
    ],
)
def test_faults_of_capacity_open_the_breaker(one: Problem) -> None:
    health = made()
    fail(health, one, times=4)
    assert verdict(health).state is State.CLOSED
    fail(health, one)
    assert verdict(health).state is State.OPEN
    assert not verdict(health).bars


@pytest.mark.parametrize("kind", [Kind.INVALID_REQUEST, Kind.CONTEXT_TOO_LONG, Kind.CONTENT_FILTERED, Kind.NOT_FOUND])
def test_the_callers_own_faults_never_count(kind: Kind) -> None:
    health = made()
    fail(health, Problem(kind, "x", source=Source.CALLER, upstream_status=400), times=1000)
    assert verdict(health).state is State.CLOSED


def test_a_limit_on_the_rate_is_respected_for_as_long_as_the_provider_says() -> None:
    health = made()
    fail(health, problem(Kind.RATE_LIMITED, 429, after=20.0))
    assert (verdict(health, 19.9).state, verdict(health, 19.9).bars) == (State.OPEN, True)
    assert verdict(health, 5.0).wait_s == 15.0
    assert verdict(health, 20.0).state is State.CLOSED


def test_where_it_does_not_say_it_is_spared_a_little_and_may_be_asked_all_the_same() -> None:
    health = made(HealthLimits(cool_s=5.0))
    fail(health, LIMITED)
    assert (verdict(health, 4.9).state, verdict(health, 4.9).bars) == (State.OPEN, False)
    assert verdict(health, 5.0).state is State.CLOSED


@given(st.lists(st.tuples(st.floats(0, 30), st.none() | st.floats(0, 10_000)), min_size=1, max_size=30))
def test_a_later_limit_extends_an_earlier_one_and_never_shortens_it(waits: list[tuple[float, float | None]]) -> None:
    limits = HealthLimits()
    health, now, until = made(limits), 0.0, 0.0
    for passed, said in waits:
        now += passed
        fail(health, problem(Kind.RATE_LIMITED, 429, after=said), at=now)
        until = max(until, now + (limits.cool_s if said is None else min(said, limits.longest_cool_s)))
        left = until - now
        assert (verdict(health, now).state is State.OPEN) == (left > 0)
        assert verdict(health, until).state is State.CLOSED
        if left > 1e-6:
            assert verdict(health, now + left * 0.999).state is State.OPEN


def test_a_provider_cannot_ask_to_be_left_alone_for_ever() -> None:
    health = made()
    fail(health, problem(Kind.RATE_LIMITED, 429, after=1e9))
    assert verdict(health).wait_s == 3600.0


def test_limits_on_the_rate_do_not_open_the_breaker() -> None:
    health = made(HealthLimits(cool_s=1.0))
    fail(health, LIMITED, times=100)
    assert verdict(health, 1.0).state is State.CLOSED


def test_a_refused_key_is_left_alone_twice_as_long_each_time_up_to_a_bound() -> None:
    health, now, waits = made(), 0.0, list[float]()
    for _ in range(6):
        fail(health, REFUSED, at=now)
        waits.append(verdict(health, now).wait_s)
        now += waits[-1]
    assert waits == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    assert verdict(health, now - 1).kind is Kind.KEY_REFUSED
    assert verdict(health, now - 1).bars


def test_a_key_that_works_again_starts_anew() -> None:
    health = made()
    fail(health, REFUSED)
    health.begin(A, 60.0).succeed(60.0)
    fail(health, REFUSED, at=61.0)
    assert verdict(health, 61.0).wait_s == 60.0


@pytest.mark.parametrize("status", [402, 403])
def test_what_may_be_about_the_request_is_the_keys_fault_only_when_it_comes_again_and_again(status: int) -> None:
    health = made()
    doubtful = problem(Kind.KEY_REFUSED, status)
    fail(health, doubtful, times=2)
    assert verdict(health).state is State.CLOSED
    fail(health, doubtful)
    assert verdict(health).wait_s == 60.0


def test_one_bad_key_never_cools_the_others_of_its_provider() -> None:
    health = made()
    first, second = target("a", "1"), target("a", "2")
    fail(health, REFUSED, where=first)
    assert verdict(health, where=first).state is State.OPEN
    assert verdict(health, where=second).state is State.CLOSED


def test_half_open_means_one_real_request_whoever_else_asks() -> None:
    health = made()
    fail(health, FAILED, times=5)
    assert verdict(health, 5.0).state is State.HALF_OPEN
    probe = health.begin(A, 5.0)
    assert verdict(health, 5.0).state is State.OPEN
    probe.succeed(6.0)
    assert verdict(health, 6.0).state is State.CLOSED


@pytest.mark.parametrize("ending", ["left", "limited", "callers"])
def test_a_probe_that_proves_nothing_leaves_the_question_to_the_next(ending: str) -> None:
    health = made(HealthLimits(cool_s=0.0))
    fail(health, FAILED, times=5)
    probe = health.begin(A, 5.0)
    match ending:
        case "left":
            probe.give_up()
        case "limited":
            probe.fail(LIMITED, 5.0)
        case _:
            probe.fail(Problem(Kind.INVALID_REQUEST, "x", source=Source.CALLER), 5.0)
    assert verdict(health, 5.0).state is State.HALF_OPEN


def test_only_the_first_ending_of_an_attempt_counts() -> None:
    health = made()
    watch = health.begin(A, 0.0)
    watch.give_up()
    for _ in range(10):
        watch.fail(FAILED, 0.0)
        watch.succeed(0.0)
    assert health.standing(A, 0.0).in_flight == 0
    assert verdict(health).state is State.CLOSED


def test_averages_forget_half_in_their_half_life() -> None:
    health = made(HealthLimits(half_life_s=60.0))
    health.begin(A, 0.0).first_token(4.0, 0.0)
    health.begin(A, 60.0).first_token(1.0, 60.0)
    assert health.standing(A, 60.0).first_token_s == pytest.approx(2.0)


def test_the_pace_is_that_after_the_first_token() -> None:
    health = made()
    health.begin(A, 0.0).succeed(2.0, tokens=100, seconds=2.0)
    health.begin(A, 0.0).succeed(2.0, tokens=None, seconds=2.0)
    assert health.standing(A, 2.0).tokens_per_s == 50.0


def test_the_slow_first_token_is_known_after_twenty() -> None:
    health = made()
    for number in range(19):
        health.begin(A, 0.0).first_token(float(number), 0.0)
    assert health.slow_first_token_s(A) is None
    health.begin(A, 0.0).first_token(19.0, 0.0)
    assert health.slow_first_token_s(A) == 18.0


def test_names_that_clients_make_up_do_not_fill_the_memory() -> None:
    health = made()
    kept = health.begin(target("kept"), 0.0)
    for number in range(subject.MAX_TARGETS + 50):
        health.begin(target(str(number)), 0.0).give_up()
    assert len(health) == subject.MAX_TARGETS
    assert health.standing(target("kept"), 0.0).in_flight == 1
    kept.give_up()


@pytest.mark.parametrize("ends_well", [True, False])
def test_what_began_before_the_breaker_opened_does_not_answer_for_the_probe(*, ends_well: bool) -> None:
    limits = BreakerLimits()
    health = made()
    failed = Problem(Kind.UPSTREAM_FAILED, "It failed.", source=Source.UPSTREAM)
    early = health.begin(A, 0.0)
    for _ in range(limits.consecutive):
        health.begin(A, 0.0).fail(failed, 0.0)
    probe = health.begin(A, limits.open_s)
    assert health.standing(A, limits.open_s).verdict.state is State.OPEN
    if ends_well:
        early.succeed(limits.open_s)
        assert health.standing(A, limits.open_s).verdict.state is State.OPEN
        probe.fail(failed, limits.open_s)
        assert health.standing(A, limits.open_s).verdict.state is State.OPEN
    else:
        early.fail(failed, limits.open_s)
        probe.succeed(limits.open_s)
        assert health.standing(A, limits.open_s).verdict.state is State.CLOSED


def test_a_target_is_known_also_where_all_others_are_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_TARGETS", 2)
    health = made()
    running = [health.begin(target(name), 0.0) for name in ("a", "b", "c")]
    assert health.standing(target("c"), 0.0).in_flight == 1
    assert len(health) == len(running)


class Traffic(RuleBasedStateMachine):
    """Attempts that begin and end in any way: what is under way is counted, and comes back to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.health = made()
        self.now = 0.0
        self.running: list[Watch] = []
        self.probes = 0

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        if verdict(self.health, self.now).state is not State.OPEN:
            self.running.append(self.health.begin(A, self.now))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        ending=st.sampled_from([None, LIMITED, FAILED, REFUSED, problem(Kind.RATE_LIMITED, after=7.0), "left"]),
    )
    def end(self, data: st.DataObject, ending: Problem | str | None) -> None:
        watch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        if isinstance(ending, Problem):
            watch.fail(ending, self.now)
        elif ending == "left":
            watch.give_up()
        else:
            watch.succeed(self.now, tokens=5, seconds=1.0)

    @invariant()
    def what_is_under_way_is_counted(self) -> None:
        assert self.health.standing(A, self.now).in_flight == len(self.running)

    @invariant()
    def it_is_asked_again_some_day(self) -> None:
        if not self.running:
            assert verdict(self.health, self.now + 3600.0).state is not State.OPEN


Traffic.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestTraffic = Traffic.TestCase
