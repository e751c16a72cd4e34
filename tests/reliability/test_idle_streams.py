"""Thousands of idle streams cost little, and when all their clients leave, all is closed (T42, T43, F16).

The router is a process of its own: client and upstream share this one.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psutil

from program import started
from raw_http import RawClient, ask, connected, request
from reliability.scene import LENIENT, until
from sizes import IDLE_S, IDLE_STREAMS
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from program import Started
    from trunkline.upstream.scripted import ScriptedUpstream

    Record = Callable[[str, object], None]

HELD = script.chat_stream(["held"], finish=None, done=False, usage=None, role_chunk=False)
PINGING = HELD.but(body=(*HELD.body, *[b": ping\n\n"] * 100), delay_between_s=15)
AT_ONCE = 50
SPARE_DESCRIPTORS = 50
ASK = request("POST", "/api/chat", b'{"message":"Hi"}')
HEALTH = request("GET", "/health")


def worker_of(router: Started) -> psutil.Process:
    """The process that answers."""
    return max(psutil.Process(router.pid).children(recursive=True), key=lambda one: one.memory_info().rss)


async def opened(router: Started, stack: AsyncExitStack) -> list[RawClient]:
    """So many streams, each at its first word."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> RawClient:
        async with turns:
            client = await stack.enter_async_context(connected(router))
            await client.send(ASK)
            await client.read_until(b"held", 60)
            return client

    return await asyncio.gather(*(one() for _ in range(IDLE_STREAMS)))


async def test_idle_streams_cost_little_and_all_are_closed_at_once(
    tmp_path: Path, upstream: ScriptedUpstream, record_property: Record
) -> None:
    clock = asyncio.get_running_loop().time
    upstream.play(script.chat_stream(["warm"]))
    async with started(upstream, tmp_path, LOG_LEVEL="warning") as router, AsyncExitStack() as stack:
        for _ in range(20):
            async with connected(router) as client:
                await client.send(ASK)
                await client.read_until(b"[DONE]")
        upstream.play(PINGING)
        worker = worker_of(router)
        memory, descriptors = worker.memory_info().rss, worker.num_fds()

        begun = clock()
        clients = await opened(router, stack)
        record_property(f"T42: s until {IDLE_STREAMS} streams are open", round(clock() - begun, 1))
        assert clock() - begun <= 60
        assert upstream.active == IDLE_STREAMS
        each = (worker.memory_info().rss - memory) / IDLE_STREAMS
        record_property("T42: KiB a stream", round(each / 1024, 1))
        assert each <= 64 * 1024

        begun, used = clock(), sum(worker.cpu_times()[:2])
        waits = await _asked_for_health(router, IDLE_S)
        share = (sum(worker.cpu_times()[:2]) - used) / (clock() - begun)
        late = sorted(waits)[int(0.99 * len(waits))]
        record_property("T42: ms of /health, p99", round(late * 1000, 1))
        record_property("T42: % of a core while idle", round(share * 100))
        assert late <= 0.1 * LENIENT
        assert share <= 0.6
        assert upstream.active == IDLE_STREAMS

        begun = clock()
        for client in clients:
            client.reset()
        await upstream.wait_until(lambda: upstream.active == 0, 5 * LENIENT)
        record_property("T43: s until all upstreams are closed", round(clock() - begun, 2))
        await until(lambda: worker.num_fds() <= descriptors + SPARE_DESCRIPTORS, 5)
        upstream.play(script.chat_stream(["next"]))
        begun = clock()
        async with connected(router) as client:
            await client.send(ASK)
            await client.read_until(b"next")
        record_property("T43: ms of the next request", round((clock() - begun) * 1000, 1))
        assert clock() - begun < 0.25 * LENIENT


async def _asked_for_health(router: Started, seconds: int) -> list[float]:
    """How long /health took, ten times a second."""
    clock = asyncio.get_running_loop().time
    waits: list[float] = []
    for _ in range(10 * seconds):
        begun = clock()
        status, *_ = await ask(router, HEALTH)
        waits.append(clock() - begun)
        assert status == 200
        await asyncio.sleep(0.1)
    return waits
