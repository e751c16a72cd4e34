"""No stream costs more memory than its bound (T49), nor do the requests that were answered (T41, F15)."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from structlog.testing import capture_logs

from collector import left_to_the_collector
from program import started
from raw_http import RawClient, connected, request
from reliability.scene import LENIENT, completion, in_flight, routing, until
from sizes import SLOW_READERS, SLOW_S, SOAKED_REQUESTS
from trunkline.core.problem import Problem
from trunkline.gateway.exchange import Exchange
from trunkline.gateway.relay import Relay
from trunkline.routing.breaker import MAX_REMEMBERED
from trunkline.server import connection as server_side
from trunkline.upstream import connection as upstream_side
from trunkline.upstream import script
from trunkline.upstream.client import WireStream
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from served import Router

SPARE_BYTES = 8 << 20
"""What a process may take beside, for whatever it does for the first time."""

ONE_WINDOW = 256 << 10
"""What a kernel may take at once when there is room again, for each connection on the way."""

PIECE = "x" * 10_000
ENDLESS = script.chat_stream([PIECE], finish=None, done=False, role_chunk=False, usage=None).but(repeat=True)


def memory_of(pid: int) -> int:
    """The memory of a router's processes that is in use, in bytes."""
    parent = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))


def resident_bytes() -> int:
    """The memory of this process that is in use: its client and its upstreams are in it, too."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_slow_readers_cost_a_bounded_memory_each_and_nobody_else_waits(
    tmp_path: Path, upstream: ScriptedUpstream, record_property: Callable[[str, object], None]
) -> None:
    """T49: the upstream is paused, also where clients do read a little: 1 KB a second."""
    clock = asyncio.get_running_loop().time
    quick = request("POST", "/api/chat", b'{"message":"Hi"}')
    async with started(upstream, tmp_path, LOG_LEVEL="warning") as router, AsyncExitStack() as stack:
        for _ in range(20):
            async with connected(router) as client:
                await client.send(quick)
                await client.read_until(b"[DONE]")
        upstream.play(ENDLESS)
        before = memory_of(router.pid)
        clients: list[RawClient] = []
        for _ in range(SLOW_READERS):
            client = await stack.enter_async_context(connected(router))
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport has it
            await client.send(quick)
            clients.append(client)
        await upstream.wait_until(lambda: upstream.active == SLOW_READERS, 60)
        await _standstill(upstream)
        held = upstream.bytes_sent
        for _ in range(SLOW_S):
            for client in clients:
                sock: socket.socket = client.writer.get_extra_info("socket")
                assert os.read(sock.fileno(), 1024)
            await asyncio.sleep(1)
        each = (memory_of(router.pid) - before) / SLOW_READERS
        record_property(f"T49: KiB a stream, of {SLOW_READERS} slow readers", round(each / 1024))
        record_property("T49: KiB a stream that the upstream got rid of", round(held / SLOW_READERS / 1024))
        assert each <= 256 * 1024 + SPARE_BYTES / SLOW_READERS
        assert upstream.bytes_sent - held <= SLOW_READERS * (SLOW_S * 1024 + ONE_WINDOW)
        upstream.play(script.chat_stream(["quick"]))
        begun = clock()
        async with connected(router) as other:
            await other.send(quick)
            await other.read_until(b"[DONE]")
        record_property("T49: ms that another one takes meanwhile", round((clock() - begun) * 1000))
        assert clock() - begun < 0.25 * LENIENT
    await until(lambda: upstream.active == 0, 10)


async def _standstill(upstream: ScriptedUpstream) -> None:
    """Wait until nothing more is sent: every buffer on the way is full."""
    async with asyncio.timeout(30):
        sent = -1
        while sent != upstream.bytes_sent:
            sent = upstream.bytes_sent
            await asyncio.sleep(0.5)


async def test_memory_does_not_grow_with_the_requests_that_were_answered(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """T41: what is kept of the last requests has a bound of its own, which is filled before anything is measured."""
    answer = script.chat_stream(["one ", "two"])
    async with (
        ScriptedUpstream(lambda _: answer, remember=10) as upstream,
        routing(tmp_path, upstream) as router,
        connected(router) as client,
    ):
        router.app._recent._most = 50
        with capture_logs() as lines:
            tracemalloc.start()
            try:
                await _answered(client, 300)
                (target,) = router.app._inference._gateway.failover._health._targets.values()
                for _ in range(MAX_REMEMBERED):
                    target.breaker.succeed(asyncio.get_running_loop().time())
                lines.clear()
                gc.collect()
                first, _ = tracemalloc.get_traced_memory()
                resident = resident_bytes()
                for _ in range(SOAKED_REQUESTS // 100):
                    await _answered(client, 100)
                    lines.clear()
                gc.collect()
                last, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        grown = resident_bytes() - resident
        record_property(f"T41: bytes a request, over {SOAKED_REQUESTS}", round((last - first) / SOAKED_REQUESTS, 2))
        record_property("T41: KiB that the process has grown by", round(grown / 1024))
        assert (last - first) / SOAKED_REQUESTS <= 100
        assert grown <= 8 << 20


async def _answered(client: RawClient, count: int) -> None:
    for _ in range(count):
        await client.send(completion())
        assert (await client.read_until(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200")


FAILURES = {
    "overloaded": script.json_error(503, {"error": {"message": "busy"}}),
    "wrong": script.json_error(400, {"error": {"message": "no"}}),
    "cut": script.chat_stream(["one ", "two ", "three"]).cut_after(2, script.End.RST),
    "empty": script.chat_stream([], usage=None),
    "left by its client": ENDLESS,
}
OURS = (Exchange, Problem, Relay, WireStream, server_side.Connection, upstream_side.Connection)


@pytest.mark.parametrize("failure", [*FAILURES, "refused"])
async def test_a_request_that_fails_leaves_nothing_that_waits_for_the_collector(
    tmp_path: Path, unused_port: int, failure: str
) -> None:
    """T40: an error holds the frames that it came through, and they hold what it is about, and that the error."""
    async with (
        ScriptedUpstream(lambda _: FAILURES[failure], remember=10) as upstream,
        routing(tmp_path, unused_port if failure == "refused" else upstream) as router,
    ):
        await _failed(router)
        with left_to_the_collector(*OURS) as left:
            for _ in range(3):
                await _failed(router)
    assert left == []


async def _failed(router: Router) -> None:
    """A request that streams and one that does not; their client leaves when it knows how they begin."""
    for stream in (True, False):
        async with connected(router) as client:
            await client.send(completion(stream=stream))
            await client.read_until(b"\r\n\r\n") if stream else await asyncio.sleep(0.05)
        await until(lambda: in_flight(router) == 0)
    await asyncio.sleep(0)
