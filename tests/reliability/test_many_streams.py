"""Many streams at once: all are closed when their clients leave, and none costs more memory than its bound (T43, T49).

T41: memory does not grow with the number of requests that were answered.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from structlog.testing import capture_logs

from raw_http import RawClient, ask, connected
from reliability.scene import LENIENT, asking, completion, descriptors, in_flight, routing, until
from sizes import ABORTED_STREAMS, SLOW_READERS, SOAKED_REQUESTS
from trunkline.upstream import script
from trunkline.upstream.script import End
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    import pytest

    from served import Router

HELD = script.chat_stream(["held"], finish=None, done=False, usage=None).but(end=End.STALL)
PIECE = "x" * 10_000
ENDLESS = script.chat_stream([PIECE], finish=None, done=False, role_chunk=False, usage=None).but(repeat=True)
SPARE_DESCRIPTORS = 50


def resident_bytes() -> int:
    """The memory of this process that is in use: its client and its upstreams are in it, too."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_when_all_clients_leave_at_once_every_upstream_is_closed(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """T43."""
    upstream.play(HELD)
    clock = asyncio.get_running_loop().time
    async with routing(tmp_path, upstream) as router:
        before = descriptors()
        async with AsyncExitStack() as stack:
            clients: list[RawClient] = []
            for _ in range(ABORTED_STREAMS):
                client = await stack.enter_async_context(asking(router, completion()))
                await client.read_until(b"held", 30)
                clients.append(client)
            assert (upstream.active, in_flight(router)) == (ABORTED_STREAMS, ABORTED_STREAMS)
            for client in clients:
                client.reset()
            assert await until(lambda: upstream.active == 0 and not in_flight(router), 5 * LENIENT) < 5 * LENIENT
        await until(lambda: descriptors() <= before + SPARE_DESCRIPTORS, 5)
        upstream.play(script.chat_whole("next"))
        begun = clock()
        assert (await ask(router, completion(stream=False)))[0] == 200
        assert clock() - begun < 0.25 * LENIENT


async def test_slow_readers_cost_a_bounded_memory_each_and_nobody_else_waits(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """T49: the upstream is paused. The bound covers both ends of both sockets, as all are in this process."""
    clock = asyncio.get_running_loop().time
    upstream.play(ENDLESS)
    async with routing(tmp_path, upstream) as router:
        gc.collect()
        before = resident_bytes()
        async with AsyncExitStack() as stack:
            for _ in range(SLOW_READERS):
                client = await stack.enter_async_context(connected(router))
                client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport has it
                await client.send(completion())
            await upstream.wait_until(lambda: upstream.active == SLOW_READERS)
            await _standstill(upstream)
            assert resident_bytes() - before <= SLOW_READERS * 256 * 1024 + (16 << 20)
            upstream.play(script.chat_whole("quick"))
            begun = clock()
            assert (await ask(router, completion(stream=False)))[0] == 200
            assert clock() - begun < 0.25 * LENIENT
        await until(lambda: upstream.active == 0, 5)


async def _standstill(upstream: ScriptedUpstream) -> None:
    """Wait until nothing more is sent: every buffer on the way is full."""
    async with asyncio.timeout(30):
        sent = -1
        while sent != upstream.bytes_sent:
            sent = upstream.bytes_sent
            await asyncio.sleep(0.5)


async def test_memory_does_not_grow_with_the_requests_that_were_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """T41: what is kept of the last requests has a bound of its own, which is filled before anything is measured."""
    caplog.set_level(logging.WARNING, "httpx")  # what it logs is kept by the test's own capture
    answer = script.chat_stream(["one ", "two"])
    async with (
        ScriptedUpstream(lambda _: answer, remember=10) as upstream,
        routing(tmp_path, upstream) as router,
        httpx.AsyncClient(timeout=30, trust_env=False) as http,
    ):
        router.app._recent._most = 50
        with capture_logs() as lines:
            tracemalloc.start()
            try:
                await _answered(router, http, 300)
                lines.clear()
                gc.collect()
                first, _ = tracemalloc.get_traced_memory()
                resident = resident_bytes()
                for _ in range(SOAKED_REQUESTS // 100):
                    await _answered(router, http, 100)
                    lines.clear()
                gc.collect()
                last, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert (last - first) / SOAKED_REQUESTS <= 100
        assert resident_bytes() - resident <= 8 << 20


async def _answered(router: Router, http: httpx.AsyncClient, count: int) -> None:
    body = {"model": "r", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    for _ in range(count):
        response = await http.post(f"{router.url}/v1/chat/completions", json=body)
        assert response.status_code == 200
