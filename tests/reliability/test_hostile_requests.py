"""Requests that are slow, huge, coded or ambiguous, from socket to upstream (T52, T60, T62, T63, S08)."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import zlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from raw_http import RawClient, ask, connected, request
from reliability.scene import LENIENT, until
from server.hostile import corpus
from server.test_refusals import ANSWERED
from sizes import BODY_MIB, SLOW_SENDERS
from trunkline.server import ServerLimits

if TYPE_CHECKING:
    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

MIB = 1 << 20
CHAT = request("POST", "/api/chat", b'{"message":"Hi"}')
HEAD = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("case", corpus("/api/chat"))
async def test_no_hidden_request_reaches_an_upstream(router: Router, upstream: ScriptedUpstream, case: str) -> None:
    """T63, S08."""
    async with connected(router) as client:
        await client.send(corpus("/api/chat")[case])
        client.writer.transport.set_write_buffer_limits(0)
        try:
            got = await client.read_all(1)
        except TimeoutError:
            got = b""
    assert upstream.received == 0
    assert b"HTTP/1.1 200" not in got
    assert got.count(b"HTTP/1.1 ") <= 1 + (case in ANSWERED)
    assert (await ask(router, CHAT))[0] == 200


async def test_slow_headers_and_bodies_end_and_nobody_else_waits(router: Router) -> None:
    """T52, at an eightieth of its time, as no byte of a head gives it more."""
    router.server.limits = ServerLimits(head_s=0.4, body_window_s=0.8, sweep_s=0.1)
    begun = asyncio.get_running_loop().time()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(router)) for _ in range(SLOW_SENDERS)]

        async def send_slowly(client: RawClient, head: bytes) -> float:
            hearing = asyncio.create_task(client.read_all(60))
            client.writer.write(head)
            while not hearing.done():
                client.writer.write(b"x")
                await asyncio.wait({hearing}, timeout=0.1)
            assert (await hearing).startswith(b"HTTP/1.1 408")
            return asyncio.get_running_loop().time() - begun

        body = HEAD + b"Content-Length: 100000\r\n\r\n"
        slow = [
            asyncio.create_task(send_slowly(client, body if number % 2 else HEAD + b"X-A: "))
            for number, client in enumerate(clients)
        ]
        asked_at = asyncio.get_running_loop().time()
        assert (await ask(router, CHAT))[0] == 200
        assert asyncio.get_running_loop().time() - asked_at < 0.25 * LENIENT
        took = await asyncio.gather(*slow)
    assert max(took[::2]) < 0.6 * LENIENT
    assert max(took[1::2]) < 1.0 * LENIENT


@pytest.mark.parametrize("declared", [f"Content-Length: {BODY_MIB * MIB}", "Transfer-Encoding: chunked"])
async def test_a_huge_body_is_refused_and_costs_little(router: Router, declared: str) -> None:
    """T60: ten at once. Client and router are one process: the time of both is measured."""
    before = resource.getrusage(resource.RUSAGE_SELF)

    async def one() -> int:
        sent = 0
        async with connected(router) as client:
            await client.send(HEAD + declared.encode() + b"\r\n\r\n")
            piece = b"x" * MIB if "Length" in declared else b"%x\r\n%b\r\n" % (MIB, b"x" * MIB)
            hearing = asyncio.create_task(client.read_all(30))
            while sent < BODY_MIB and not hearing.done():
                try:
                    await client.send(piece)
                except ConnectionError:
                    break
                sent += 1
            got = await hearing
            assert not got or got.startswith(b"HTTP/1.1 413")
        return sent

    sent = await asyncio.gather(*(one() for _ in range(10)))
    assert max(sent) <= 32 + 16
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10 * 1.0 * LENIENT


async def test_who_declares_too_much_reads_why_at_once(router: Router) -> None:
    """T60."""
    async with connected(router) as client:
        await client.send(HEAD + b"Content-Length: 1073741824\r\n\r\n")
        head = await client.read_until(b"\r\n\r\n", 1 * LENIENT)
    assert head.startswith(b"HTTP/1.1 413")
    assert b"\r\nconnection: close\r\n" in head


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP"])
async def test_a_coded_body_is_refused_unread(router: Router, upstream: ScriptedUpstream, coding: str) -> None:
    """T62: nothing is unpacked, so no bomb goes off."""
    plain = json.dumps({"message": " " * 10 * MIB}).encode()
    body = zlib.compress(plain) if coding == "deflate" else gzip.compress(plain)
    status, headers, _ = await ask(router, request("POST", "/api/chat", body, f"Content-Encoding: {coding}"))
    assert status == 415
    assert upstream.received == 0
    assert headers["x-request-id"]


async def test_a_client_that_never_reads_ends_with_its_stream(router: Router, upstream: ScriptedUpstream) -> None:
    """T49, T52: the upstream is closed, too."""
    from trunkline.upstream import script

    router.server.limits = ServerLimits(write_stall_s=0.4, sweep_s=0.1)
    endless = script.chat_stream(["x" * 10_000], finish=None, done=False, role_chunk=False, usage=None)
    upstream.play(endless.but(repeat=True))
    async with connected(router) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport has it
        await client.send(CHAT)
        await upstream.wait_until(lambda: upstream.active == 1)
        await until(lambda: upstream.active == 0, 5 * LENIENT)
