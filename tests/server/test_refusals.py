"""What is no HTTP/1.1, or might be read in two ways, is refused, and its connection is closed (T63, S08)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.hostile import corpus
from server.wire import answer, asked, body_of, get, heard, hello, serving

CASES = corpus("/smuggled")
ANSWERED = {"a body after an upgrade"}
"""What may be answered, as there is one way to read it: its body is a body."""


@pytest.mark.parametrize("case", CASES)
async def test_what_is_hidden_is_not_answered(case: str) -> None:
    bodies: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append(await body_of(receive))
        await answer(send, b"answered")

    got = await asked(app, CASES[case])
    if case in ANSWERED:
        assert got.count(b"answered") == 1
        assert bodies[0].startswith(b"POST /smuggled")
    else:
        assert bodies == []
        assert not got or got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        assert got.count(b"HTTP/1.1 ") <= 1


@pytest.mark.parametrize("case", [name for name in CASES if name not in ANSWERED])
async def test_it_is_closed_after_a_request_that_was_whole(case: str) -> None:
    got = await asked(hello, get("/first") + CASES[case] + get("/after"))
    first, _, rest = got.partition(b"hello")
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.count(b"HTTP/1.1 ") == 1
    # The body of one may break when the head is answered: then the answer leaves before the break is seen, or not.
    assert b"connection: close\r\n" in rest


@pytest.mark.parametrize("case", ["length and coding", "absolute form", "coded by a list", "10,000 headers", "CONNECT"])
async def test_an_upgrade_that_is_ignored_hides_nothing_behind_it(case: str) -> None:
    first = get("/first", "Connection: Upgrade", "Upgrade: h2c")
    got = await asked(hello, first + first + CASES[case] + get("/after"))
    assert [line[:3] for line in got.split(b"HTTP/1.1 ")[1:3]] == [b"200", b"200"]
    assert got.count(b"HTTP/1.1 ") == 3
    assert b"connection: close\r\n" in got


async def test_the_status_says_what_is_wrong() -> None:
    for case, status in (
        ("length and coding", b"400 Bad Request"),
        ("100 KB of one header", b"431 Request Header Fields Too Large"),
        ("10,000 headers", b"431 Request Header Fields Too Large"),
        ("coded by a list", b"501 Not Implemented"),
        ("HTTP/2.0", b"505 HTTP Version Not Supported"),
    ):
        got = await asked(hello, CASES[case])
        assert got.startswith(b"HTTP/1.1 " + status + b"\r\n"), case


@pytest.mark.parametrize(("lines", "status"), [(99, b"200"), (100, b"431")])
async def test_so_many_headers_are_taken(lines: int, status: bytes) -> None:
    got = await asked(hello, get("/", *["X-A: b"] * lines))
    assert got.startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(("size", "status"), [(60_000, b"200"), (70_000, b"431")])
async def test_so_large_headers_are_taken(size: int, status: bytes) -> None:
    async with serving(hello) as it, it.client() as client:
        data = get("/", "X-A: " + "b" * size)
        await client.send(data[:100])
        await client.send(data[100:])
        assert (await client.read_until(b"\r\n")).startswith(b"HTTP/1.1 " + status)


async def test_empty_lines_before_a_request_are_ignored() -> None:
    assert (await asked(hello, b"\r\n\r\n" + get())).startswith(b"HTTP/1.1 200")


async def test_a_body_of_the_smallest_chunks_is_no_abuse() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, str(len(await body_of(receive))).encode())

    chunks = b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    assert (await asked(app, get("/", "Transfer-Encoding: chunked", method="POST") + chunks)).endswith(b"50000")


async def test_chunks_that_are_mostly_extensions_are_refused() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await body_of(receive)
        await answer(send, b"answered")

    chunks = (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 1000 + b"0\r\n\r\n"
    got = await asked(app, get("/", "Transfer-Encoding: chunked", method="POST") + chunks)
    assert got.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("trailers", [b"a:\r\n" * 4_000, b"a: " + b"b" * 16_000], ids=["many", "one that is long"])
async def test_trailers_have_a_bound_of_their_own_however_long_the_body_is(trailers: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()

    body = b"%x\r\n%b\r\n0\r\n" % (1 << 20, b"x" * (1 << 20))
    async with serving(app) as it, it.client() as client:
        await client.send(get("/", "Transfer-Encoding: chunked", method="POST") + body)
        (connection,) = it.server._connections
        sent = 0
        while sent < 2 << 20 and not connection._is_stopped:
            assert len(connection._headers) <= it.server.limits.head_lines
            await client.send(trailers)
            sent += len(trailers)
            await asyncio.sleep(0.002)
        assert sent < 1 << 20
        assert (await heard(client)).startswith(b"HTTP/1.1 400")
