"""A client that leaves costs nothing more, and what it has cost is on the record (T01 to T05, F01, F02).

That the upstream is closed, whoever leaves in whichever way, is in tests/edge/test_disconnect.py.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gateway.walks import Walks, exchange_of, target
from reliability.scene import LENIENT, asking, completion, in_flight, recorded, records, routing
from sizes import DISCONNECTS
from trunkline.core.call import BYTES_PER_TOKEN
from trunkline.core.record import Outcome
from trunkline.core.reply import Usage
from trunkline.core.resilience import RetryLimits
from trunkline.dialects.simple import Simple
from trunkline.upstream import script
from trunkline.upstream.client import Client, ClientLimits
from trunkline.upstream.script import End, Script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLOSED_WITHIN_S = 0.5 * LENIENT
QUIET_S = 0.1
"""T04: after so long, nothing more may reach an upstream."""

WORDS = ["many ", "words ", "and ", "日本語 "] * 30
PRICED = '[prices."p0/m"]\ninput = 1\noutput = 2\n'
NEVER_OPEN = "[breaker]\nconsecutive = 100000\nleast = 100000\n"
BUSY = script.openrouter_error(503, "busy")


class State(NamedTuple):
    """Where a request is when its client leaves: what it gets until then, and how far that goes."""

    playing: Script
    wait_for: bytes | None = None
    stream: bool = True
    written: str = ""
    usage: Usage | None = None


def told(pieces: list[str], usage: tuple[int, int] | None = None) -> Script:
    """A stream that falls silent before its finish."""
    return script.chat_stream([*pieces, "!"], finish=None, done=False, usage=usage).but(end=End.STALL)


STATES = {
    "before headers": State(script.chat_stream(["late"]).but(delay_headers_s=30)),
    "before headers, whole": State(script.chat_whole("late").but(delay_headers_s=30), stream=False),
    "before the body, whole": State(script.chat_whole("late").but(delay_first_s=30), stream=False),
    "before the first token": State(script.chat_stream(["late"]).but(delay_first_s=30)),
    "mid-stream": State(told(WORDS), b"!", written="".join([*WORDS, "!"])),
    "mid-stream, with usage": State(told(WORDS, (9, 12)), b"!", usage=Usage(input_tokens=9, output_tokens=12)),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
async def test_whoever_leaves_is_one_record_with_one_line_that_says_what_it_cost(
    tmp_path: Path,
    upstream: ScriptedUpstream,
    state: State,
    record_property: Callable[[str, object], None],
) -> None:
    """T05: exact where the provider said it, else what was written, counted, and flagged as that."""
    upstream.play(state.playing)
    async with routing(tmp_path, upstream, toml=PRICED) as router:
        closed: list[float] = []
        for number in range(DISCONNECTS):
            async with asking(router, completion(stream=state.stream)) as client:
                if state.wait_for is not None:
                    await client.read_until(state.wait_for)
                await upstream.wait_until(lambda before=number: upstream.received > before)
                await asyncio.sleep(0.02)
                left_at = asyncio.get_running_loop().time()
                client.reset()
            await upstream.wait_until(lambda: upstream.active == 0)
            closed.append((upstream.plays[-1].left_at or math.inf) - left_at)
        made = await recorded(router, DISCONNECTS)
        assert in_flight(router) == 0
    record_property(f"T05: ms until an upstream is closed, the latest of {DISCONNECTS}", round(1000 * max(closed), 1))
    assert max(closed) < CLOSED_WITHIN_S
    assert len(made) == DISCONNECTS
    for record in made:
        assert record.outcome is Outcome.CANCELLED
        (line,) = record.attempts
        assert line.usage is not None
        assert line.cost_nano is not None
        if state.usage is not None:
            assert (line.usage, line.estimated) == (state.usage, False)
            continue
        assert line.estimated
        assert line.usage.output_tokens == pytest.approx(len(state.written.encode()) / BYTES_PER_TOKEN, rel=0.1, abs=1)
        assert line.usage.input_tokens == 1
        assert line.charged == record.estimated == bool(state.written)


async def test_whoever_leaves_in_the_pause_before_a_retry_causes_none(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """T04."""
    upstream.play(BUSY)
    patient = RetryLimits(backoff_s=3000, longest_backoff_s=3000, concurrent=1000, reserve_per_s=1e6)
    async with routing(tmp_path, upstream, retries=patient, toml=NEVER_OPEN) as router:
        for number in range(DISCONNECTS):
            async with asking(router, completion()) as client:
                await upstream.wait_until(lambda before=number: upstream.finished > before)
                await asyncio.sleep(0.02)
                client.reset()
            (*_, record) = await recorded(router, number + 1)
            assert (record.outcome, len(record.attempts)) == (Outcome.CANCELLED, 1)
        await asyncio.sleep(QUIET_S)
        assert upstream.received == DISCONNECTS
        assert in_flight(router) == 0


async def test_whoever_leaves_while_a_second_target_is_asked_causes_no_third(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """T04, between fallbacks: the first attempt's line has nothing to pay, the second's is counted."""
    async with ScriptedUpstream() as second, ScriptedUpstream() as third:
        upstream.play(BUSY)
        second.play(script.chat_stream(["late"]).but(delay_first_s=30))
        async with routing(tmp_path, upstream, second, third, retries=RetryLimits()) as router:
            async with asking(router, completion()) as client:
                await second.wait_until(lambda: second.active == 1)
                await asyncio.sleep(0.02)
                client.finish()
            await second.wait_until(lambda: second.active == 0)
            (record,) = await recorded(router, 1)
            await asyncio.sleep(QUIET_S)
        assert third.received == 0
    assert [(one.provider, one.problem, one.estimated) for one in record.attempts] == [
        ("p0", "upstream_failed", False),
        ("p1", None, True),
    ]
    assert record.attempts[0].usage is None


async def test_whoever_leaves_the_queue_for_a_connection_never_reaches_the_upstream(upstream: ScriptedUpstream) -> None:
    """T04, queued: the place in the queue is given up, too."""
    client = Client(limits=ClientLimits(connections_per_origin=1))
    walks = Walks(client, target("p0", upstream))
    upstream.play(told(["held"]))
    try:
        holding = asyncio.create_task(walks.read(exchange_of(Simple(), b'{"message":"Hi"}')))
        await upstream.wait_until(lambda: upstream.active == 1)
        queued = [
            asyncio.create_task(walks.read(exchange_of(Simple(), b'{"message":"Hi"}'))) for _ in range(DISCONNECTS)
        ]
        await asyncio.sleep(0.02)
        for task in queued:
            task.cancel()
        await asyncio.wait(queued)
        assert [record.outcome for record in walks.records] == [Outcome.CANCELLED] * DISCONNECTS
        holding.cancel()
        await asyncio.wait([holding])
        await upstream.wait_until(lambda: upstream.active == 0)
        await asyncio.sleep(QUIET_S)
        assert upstream.received == 1
        assert walks.in_flight() == [0]
        assert client.open_connections == 0
    finally:
        await client.aclose()


async def test_what_was_not_told_of_a_whole_answer_is_counted_and_what_failed_costs_nothing(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    upstream.play(
        script.chat_stream(["four"] * 10, usage=None), script.chat_stream([], finish=None, done=False, usage=None)
    )
    async with routing(tmp_path, upstream, toml=PRICED) as router:
        for _ in range(2):
            async with asking(router, completion(headers=("Connection: close",))) as client:
                await client.read_all()
        await recorded(router, 2)
        counted, failed = records(router)
    assert counted.usage == Usage(input_tokens=1, output_tokens=10)
    assert (counted.estimated, counted.cost_nano) == (True, 21_000)
    assert (failed.usage, failed.attempts[0].usage, failed.attempts[0].cost_nano) == (None, None, None)
