"""Failover: one owner of retries, within its bounds, and every end told to the target's health."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.walks import Walks, exchange_of, target
from trunkline.core.problem import Kind, Problem, Source
from trunkline.core.record import Outcome
from trunkline.core.resilience import RetryLimits
from trunkline.dialects.simple import Simple
from trunkline.gateway.failover import HEDGES
from trunkline.routing.breaker import State
from trunkline.routing.retry_budget import RetryBudget
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from trunkline.upstream.client import Client

BODY = b'{"message":"Hi"}'
BUSY = script.openrouter_error(503, "busy")


async def ask(walks: Walks, limit_s: float | None = None) -> str:
    return (await walks.read(exchange_of(Simple(), BODY, limit_s=limit_s))).decode()


def through(walks: Walks, *upstreams: ScriptedUpstream) -> Walks:
    walks.targets += [target(f"p{number}", upstream) for number, upstream in enumerate(upstreams)]
    return walks


@pytest.fixture
def walks(client: Client) -> Walks:
    return Walks(client, limits=RetryLimits(backoff_s=0.1), chance=0.1)


async def refusal(walks: Walks, limit_s: float | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        await ask(walks, limit_s)
    return caught.value


async def test_a_lone_target_is_asked_again_and_the_client_sees_one_clean_stream(
    walks: Walks, upstream: ScriptedUpstream
) -> None:
    upstream.play(BUSY, BUSY, script.chat_stream(["at last"]))
    assert await ask(through(walks, upstream)) == 'data: {"content":"at last"}\n\ndata: [DONE]\n\n'
    (record,) = walks.records
    assert [(one.problem, one.charged) for one in record.attempts] == [
        ("upstream_failed", False),
        ("upstream_failed", False),
        (None, True),
    ]


async def test_attempts_are_as_many_as_configured_exactly(walks: Walks, upstream: ScriptedUpstream) -> None:
    """T11."""
    upstream.play(*[BUSY] * 9)
    assert (await refusal(through(walks, upstream))).kind is Kind.UPSTREAM_FAILED
    assert len(upstream.requests) == 3
    assert len(walks.records[0].attempts) == 3


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (script.openrouter_error(400, "bad"), Kind.INVALID_REQUEST),
        (script.openrouter_error(429, "slow"), Kind.RATE_LIMITED),
        (script.openrouter_error(401, "who?"), Kind.KEY_REFUSED),
        (script.openrouter_error(404, "what?"), Kind.NOT_FOUND),
        (script.openrouter_error(403, "no", error_type="content_policy_violation"), Kind.CONTENT_FILTERED),
    ],
)
async def test_what_will_not_be_gone_a_moment_later_is_not_asked_again(
    walks: Walks, upstream: ScriptedUpstream, failing: script.Script, kind: Kind
) -> None:
    upstream.play(*[failing] * 3)
    assert (await refusal(through(walks, upstream))).kind is kind
    assert len(upstream.requests) == 1


async def test_the_callers_fault_is_tried_nowhere_else_and_never_counts_against_health(
    walks: Walks, upstream: ScriptedUpstream
) -> None:
    """T13, in small."""
    async with ScriptedUpstream() as second:
        through(walks, upstream, second)
        for _ in range(20):
            upstream.play(script.openrouter_error(400, "bad"))
            assert (await refusal(walks)).source is Source.CALLER
        assert second.requests == []
        assert walks.state() is State.CLOSED


async def test_five_failures_open_the_breaker_and_the_retry_budget_holds(client: Client) -> None:
    """T10, in small: when everything fails, upstream requests are the client's, a fifth more, and the reserve."""
    clock = asyncio.get_running_loop().time
    async with ScriptedUpstream(lambda _: BUSY) as upstream:
        walks = through(Walks(client, limits=RetryLimits(backoff_s=0.0)), upstream)
        begun = clock()
        for _ in range(200):
            await refusal(walks)
        seconds = clock() - begun
        assert walks.state() is State.OPEN
        assert 200 < len(upstream.requests) <= 1.2 * 200 + 3 + 10 * seconds


