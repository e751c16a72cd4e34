"""What the client reads of a response, in bytes."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from server.wire import answer, asked, channel_of, get, heard, hello, serving

OK = b"HTTP/1.1 200 OK\r\n"
FAILED = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 24\r\n"
    b"connection: close\r\n\r\nThe application failed.\n"
)
A_HEADER = (b"a", b"b")


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """Two pieces, and an end."""
    await send({"type": "http.response.start", "status": 200, "headers": [A_HEADER]})
    for piece in (b"one", b"", b"three"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def test_a_whole_body_gets_its_length() -> None:
    assert await asked(hello, get()) == OK + b"content-length: 5\r\n\r\nhello"


async def test_a_body_in_pieces_is_chunked() -> None:
    got = await asked(stream, get())
    assert got == OK + b"a: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"


async def test_a_body_in_pieces_ends_with_the_connection_on_http_1_0() -> None:
    got = await asked(stream, get(version="1.0"))
    assert got == OK + b"a: b\r\nconnection: close\r\n\r\nonethree"


async def test_a_body_in_pieces_may_have_a_length() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"8")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"three"})

    assert await asked(app, get()) == OK + b"content-length: 8\r\n\r\nonethree"


@pytest.mark.parametrize("app", [hello, stream])
async def test_an_answer_to_head_has_no_body(app: Any) -> None:
    got = await asked(app, get(method="HEAD") * 2)
    assert got.count(OK) == 2
    assert got.endswith(b"\r\n\r\n")
    assert b"hello" not in got
    assert b"one" not in got
    assert b"chunked" not in got


@pytest.mark.parametrize(("status", "line"), [(204, b"204 No Content"), (304, b"304 Not Modified")])
async def test_a_status_without_a_body_has_no_framing(status: int, line: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"", status=status)

    assert await asked(app, get()) == b"HTTP/1.1 " + line + b"\r\n\r\n"


async def test_the_date_is_said_unless_the_application_says_it() -> None:
    async with serving(hello) as it, it.client() as client:
        await client.send(get())
        assert re.search(rb"\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", await heard(client))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"", (b"date", b"now"))

    assert (await asked(app, get())).count(b"date:") == 1


async def test_an_application_may_close() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"bye", (b"connection", b"close"))

    assert await asked(app, get() * 2) == OK + b"content-length: 3\r\nconnection: close\r\n\r\nbye"


async def test_a_client_may_close() -> None:
    got = await asked(hello, get("/", "Connection: close") + get())
    assert got == OK + b"content-length: 5\r\nconnection: close\r\n\r\nhello"


@pytest.mark.parametrize(
    "header", [(b"a", b"b\r\nx: y"), (b"a", b"b\nx: y"), (b"a", b"b\rx"), (b"a\r\nb", b"c"), (b"a", b"b\0")]
)
async def test_a_header_cannot_become_two(header: tuple[bytes, bytes]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"body", header)

    logging.getLogger("trunkline.server").disabled = True
    try:
        assert await asked(app, get()) == FAILED
    finally:
        logging.getLogger("trunkline.server").disabled = False


async def test_an_application_that_raises_first_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("a secret")

    got = await asked(app, get() * 2)
    assert got == FAILED
    assert [record.message for record in caplog.records] == ["The application failed"]


async def test_an_application_that_says_nothing_is_a_500() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    assert await asked(app, get()) == FAILED


async def half(scope: Any, receive: Any, send: Any) -> None:
    """Leave an answer undone."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def test_a_chunked_answer_that_is_left_halfway_has_no_last_chunk() -> None:
    assert await asked(half, get()) == OK + b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"


async def test_an_answer_that_is_left_halfway_is_reset_where_its_end_would_look_clean() -> None:
    async with serving(half) as it, it.client() as client:
        await client.send(get(version="1.0"))
        with pytest.raises(ConnectionResetError):
            await client.reader.read(-1)


@pytest.mark.parametrize("length", [b"2", b"9"])
async def test_a_length_that_lies_ends_the_connection(length: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"hello", (b"content-length", length))

    got = await asked(app, get() * 2)
    assert got.count(b"HTTP/1.1") <= 1
    assert "content-length" in caplog.text


async def test_what_comes_after_the_end_is_refused() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in (
            {"type": "http.response.body", "body": b""},
            {"type": "http.response.trailers"},
        ):
            with pytest.raises(RuntimeError) as raised:
                await send(message)
            told.append(str(raised.value))
        await answer(send, b"hello")
        with pytest.raises(RuntimeError) as raised:
            await send({"type": "http.response.body", "body": b"more"})
        told.append(str(raised.value))

    assert (await asked(app, get())).endswith(b"hello")
    assert told == [
        "The response has not begun.",
        "This server does not know http.response.trailers.",
        "The response has ended.",
    ]


async def test_the_channel_writes_the_same_bytes_as_send() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        channel.start(200, [A_HEADER])
        for piece in (b"one", b"", b"three"):
            channel.write(piece)
        channel.end()

    for data in (get(), get(version="1.0"), get(method="HEAD")):
        assert await asked(app, data) == await asked(stream, data)


async def test_an_empty_piece_sends_the_head_alone() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        channel.start(200, ())
        channel.write(b"")
        await receive()
        await receive()

    async with serving(app) as it, it.client() as client:
        await client.send(get())
        assert (await client.read_until(b"\r\n\r\n")).endswith(b"transfer-encoding: chunked\r\n\r\n")


async def test_a_large_piece_is_whole() -> None:
    large = bytes(range(256)) * 4096

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": large, "more_body": True})
        await send({"type": "http.response.body", "body": large})

    got = await asked(app, get())
    assert got.partition(b"\r\n\r\n")[2] == b"100000\r\n" + large + b"\r\n100000\r\n" + large + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("begins", [True, False])
async def test_what_an_application_leaves_behind_writes_nothing_after_it(*, begins: bool) -> None:
    heard_of: list[Any] = []
    left_behind: list[asyncio.Task[None]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def write_late() -> None:
            await asyncio.sleep(0.05)
            if not begins:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"late"})
            heard_of.append(await receive())

        left_behind.append(asyncio.create_task(write_late()))
        if begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"early", "more_body": True})

    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    async with serving(app) as it, it.client() as client:
        await client.send(get())
        got = await client.read_all()
        await asyncio.wait(left_behind, timeout=5)
    assert got.startswith(b"HTTP/1.1 200" if begins else b"HTTP/1.1 500")
    assert b"late" not in got
    assert faults == []
    assert heard_of == [{"type": "http.disconnect"}]
