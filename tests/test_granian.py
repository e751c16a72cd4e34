"""`granian trunkline.asgi:app`: the same application behind another server, without our extension to ASGI."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from program import environment
from raw_http import RawClient, ask, connected, request
from reliability.scene import LENIENT
from served import KEY
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trunkline.upstream.scripted import ScriptedUpstream

CHAT = request("POST", "/api/chat", b'{"message":"Hi"}')
WITHIN_S = 0.5 * LENIENT


class Granian:
    """It listens here."""

    def __init__(self, port: int) -> None:
        self.port = port


@asynccontextmanager
async def granian(upstream: ScriptedUpstream, directory: Path, port: int) -> AsyncGenerator[Granian]:
    """Granian with the router in it, from when it answers until it has ended in good order."""
    given = {"OPENROUTER_API_KEY": KEY, "OPENROUTER_BASE_URL": upstream.base_url}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port),
        "trunkline.asgi:app",
        cwd=directory,
        env=environment(directory, given),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    served = Granian(port)
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    status, _, _ = await ask(served, request("GET", "/readyz"))
                except ConnectionRefusedError:
                    status = 0
                if status == 200:
                    break
                await asyncio.sleep(0.05)
        yield served
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def served(upstream: ScriptedUpstream, tmp_path: Path, unused_port: int) -> AsyncGenerator[Granian]:
    async with granian(upstream, tmp_path, unused_port) as running:
        yield running


async def test_it_streams_hears_of_a_client_that_leaves_and_tells_errors(
    served: Granian, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["Hello", " world"]))
    async with connected(served) as client:
        await client.send(CHAT)
        head = await client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"transfer-encoding: chunked" in head.lower()
        body = await client.read_until(b"0\r\n\r\n")
        for event in (b'data: {"content":"Hello"}\n\n', b'data: {"content":" world"}\n\n', b"data: [DONE]\n\n"):
            assert event in body

    upstream.play(script.chat_stream(["Hello"], finish=None, done=False).but(end=End.STALL))
    for leave in (RawClient.finish, RawClient.reset):
        async with connected(served) as client:
            await client.chat()
            await client.read_until(b"Hello")
            left_at = asyncio.get_running_loop().time()
            leave(client)
            await upstream.wait_until(lambda: upstream.active == 0)
            closed_at = upstream.plays[-1].left_at
            assert closed_at is not None
            assert closed_at - left_at < WITHIN_S

    upstream.play(script.openrouter_error(429, "slow down"))
    for data, status, told in (
        (CHAT, 429, b'"type":"rate_limit"'),
        (request("POST", "/api/chat", b"{}"), 400, b'"type":"invalid_request"'),
        (request("POST", "/nowhere", b"{}"), 404, b'"type":"invalid_request"'),
        (request("POST", "/api/chat", b"x", "Content-Encoding: gzip"), 415, b'"type":"invalid_request"'),
    ):
        got, _, answer = await ask(served, data)
        assert got == status
        assert told in answer

    async with connected(served) as client:
        head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await client.send(head + b"Content-Length: 1000000000\r\n\r\n")
        assert (await client.read_until(b"\r\n")).startswith(b"HTTP/1.1 413")
