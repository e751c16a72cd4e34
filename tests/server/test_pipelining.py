"""Requests that come before the last one is answered: in order, and a bounded number."""

from __future__ import annotations

import asyncio
from typing import Any

from server.wire import answer, asked, body_of, channel_of, get, heard, post, serving


async def tell_path(scope: Any, receive: Any, send: Any) -> None:
    """The path and the body, the first ones last."""
    body = await body_of(receive)
    await asyncio.sleep(0.05 if scope["path"] == "/0" else 0)
    await answer(send, b"<" + scope["raw_path"] + body + b">")


def told(got: bytes) -> list[bytes]:
    """The bodies, in order."""
    return [piece.partition(b">")[0] for piece in got.split(b"<")[1:]]


async def test_answers_come_in_the_order_of_the_requests() -> None:
    got = await asked(tell_path, b"".join(post(b"-%d" % each, target=f"/{each}") for each in range(5)))
    assert told(got) == [b"/%d-%d" % (each, each) for each in range(5)]


async def test_one_request_is_answered_at_a_time() -> None:
    running = most = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        await answer(send, b"<>")

    assert len(told(await asked(app, get() * 5))) == 5
    assert most == 1


async def test_a_request_may_come_in_pieces_behind_another() -> None:
    data = post(b"-a", target="/0") + post(b"-b", target="/1") + post(b"-c", target="/2")
    async with serving(tell_path) as it, it.client() as client:
        for at in range(0, len(data), 10):
            await client.send(data[at : at + 10])
            await asyncio.sleep(0.002)
        assert told(await heard(client)) == [b"/0-a", b"/1-b", b"/2-c"]


async def test_past_the_bound_the_last_that_waits_closes_the_connection() -> None:
    got = await asked(tell_path, b"".join(get(f"/{each}") for each in range(10)), pipelined=4)
    assert told(got) == [b"/%d" % each for each in range(5)]
    assert got.count(b"connection: close") == 1


async def test_what_waits_is_answered_before_the_connection_closes_on_nonsense() -> None:
    got = await asked(tell_path, get("/0") + get("/1") + b"nonsense\r\n\r\n")
    assert told(got) == [b"/0", b"/1"]
    assert b"400 Bad Request" in got


async def test_what_waits_goes_with_its_client() -> None:
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        channel_of(scope).on_disconnect(left.set)
        await left.wait()

    left = asyncio.Event()
    async with serving(app) as it:
        async with it.client() as client:
            await client.send(get("/0") + get("/1"))
            await asyncio.sleep(0.05)
        await left.wait()
        await asyncio.sleep(0.05)
        assert it.connections == 0
    assert paths == ["/0"]


async def test_a_client_that_never_reads_gets_no_further_answers() -> None:
    asks = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asks
        asks += 1
        await answer(send, b"x" * 4_000_000)

    async with serving(app) as it, it.client() as client:
        client.writer.transport.pause_reading()
        for _ in range(20):
            await client.send(get())
            await asyncio.sleep(0.01)
        assert asks <= 3


async def test_nothing_is_asked_of_the_application_behind_a_large_response_that_closes_the_connection() -> None:
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        await asyncio.sleep(0.05)
        channel_of(scope).start(200, [(b"connection", b"close")])
        channel_of(scope).end(b"x" * 16_000_000)

    got = await asked(app, get("/0") + get("/1"))
    assert got.count(b"HTTP/1.1 ") == 1
    assert got.endswith(b"\r\n\r\n" + b"x" * 16_000_000)
    assert paths == ["/0"]
