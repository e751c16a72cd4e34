"""The client leaves: the upstream's connection is closed within 500 ms, always (T01 to T03, F01)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from raw_http import RawClient, connected, request
from sizes import DISCONNECTS
from trunkline.upstream import script
from trunkline.upstream.script import End, Script

if TYPE_CHECKING:
    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

WITHIN_S = 0.5 * 4
"""Four times the promise: the machine may be busy; the promise itself is the benchmark's to print."""

BEFORE_HEADERS = script.chat_stream(["late"]).but(delay_headers_s=30)
BEFORE_FIRST_TOKEN = script.chat_stream(["late"]).but(delay_first_s=30)
MID_STREAM = script.chat_stream(["Hello"], finish=None, done=False).but(end=End.STALL)


async def _leave(router: Router, upstream: ScriptedUpstream, *, how: str, wait_for: bytes | None) -> float:
    """One client comes and leaves. When it left, by the loop's clock."""
    received = upstream.received
    async with connected(router) as client:
        await client.chat()
        if wait_for is not None:
            await client.read_until(wait_for)
        else:
            await upstream.wait_until(lambda: upstream.received > received)
            await asyncio.sleep(0.05)
        left_at = asyncio.get_running_loop().time()
        RawClient.finish(client) if how == "FIN" else client.reset()
    return left_at


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize(
    ("playing", "wait_for"),
    [
        pytest.param(BEFORE_HEADERS, None, id="before headers"),
        pytest.param(BEFORE_FIRST_TOKEN, None, id="before the first token"),
        pytest.param(MID_STREAM, b"Hello", id="mid-stream"),
    ],
)
async def test_the_upstream_is_closed_when_the_client_leaves(
    router: Router, upstream: ScriptedUpstream, how: str, playing: Script, wait_for: bytes | None
) -> None:
    upstream.play(playing)
    for _ in range(DISCONNECTS // 6 + 1):
        left_at = await _leave(router, upstream, how=how, wait_for=wait_for)
        await upstream.wait_until(lambda: upstream.active == 0)
        closed_at = upstream.plays[-1].left_at
        assert closed_at is not None
        assert closed_at - left_at < WITHIN_S
    assert upstream.cancelled == upstream.received
    assert router.app.snapshot()["gauges"]["in_flight"] == 0


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_the_upstream_of_an_answer_that_does_not_stream_is_closed_too(
    router: Router, upstream: ScriptedUpstream, how: str
) -> None:
    """T03."""
    upstream.play(script.chat_whole("late").but(delay_headers_s=30))
    body = b'{"model":"openrouter/m","messages":[{"role":"user","content":"Hi"}]}'
    for _ in range(DISCONNECTS // 2):
        received = upstream.received
        async with connected(router) as client:
            await client.send(request("POST", "/v1/chat/completions", body))
            await upstream.wait_until(lambda before=received: upstream.received > before)
            left_at = asyncio.get_running_loop().time()
            RawClient.finish(client) if how == "FIN" else client.reset()
        await upstream.wait_until(lambda: upstream.active == 0)
        closed_at = upstream.plays[-1].left_at
        assert closed_at is not None
        assert closed_at - left_at < WITHIN_S
    assert upstream.cancelled == upstream.received


async def test_many_clients_that_reset_at_once_leave_nothing_open(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(MID_STREAM)

    async def one() -> float:
        async with connected(router) as client:
            await client.chat()
            await client.read_until(b"Hello")
            await arrived.wait()
            left_at = asyncio.get_running_loop().time()
            client.reset()
            return left_at

    arrived = asyncio.Barrier(DISCONNECTS)
    left = await asyncio.gather(*(one() for _ in range(DISCONNECTS)))
    await upstream.wait_until(lambda: upstream.active == 0)
    closed = [play.left_at for play in upstream.plays]
    assert len([at for at in closed if at is not None]) == DISCONNECTS
    assert max(at for at in closed if at is not None) - max(left) < WITHIN_S
    assert router.app.snapshot()["gauges"]["upstream_connections"] == 0


async def test_a_client_that_leaves_before_its_body_is_whole_reaches_no_upstream(
    router: Router, upstream: ScriptedUpstream
) -> None:
    async with connected(router) as client:
        whole = request("POST", "/api/chat", b'{"message":"never whole"}')
        await client.send(whole[:-5])
        await asyncio.sleep(0.05)
        client.finish()
    await asyncio.sleep(0.1)
    assert upstream.received == 0


async def test_what_a_cancelled_request_did_is_recorded_once(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(MID_STREAM)
    await _leave(router, upstream, how="RST", wait_for=b"Hello")
    await upstream.wait_until(lambda: upstream.active == 0)
    series = router.app.snapshot()["series"]["openrouter\0openrouter/auto"]
    assert series["outcomes"] == {"cancelled\0": 1}


async def test_a_slow_client_slows_the_upstream_and_memory_stays_bounded(
    router: Router, upstream: ScriptedUpstream
) -> None:
    """T49: the upstream is paused, not buffered."""
    upstream.play(script.chat_stream(["x" * 10_000], finish=None, done=False).but(repeat=True))
    async with connected(router) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport has it
        await client.chat()
        await upstream.wait_until(lambda: upstream.bytes_sent > 100_000)
        await asyncio.sleep(0.3)
        stalled_at = upstream.bytes_sent
        await asyncio.sleep(0.5)
        assert upstream.bytes_sent == stalled_at, "the upstream went on although nobody reads"