async def test_the_most_telling_failure_is_the_clients(walks: Walks, upstream: ScriptedUpstream) -> None:
    """F27."""
    async with ScriptedUpstream() as second, ScriptedUpstream() as third:
        upstream.play(script.html(502))
        second.play(script.openrouter_error(429, "slow", headers=(("retry-after", "7"),)))
        third.play(script.openrouter_error(401, "who?"))
        problem = await refusal(through(walks, upstream, second, third))
    assert (problem.kind, problem.retry_after_s) == (Kind.RATE_LIMITED, 7)
    assert walks.records[0].outcome is Outcome.FAILED


async def test_an_empty_answer_is_tried_once_elsewhere_and_then_passed_on(
    walks: Walks, upstream: ScriptedUpstream
) -> None:
    async with ScriptedUpstream() as second:
        upstream.play(script.chat_stream([], usage=None))
        second.play(script.chat_stream([], usage=None))
        assert await ask(through(walks, upstream, second)) == "data: [DONE]\n\n"
    assert (len(upstream.requests), len(second.requests)) == (1, 1)


EMPTY = script.chat_stream([], usage=None)


@pytest.mark.parametrize(
    ("limits", "plays"),
    [
        pytest.param(RetryLimits(backoff_s=0.1), [EMPTY, EMPTY], id="and asked once more"),
        pytest.param(RetryLimits(backoff_s=0.1), [BUSY, BUSY, EMPTY], id="with its last attempt"),
        pytest.param(RetryLimits(backoff_s=0.1, attempts=0), [EMPTY], id="with its only attempt"),
        pytest.param(RetryLimits(backoff_s=0.1, concurrent=0, share=0), [EMPTY], id="with no retry left"),
    ],
)
async def test_an_empty_answer_of_a_lone_target_is_passed_on(
    client: Client, upstream: ScriptedUpstream, limits: RetryLimits, plays: list[script.Script]
) -> None:
    upstream.play(*plays)
    assert await ask(through(Walks(client, limits=limits, chance=0.1), upstream)) == "data: [DONE]\n\n"
    assert len(upstream.requests) == len(plays)


async def test_everything_is_over_within_the_clients_own_time(walks: Walks, upstream: ScriptedUpstream) -> None:
    """T17."""
    async with ScriptedUpstream() as second:
        upstream.play(BUSY)
        second.play(script.chat_stream(["late"]).but(delay_first_s=30))
        through(walks, upstream, second)
        begun = asyncio.get_running_loop().time()
        problem = await refusal(walks, limit_s=0.5)
        assert asyncio.get_running_loop().time() - begun < 2
    assert (problem.kind, problem.source) == (Kind.TIMED_OUT, Source.CALLER)
    assert "0.5 s" in problem.message
    assert walks.state(1) is State.CLOSED


async def test_a_client_that_leaves_between_attempts_causes_no_more_of_them(
    client: Client, upstream: ScriptedUpstream
) -> None:
    """T04."""
    walks = through(Walks(client, limits=RetryLimits(backoff_s=300.0), chance=0.1), upstream)
    upstream.play(BUSY, BUSY)
    asking = asyncio.create_task(ask(walks))
    await upstream.wait_until(lambda: len(upstream.requests) == 1)
    await asyncio.sleep(0.1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0.1)
    assert len(upstream.requests) == 1
    assert [record.outcome for record in walks.records] == [Outcome.CANCELLED]


async def test_whatever_becomes_of_an_attempt_it_is_no_longer_in_flight(
    walks: Walks, upstream: ScriptedUpstream
) -> None:
    through(walks, upstream)
    upstream.play(script.chat_stream(["a"]), BUSY, script.chat_stream(["b"], finish=None, done=False))
    await ask(walks)
    upstream.play(script.chat_stream(["c"]))
    await ask(walks)
    upstream.play(script.chat_stream(["held"], finish=None).but(end=script.End.STALL))
    asking = asyncio.create_task(ask(walks))
    await upstream.wait_until(lambda: upstream.active == 1)
    assert walks.in_flight() == [1]
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert walks.in_flight() == [0]


WARM = 40


async def warm(walks: Walks, *upstreams: ScriptedUpstream) -> None:
    """Enough quick answers that it is known what slow is, and that hedges are earned."""
    through(walks, *upstreams)
    for _ in range(WARM):
        upstreams[0].play(script.chat_stream(["quick"]))
        await ask(walks)
    walks.records.clear()
    walks.plan["hedge"] = True


SLOW = script.chat_stream(["slow"]).but(delay_first_s=30)


