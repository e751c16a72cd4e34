"""Clients that take their time: each wait ends (T49, T52)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from reliability.scene import until
from server.wire import answer, body_of, channel_of, echo, get, heard, hello, post, serving, without_date

if TYPE_CHECKING:
    from raw_http import RawClient

LATE = b"HTTP/1.1 408 Request Timeout\r\n"


async def trickle(client: RawClient, data: bytes, every_s: float = 0.02) -> bytes:
    """Send a byte at a time until the server closes; what it said."""
    hearing = asyncio.create_task(client.read_all(5))
    for at in range(len(data)):
        if hearing.done():
            break
        client.writer.write(data[at : at + 1])
        await asyncio.sleep(every_s)
    return without_date(await hearing)


async def test_a_head_that_comes_byte_by_byte_is_given_up() -> None:
    async with serving(hello, head_s=0.2) as it, it.client() as client:
        assert (await trickle(client, get("/", "X-A: " + "b" * 1000))).startswith(LATE)


async def test_a_client_that_says_nothing_is_closed_without_a_word() -> None:
    async with serving(hello, head_s=0.1) as it, it.client() as client:
        assert await client.read_all(2) == b""


async def test_a_server_that_had_no_connection_for_long_takes_the_next_one() -> None:
    async with serving(hello, head_s=0.3) as it:
        for _ in range(2):
            await asyncio.sleep(0.5)
            async with it.client() as client:
                await asyncio.sleep(0.1)
                await client.send(get())
                await client.read_until(b"hello")


async def test_an_idle_connection_is_closed_and_not_before() -> None:
    async with serving(hello, head_s=0.1, keep_alive_s=0.4) as it, it.client() as client:
        for _ in range(2):
            await client.send(get())
            await client.read_until(b"hello")
            await asyncio.sleep(0.25)
        assert await client.read_all(2) == b""


async def test_the_head_of_a_later_request_has_the_same_time() -> None:
    async with serving(hello, head_s=0.2, keep_alive_s=30) as it, it.client() as client:
        await client.send(get())
        await client.read_until(b"hello")
        assert (await trickle(client, get("/", "X-A: " + "b" * 1000))).startswith(LATE)


async def test_an_answer_may_take_longer_than_any_deadline_of_the_request() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.5)
        await answer(send, await body_of(receive))

    limits = {"head_s": 0.1, "keep_alive_s": 0.1, "body_window_s": 0.1, "write_stall_s": 0.1}
    async with serving(app, **limits) as it, it.client() as client:
        await client.send(post(b"hello"))
        assert (await client.read_until(b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_body_that_comes_byte_by_byte_is_given_up() -> None:
    async with serving(echo, body_window_s=0.2) as it, it.client() as client:
        assert (await trickle(client, post(b"b" * 1000))).startswith(LATE)


async def test_a_body_that_comes_slowly_but_steadily_is_taken() -> None:
    async with serving(echo, body_window_s=0.2, body_window_bytes=500) as it, it.client() as client:
        await client.send(post(b"", length=6000))
        for _ in range(12):
            await client.send(b"b" * 500)
            await asyncio.sleep(0.05)
        assert (await heard(client)).endswith(b"b" * 6000)


async def test_a_body_that_the_application_does_not_take_is_not_its_clients_fault() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.5)
        await answer(send, b"%d" % len(await body_of(receive)))

    async with serving(app, body_window_s=0.1) as it, it.client() as client:
        await client.send(post(b"b" * 3_000_000))
        assert (await client.read_until(b"3000000")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("ends", [True, False])
async def test_a_client_that_never_reads_is_cut_off(ends: bool) -> None:
    over = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        channel.on_disconnect(over.set)
        channel.start(200, ())
        if ends:
            channel.end(b"x" * 8_000_000)
            return
        while not over.is_set():
            channel.write(b"x" * 100_000)
            await channel.writable()

    async with serving(app, write_stall_s=0.2) as it, it.client() as client:
        client.writer.transport.pause_reading()
        await client.send(get())
        await until(lambda: not (it.connections), 5)
        assert over.is_set() is not ends


@pytest.mark.parametrize(
    "behind", [post(b"b", length=100), b"GET / HT", b"nonsense\r\n\r\n", get("/", "Connection: close")]
)
async def test_what_comes_slowly_behind_a_request_does_not_end_its_answer(behind: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.6)
        await answer(send, b"hello")

    limits = {"head_s": 0.1, "keep_alive_s": 0.1, "body_window_s": 0.1, "write_stall_s": 0.1}
    async with serving(app, **limits) as it, it.client() as client:
        await client.send(get("/first") + behind)
        assert (await client.read_until(b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_client_that_reads_slowly_is_not() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"x" * 12_000_000)

    async with serving(app, write_stall_s=0.4) as it, it.client() as client:
        await client.send(get())
        got = 0
        while got < 12_000_000:
            got += len(await client.reader.read(1 << 20))
            await asyncio.sleep(0.12)


async def test_many_slow_clients_do_not_hold_up_a_quick_one() -> None:
    async with serving(hello, head_s=0.3) as it:
        slow = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(200)]
        for _, writer in slow:
            writer.write(b"GET / HT")
        async with it.client() as client:
            await client.send(get())
            await client.read_until(b"hello", 1)
        await until(lambda: it.connections <= 1, 6)
        for _, writer in slow:
            writer.transport.abort()


async def test_an_empty_line_behind_a_body_is_no_request_that_does_not_come() -> None:
    async with serving(hello, head_s=0.1, keep_alive_s=0.5) as it, it.client() as client:
        await client.send(post(b"body"))
        assert (await client.read_until(b"hello")).startswith(b"HTTP/1.1 200")
        await client.send(b"\r\n")
        await asyncio.sleep(0.3)
        await client.send(get())
        assert (await client.read_until(b"hello")).startswith(b"HTTP/1.1 200")
        assert await client.read_all() == b""
