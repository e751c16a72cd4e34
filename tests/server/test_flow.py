"""A slow client slows the application, a slow application slows its client: memory stays bounded (T49, T60)."""

from __future__ import annotations

import asyncio
from typing import Any

from reliability.scene import until
from server.wire import answer, body_of, channel_of, get, heard, hello, post, serving
from trunkline.outbox import HELD_BYTES
from trunkline.server.connection import HIGH_WATER_BYTES
from trunkline.server.server import INBOX_BYTES

MORE_THAN_SOCKETS_HOLD = 32_000_000


async def test_send_waits_while_the_client_does_not_read() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(MORE_THAN_SOCKETS_HOLD // 10_000):
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            sent += 10_000
        await send({"type": "http.response.body"})

    async with serving(app) as it, it.client() as client:
        client.writer.transport.pause_reading()
        await client.send(get())
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < MORE_THAN_SOCKETS_HOLD
        (connection,) = it.server._connections
        assert connection.transport.get_write_buffer_size() <= 64 * 1024 + HELD_BYTES + 10_020
        client.writer.transport.resume_reading()
        got = await heard(client)
        assert got.endswith(b"0\r\n\r\n")
        assert sent == MORE_THAN_SOCKETS_HOLD


async def test_the_channel_tells_when_it_is_full_and_when_not() -> None:
    states: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        channel.start(200, ())
        states.append(channel.is_full)
        channel.write(b"x" * 8_000_000)
        states.append(channel.is_full)
        await channel.writable()
        states.append(channel.is_full)
        channel.end()

    async with serving(app) as it, it.client() as client:
        await client.send(get())
        await heard(client)
    assert states == [False, True, False]


async def test_a_body_that_is_not_taken_is_not_read() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asked.wait()
        await answer(send, b"%d" % len(await body_of(receive)))

    asked = asyncio.Event()
    async with serving(app) as it, it.client() as client:
        client.writer.write(post(b"b" * MORE_THAN_SOCKETS_HOLD))
        await asyncio.sleep(0.3)
        (connection,) = it.server._connections
        assert connection._answered is not None
        assert HIGH_WATER_BYTES < connection._answered.unread_bytes <= HIGH_WATER_BYTES + INBOX_BYTES
        asked.set()
        assert (await client.read_until(b"%d" % MORE_THAN_SOCKETS_HOLD)).startswith(b"HTTP/1.1 200")


async def test_a_client_that_still_sends_reads_the_answer_and_not_a_reset() -> None:
    async with serving(hello) as it, it.client() as client:
        await client.send(post(b"b" * 400_000, length=10**9))
        got = await client.read_all()
        assert got.endswith(b"connection: close\r\n\r\nhello")
        await client.send(b"b" * 100)


async def test_not_for_ever() -> None:
    async with serving(hello, linger_s=0.2) as it, it.client() as client:
        await client.send(post(b"b", length=10**9))
        await client.read_until(b"hello")
        await until(lambda: not (it.connections), 2)


async def test_nor_for_all_that_it_sends() -> None:
    sent = 0
    async with serving(hello, linger_s=30, linger_bytes=1_000_000) as it, it.client() as client:
        await client.send(post(b"b", length=10**10))
        try:
            while sent < 200_000_000:
                await client.send(b"b" * 100_000)
                sent += 100_000
        except ConnectionError:
            pass
        assert sent < 50_000_000