async def test_a_slow_first_target_is_overtaken_by_a_second_and_closed(
    walks: Walks, upstream: ScriptedUpstream
) -> None:
    """T36."""
    async with ScriptedUpstream() as second:
        await warm(walks, upstream, second)
        upstream.play(SLOW)
        second.play(script.chat_stream(["quick"], usage=(3, 1)))
        assert '"quick"' in await ask(walks)
        await upstream.wait_until(lambda: upstream.cancelled == 1, timeout_s=2)
        assert walks.in_flight() == [0, 0]
    (record,) = walks.records
    assert [(one.provider, one.charged) for one in record.attempts] == [("p0", False), ("p1", True)]
    assert record.provider == "p1"
    assert walks.state(0) is State.CLOSED


async def test_a_first_target_that_is_still_quicker_serves(walks: Walks, upstream: ScriptedUpstream) -> None:
    async with ScriptedUpstream() as second:
        await warm(walks, upstream, second)
        upstream.play(script.chat_stream(["first"]).but(delay_first_s=0.3))
        second.play(SLOW)
        assert '"first"' in await ask(walks)
        await second.wait_until(lambda: second.cancelled == 1, timeout_s=2)
    (record,) = walks.records
    assert [(one.provider, one.charged) for one in record.attempts] == [("p0", True), ("p1", False)]


async def test_where_both_fail_the_others_are_asked(walks: Walks, upstream: ScriptedUpstream) -> None:
    async with ScriptedUpstream() as second, ScriptedUpstream() as third:
        await warm(walks, upstream, second, third)
        upstream.play(BUSY.but(delay_headers_s=0.3))
        second.play(BUSY)
        third.play(script.chat_stream(["third"]))
        assert '"third"' in await ask(walks)
        assert walks.in_flight() == [0, 0, 0]


@pytest.mark.parametrize("first_is_late", [True, False])
@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        pytest.param(script.openrouter_error(429, "slow"), Kind.RATE_LIMITED, id="the more telling one"),
        pytest.param(script.openrouter_error(400, "bad"), Kind.INVALID_REQUEST, id="one that ends it"),
    ],
)
async def test_where_both_fail_neither_is_forgotten_and_both_count_as_attempts(
    client: Client, upstream: ScriptedUpstream, failing: script.Script, kind: Kind, *, first_is_late: bool
) -> None:
    walks = Walks(client, limits=RetryLimits(attempts=1), chance=0.1)
    async with ScriptedUpstream() as second:
        await warm(walks, upstream, second)
        upstream.play(failing.but(delay_headers_s=0.5 if first_is_late else 0.3))
        second.play(BUSY.but(delay_headers_s=0.0 if first_is_late else 0.5), BUSY)
        assert (await refusal(walks)).kind is kind
        assert (len(upstream.requests), len(second.requests)) == (WARM + 1, 1)
        assert walks.in_flight() == [0, 0]


def test_twenty_one_requests_a_minute_earn_a_hedge() -> None:
    budget = RetryBudget(HEDGES, 0.0)
    for number in range(21):
        budget.earn(number * 2.5)
    assert budget.spend(52.5)
    assert not budget.has(52.5)


async def test_a_quick_answer_is_not_hedged_and_of_slow_ones_only_one_in_twenty(
    walks: Walks, upstream: ScriptedUpstream
) -> None:
    async with ScriptedUpstream(lambda _: script.chat_stream(["second"])) as second:
        await warm(walks, upstream, second)
        for _ in range(60):
            upstream.play(script.chat_stream(["late"]).but(delay_first_s=0.05))
            await ask(walks)
        assert 1 <= len(second.requests) <= 0.05 * (WARM + 60)


async def test_a_client_that_leaves_ends_both(walks: Walks, upstream: ScriptedUpstream) -> None:
    async with ScriptedUpstream() as second:
        await warm(walks, upstream, second)
        upstream.play(SLOW)
        second.play(SLOW)
        asking = asyncio.create_task(ask(walks))
        await second.wait_until(lambda: second.active == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await second.wait_until(lambda: second.cancelled == 1, timeout_s=2)
        await upstream.wait_until(lambda: upstream.cancelled == 1, timeout_s=2)
    assert walks.in_flight() == [0, 0]
    assert len(walks.records) == 1
