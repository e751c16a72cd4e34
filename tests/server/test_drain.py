"""The server ends: nobody new, nothing cut that can still end (T44)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from reliability.scene import until
from server.wire import answer, channel_of, get, heard, hello, serving


class Held:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        try:
            await self.goes_on.wait()
            await answer(send, b"hello")
        finally:
            self.running -= 1


async def test_from_then_on_every_answer_closes() -> None:
    async with serving(hello) as it, it.client() as client:
        await client.send(get())
        await client.read_until(b"hello")
        it.server.say_close()
        await client.send(get())
        got = await client.read_all()
        assert b"\r\nconnection: close\r\n" in got
        assert got.endswith(b"hello")


async def test_nobody_new_is_accepted_and_who_is_there_is_answered() -> None:
    async with serving(hello) as it, it.client() as client:
        await client.send(get())
        await client.read_until(b"hello")
        it.server.stop_accepting()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", it.port), timeout=1)
        await client.send(get())
        await client.read_until(b"hello")


async def test_idle_connections_are_closed_and_busy_ones_after_their_answer() -> None:
    app = Held()
    async with serving(app) as it, it.client() as idle, it.client() as halfway, it.client() as busy:
        await halfway.send(b"GET / HT")
        await busy.send(get())
        await until(lambda: app.running > 0)
        it.server.close_idle()
        assert await idle.read_all(1) == b""
        assert await halfway.read_all(1) == b""
        app.goes_on.set()
        assert (await busy.read_all(1)).endswith(b"hello")


async def test_a_stream_that_began_before_ends_whole() -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        channel.start(200, ())
        channel.write(b"one")
        begun.set()
        await goes_on.wait()
        channel.end(b"two")

    async with serving(app) as it, it.client() as client:
        await client.send(get())
        await begun.wait()
        closing = asyncio.create_task(it.server.close(within_s=5))
        await asyncio.sleep(0.05)
        assert not closing.done()
        goes_on.set()
        await closing
        assert (await client.read_all()).endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_the_last_bytes_are_waited_for() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"x" * 16_000_000)

    async with serving(app) as it, it.client() as client:
        client.writer.transport.pause_reading()
        await client.send(get())
        await asyncio.sleep(0.1)
        closing = asyncio.create_task(it.server.close(within_s=5))
        await asyncio.sleep(0.1)
        client.writer.transport.resume_reading()
        got = await heard(client)
        assert len(got.partition(b"\r\n\r\n")[2]) == 16_000_000
        await closing


async def test_when_the_time_is_over_everything_ends() -> None:
    app = Held()
    clock = asyncio.get_running_loop().time
    async with serving(app) as it, it.client() as client:
        await client.send(get())
        await until(lambda: app.running > 0)
        begun = clock()
        await it.server.close(within_s=0.2)
        assert 0.1 < clock() - begun < 2
        assert app.running == 0
        assert await client.read_all(1) == b""
