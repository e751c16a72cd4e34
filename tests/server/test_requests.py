"""What the application sees of a request, from its bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.wire import answer, asked, body_of, echo, get, heard, hello, post, serving

OK = b"HTTP/1.1 200 OK\r\n"


async def scope_of(data: bytes) -> dict[str, Any]:
    """The scope in which these bytes arrive."""
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await answer(send, b"")

    await asked(app, data)
    (scope,) = scopes
    return scope


async def test_the_scope_is_what_asgi_says() -> None:
    scope = await scope_of(b"GET /a%20b/%C3%A9?x=1&y=%20 HTTP/1.1\r\nHost: localhost\r\nX-Two:  spaced \t\r\n\r\n")
    assert scope.pop("client")[0] == "127.0.0.1"
    assert scope.pop("server")[0] == "127.0.0.1"
    assert list(scope.pop("extensions")) == ["trunkline.channel"]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b/é",
        "raw_path": b"/a%20b/%C3%A9",
        "query_string": b"x=1&y=%20",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"x-two", b"spaced")],
        "state": {},
    }


async def test_a_head_may_come_in_any_pieces() -> None:
    data = post(b"hello", "X-A: b", target="/path?query")
    async with serving(echo) as it, it.client() as client:
        for at in range(len(data)):
            await client.send(data[at : at + 1])
            await asyncio.sleep(0)
        assert (await heard(client)).endswith(b"\r\n\r\nhello")


async def test_headers_keep_their_order_and_repeat() -> None:
    scope = await scope_of(get("/", "B: 1", "A: 2", "B: 3"))
    assert scope["headers"] == [(b"host", b"localhost"), (b"b", b"1"), (b"a", b"2"), (b"b", b"3")]


async def test_a_body_with_a_length_is_read() -> None:
    assert (await asked(echo, post(b"hello"))).endswith(b"content-length: 5\r\n\r\nhello")


async def test_a_chunked_body_is_read_and_its_extensions_and_trailers_are_not() -> None:
    chunks = b'3;a="b"\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n'
    data = get("/", "Transfer-Encoding: Chunked", method="POST") + chunks
    got = await asked(echo, data + get("/second"))
    assert got.count(OK) == 2
    assert b"\r\n\r\nhelloHTTP/1.1" in got


async def test_the_body_is_given_as_it_comes() -> None:
    pieces: list[bytes] = []
    got_one = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            pieces.append(message["body"])
            more = message["more_body"]
            got_one.set()
        await answer(send, b"")

    async with serving(app) as it, it.client() as client:
        await client.send(post(b"one", length=6))
        await got_one.wait()
        await client.send(b"two")
        await heard(client)
    assert pieces == [b"one", b"two"]


async def test_an_empty_body_is_one_message() -> None:
    messages: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        messages.append(await receive())
        await answer(send, b"")
        messages.append(await receive())

    await asked(app, get())
    assert messages == [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]


async def test_continue_is_said_when_the_application_asks_for_the_body() -> None:
    asks = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asks.wait()
        await answer(send, await body_of(receive))

    async with serving(app) as it, it.client() as client:
        await client.send(post(b"", "Expect: 100-Continue", length=5))
        assert await heard(client, 0.1) == b""
        asks.set()
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        assert (await heard(client)).endswith(b"\r\n\r\nhello")


async def test_continue_is_not_said_when_the_answer_needs_no_body() -> None:
    got = await asked(hello, post(b"", "Expect: 100-continue", length=5))
    assert got == OK + b"content-length: 5\r\nconnection: close\r\n\r\nhello"


async def test_continue_is_not_said_when_the_body_is_there() -> None:
    assert b"100 Continue" not in await asked(echo, post(b"hello", "Expect: 100-continue"))


async def test_http_1_0_is_answered_and_closed() -> None:
    got = await asked(hello, get("/", "Connection: keep-alive", version="1.0"))
    assert got == OK + b"content-length: 5\r\nconnection: close\r\n\r\nhello"


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
async def test_an_upgrade_is_ignored(upgrade: str) -> None:
    data = get("/", "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAAQAAP__")
    got = await asked(hello, data + get("/") + data)
    assert got == (OK + b"content-length: 5\r\n\r\nhello") * 3


async def test_an_upgrade_of_http_1_0_is_ignored_too() -> None:
    got = await asked(hello, get("/", "Connection: Upgrade", "Upgrade: h2c", version="1.0"))
    assert got == OK + b"content-length: 5\r\nconnection: close\r\n\r\nhello"


async def test_a_body_may_come_with_an_upgrade() -> None:
    """As Java's own client sends it, whatever it asks for."""
    got = await asked(echo, post(b"hello", "Connection: Upgrade", "Upgrade: h2c") + post(b"again"))
    assert got == OK + b"content-length: 5\r\n\r\nhello" + OK + b"content-length: 5\r\n\r\nagain"


async def test_a_whole_body_is_taken_without_waiting() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = scope["extensions"]["trunkline.channel"]
        taken = channel.take_body()
        assert channel.take_body() is None
        await answer(send, repr(taken).encode())

    assert (await asked(app, post(b"hello"))).endswith(b"b'hello'")
    assert (await asked(app, post(b"hel", length=5))).endswith(b"None")
