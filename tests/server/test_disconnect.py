"""The client leaves: the application hears of it at once, and once (T01 to T04)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from raw_http import RawClient
from reliability.scene import until
from server.wire import answer, asked, channel_of, get, post, serving

WITHIN_S = 0.5 * 4
LEAVING = [RawClient.finish, RawClient.reset]


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("has_begun", [True, False])
async def test_the_callback_is_called_once_when_the_client_leaves(leave: Any, has_begun: bool) -> None:
    calls: list[float] = []
    clock = asyncio.get_running_loop().time
    waits = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        task = asyncio.current_task()
        assert task is not None
        channel.on_disconnect(lambda: (calls.append(clock()), task.cancel()))
        if has_begun:
            channel.start(200, ())
            channel.write(b"begun")
        waits.set()
        await asyncio.sleep(30)

    async with serving(app) as it, it.client() as client:
        await client.send(get())
        await waits.wait()
        if has_begun:
            await client.read_until(b"begun")
        left_at = clock()
        leave(client)
        await until(lambda: not (it.connections or it.server._running), WITHIN_S)
    (called_at,) = calls
    assert called_at - left_at < WITHIN_S


@pytest.mark.parametrize("leave", LEAVING)
async def test_receive_tells_of_it_too(leave: Any) -> None:
    told: list[str] = []
    waits = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append((await receive())["type"])
        waits.set()
        told.append((await receive())["type"])
        told.append((await receive())["type"])

    async with serving(app) as it, it.client() as client:
        await client.send(get())
        await waits.wait()
        leave(client)
        await until(lambda: not (it.server._running), WITHIN_S)
    assert told == ["http.request", "http.disconnect", "http.disconnect"]


async def test_it_is_heard_while_the_body_is_awaited() -> None:
    told: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.extend([await receive(), await receive()])

    async with serving(app) as it:
        async with it.client() as client:
            await client.send(post(b"half", length=100))
            await asyncio.sleep(0.05)
        await until(lambda: not (it.server._running), WITHIN_S)
    assert told == [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]


async def test_who_asks_after_it_is_called_at_once() -> None:
    calls: list[str] = []
    goes_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        await goes_on.wait()
        channel.on_disconnect(lambda: calls.append("left"))
        calls.append("asked")
        # What is written to nobody is dropped.
        channel.start(200, ())
        channel.write(b"one")
        await channel.writable()
        channel.end()
        await answer(send, b"again")

    async with serving(app) as it:
        async with it.client() as client:
            await client.send(get())
            await asyncio.sleep(0.05)
        await until(lambda: not (it.connections))
        goes_on.set()
    assert calls == ["left", "asked"]


async def test_nobody_is_called_after_the_answer() -> None:
    calls: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel_of(scope).on_disconnect(lambda: calls.append("left"))
        await answer(send, b"hello")

    assert (await asked(app, get())).endswith(b"hello")
    assert calls == []


async def test_a_writer_that_waits_goes_on_when_the_client_leaves() -> None:
    waits, goes_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        channel.start(200, ())
        channel.write(b"x" * 8_000_000)
        assert channel.is_full
        waits.set()
        await channel.writable()
        goes_on.set()

    async with serving(app) as it, it.client() as client:
        client.writer.transport.pause_reading()
        await client.send(get())
        await waits.wait()
        client.reset()
        async with asyncio.timeout(WITHIN_S):
            await goes_on.wait()
