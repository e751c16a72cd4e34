"""The walk: attempts, the commit point, and exactly one settlement."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.walks import Reading, Walks, exchange_of, target
from reliability.scene import until
from trunkline.core.catalog import Target, Timeouts
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.core.record import Outcome
from trunkline.core.resilience import RetryLimits
from trunkline.dialects.simple import Simple
from trunkline.upstream import script
from trunkline.upstream.script import End
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from trunkline.gateway.exchange import Exchange
    from trunkline.upstream.client import Client

BODY = b'{"message":"Hi","model":"one/m"}'


@pytest.fixture
def kept(client: Client) -> Walks:
    return Walks(client, limits=RetryLimits(attempts=0))


def through(walks: Walks, *targets: Target) -> Walks:
    walks.targets += targets
    return walks


def exchange() -> Exchange:
    return exchange_of(Simple(), BODY)


async def test_a_complete_answer_is_one_record_with_what_it_used(upstream: ScriptedUpstream, kept: Walks) -> None:
    upstream.play(script.chat_stream(["Hello"], usage=(3, 1), cost=0.25))
    assert await through(kept, target("one", upstream)).read(exchange()) == (
        b'data: {"content":"Hello"}\n\ndata: [DONE]\n\n'
    )
    (record,) = kept.records
    assert (record.outcome, record.status, record.problem) == (Outcome.COMPLETE, 200, None)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (3, 1)
    assert record.usage.cost_nano == 250_000_000
    assert record.first_token_ms is not None
    assert record.first_token_ms <= record.total_ms


@pytest.mark.parametrize(
    "failing",
    [
        script.openrouter_error(503, "busy"),
        script.html(),
        script.error_midstream([], 502, "provider_unavailable"),
        script.chat_stream([], finish=None, done=False),
        script.chat_stream([], finish=None, done=False).but(end=End.RST),
    ],
)
async def test_before_content_the_next_target_answers_and_the_client_sees_one_clean_stream(
    upstream: ScriptedUpstream, kept: Walks, failing: script.Script
) -> None:
    async with ScriptedUpstream() as second:
        upstream.play(failing)
        second.play(script.chat_stream(["from two"]))
        walk = through(kept, target("one", upstream), target("two", second))
        assert await walk.read(exchange()) == b'data: {"content":"from two"}\n\ndata: [DONE]\n\n'
    (record,) = kept.records
    assert (record.provider, len(record.attempts), record.outcome) == ("two", 2, Outcome.COMPLETE)


async def test_the_callers_own_fault_is_not_tried_elsewhere(upstream: ScriptedUpstream, kept: Walks) -> None:
    async with ScriptedUpstream() as second:
        upstream.play(script.openrouter_error(400, "temperature is too hot"))
        walk = through(kept, target("one", upstream), target("two", second))
        with pytest.raises(Problem) as caught:
            await walk.read(exchange())
        assert second.received == 0
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert kept.records[0].outcome is Outcome.FAILED
    assert kept.records[0].status == 400


async def test_after_content_no_other_target_is_asked(upstream: ScriptedUpstream, kept: Walks) -> None:
    async with ScriptedUpstream() as second:
        upstream.play(script.chat_stream(["Hel"], finish=None, done=False).but(end=End.RST))
        walk = through(kept, target("one", upstream), target("two", second))
        with pytest.raises(Problem) as caught:
            await walk.read(exchange())
        assert second.received == 0
    assert caught.value.kind is Kind.TRUNCATED
    assert kept.records[0].outcome is Outcome.CUT
    assert kept.records[0].status == 200


async def test_keep_alives_do_not_stand_for_content(upstream: ScriptedUpstream, kept: Walks) -> None:
    quiet = script.Script(
        headers=(("content-type", "text/event-stream"),),
        body=(b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n', *[b": ping\n\n"] * 100),
        delay_between_s=0.05,
        end=End.STALL,
    )
    upstream.play(quiet)
    timeouts = Timeouts(idle_bytes_s=5, idle_content_s=0.3)
    with pytest.raises(Problem) as caught:
        await through(kept, target("one", upstream, timeouts=timeouts)).read(exchange())
    assert caught.value.kind is Kind.TIMED_OUT
    assert "nothing new" in caught.value.message


async def test_the_total_has_a_timer_of_its_own(upstream: ScriptedUpstream, kept: Walks) -> None:
    upstream.play(
        script.chat_stream(["x"], finish=None, done=False, role_chunk=False).but(repeat=True, delay_between_s=0.02)
    )
    with pytest.raises(Problem) as caught:
        await through(kept, target("one", upstream, timeouts=Timeouts(total_s=0.3))).read(exchange())
    assert caught.value.kind is Kind.TIMED_OUT
    assert "limit of 0.3 s" in caught.value.message


async def test_a_finished_answer_does_not_wait_for_a_connection_that_stays_open(
    upstream: ScriptedUpstream, kept: Walks
) -> None:
    upstream.play(script.chat_stream(["Hello"], usage=None, done=False).but(end=End.STALL))
    async with asyncio.timeout(8):
        answer = await through(kept, target("one", upstream)).read(exchange())
    assert answer.endswith(b"data: [DONE]\n\n")
    assert kept.records[0].outcome is Outcome.COMPLETE


async def test_a_cancelled_walk_is_settled_once_and_closes_the_upstream(
    upstream: ScriptedUpstream, client: Client, kept: Walks
) -> None:
    upstream.play(script.chat_stream(["Hello"], finish=None, done=False).but(end=End.STALL))
    walk = asyncio.create_task(through(kept, target("one", upstream)).read(exchange()))
    await upstream.wait_until(lambda: upstream.bytes_sent > 0)
    await asyncio.sleep(0.05)
    walk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walk
    assert client.open_connections == 0
    assert [record.outcome for record in kept.records] == [Outcome.CANCELLED]


async def test_an_interrupted_walk_raises_the_reason_it_was_given(upstream: ScriptedUpstream, kept: Walks) -> None:
    upstream.play(script.chat_stream(["Hello"], finish=None, done=False).but(end=End.STALL))
    one = exchange()
    walk = asyncio.create_task(through(kept, target("one", upstream)).read(one))
    await upstream.wait_until(lambda: upstream.bytes_sent > 0)
    await asyncio.sleep(0.05)
    one.interruption = Problem(Kind.DRAINING, "bye", source=Source.ROUTER, retry=Retry.NEVER)
    walk.cancel()
    with pytest.raises(Problem, match="bye"):
        await walk
    assert [record.outcome for record in kept.records] == [Outcome.CUT]


@pytest.mark.parametrize("is_cut", [False, True])
async def test_once_the_client_has_the_end_of_its_answer_nothing_cuts_it(
    upstream: ScriptedUpstream, kept: Walks, is_cut: bool
) -> None:
    upstream.play(script.chat_stream(["Hello"]).but(end=End.STALL))
    one, client = exchange(), Reading()
    walk = asyncio.create_task(through(kept, target("one", upstream)).pour(one, client))
    await until(lambda: client.read.endswith(b"data: [DONE]\n\n"))
    if is_cut:
        one.interruption = Problem(Kind.DRAINING, "bye", source=Source.ROUTER, retry=Retry.NEVER)
    walk.cancel()
    await walk
    assert not walk.cancelling()
    assert [record.outcome for record in kept.records] == [Outcome.COMPLETE]


async def test_a_session_without_history_is_refused(upstream: ScriptedUpstream, kept: Walks) -> None:
    one = exchange()
    one.envelope = Simple().peek(b'{"message":"Hi","sessionId":"3f0e8a52-0000-4000-8000-000000000000"}')
    with pytest.raises(Problem) as caught:
        await through(kept, target("one", upstream)).read(one)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "sessionId")
    assert upstream.received == 0
