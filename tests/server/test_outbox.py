"""What is written in one turn leaves together at its end, and nothing is lost or out of order for it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from server.wire import channel_of, get, heard, post, serving
from trunkline.outbox import AT_ONCE, HELD_BYTES, LONELY_TURNS, TOGETHER, HeldTransport, Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Peer:
    """The other end of a transport that holds."""

    def __init__(self, transport: HeldTransport, theirs: socket.socket) -> None:
        self.transport = transport
        self._theirs = theirs

    def got(self) -> bytes | None:
        """What has come, without a turn of the loop in between; None where nothing has."""
        try:
            return self._theirs.recv(1 << 20)
        except BlockingIOError:
            return None

    def leave(self) -> None:
        """Close it."""
        self._theirs.close()


@asynccontextmanager
async def peer(outbox: Outbox) -> AsyncGenerator[Peer]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, sock=ours)
    try:
        yield Peer(HeldTransport(transport, outbox), theirs)
    finally:
        transport.abort()
        theirs.close()
        await turns()


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_is_written_in_a_turn_leaves_at_its_end() -> None:
    outbox = Outbox()
    async with peer(outbox) as one, peer(outbox) as other:
        one.transport.write(b"a")
        other.transport.write(b"b")
        one.transport.write(b"c")
        assert (one.got(), other.got()) == (None, None)
        await turns()
        assert (one.got(), other.got()) == (b"ac", b"b")
        one.transport.write(b"d")
        await turns()
        assert one.got() == b"d"


async def test_where_each_turn_has_but_one_nothing_waits_for_its_end_until_one_has_more() -> None:
    outbox = Outbox()
    async with peer(outbox) as one, peer(outbox) as other:
        for _ in range(LONELY_TURNS):
            one.transport.write(b"a")
            assert one.got() is None
            await turns()
            assert one.got() == b"a"
        for _ in range(AT_ONCE):
            one.transport.write(b"b")
            assert one.got() == b"b"
        one.transport.write(b"c")
        other.transport.write(b"d")
        assert (one.got(), other.got()) == (None, None)
        await turns()
        assert (one.got(), other.got()) == (b"c", b"d")
        one.transport.write(b"e")
        assert one.got() is None


async def test_it_may_be_made_before_the_loop_runs() -> None:
    outbox = await asyncio.to_thread(Outbox)
    async with peer(outbox) as one:
        one.transport.write(b"a")
        await turns()
        assert one.got() == b"a"


async def test_what_is_too_large_to_be_held_leaves_at_once_after_what_is_held() -> None:
    async with peer(Outbox()) as one:
        one.transport.write(b"before ")
        one.transport.write(memoryview(b"x" * HELD_BYTES))
        assert one.got() == b"before " + b"x" * HELD_BYTES
        one.transport.write(b"y" * (HELD_BYTES + 1))
        assert one.got() == b"y" * (HELD_BYTES + 1)
        one.transport.write(b"after")
        await turns()
        assert one.got() == b"after"


async def test_the_first_of_many_do_not_wait_for_the_last() -> None:
    outbox = Outbox()
    async with peer(outbox) as one, peer(outbox) as other:
        one.transport.write(b"first")
        for _ in range(TOGETHER - 1):
            assert one.got() is None
            other.transport.write(b"b")
            other.transport.flush()
        assert one.got() == b"first"


async def test_a_close_comes_after_what_was_written() -> None:
    async with peer(Outbox()) as one:
        one.transport.write(b"last words")
        one.transport.close()
        assert one.transport.is_closing()
        one.transport.write(b"too late")
        one.transport.write(b"y" * (HELD_BYTES + 1))
        await turns()
        assert one.got() == b"last words"
        assert one.got() == b""


async def test_so_does_the_end_of_this_side() -> None:
    async with peer(Outbox()) as one:
        one.transport.write(b"last words")
        one.transport.write_eof()
        await turns()
        assert one.got() == b"last words"
        assert one.got() == b""


async def test_an_abort_drops_it() -> None:
    async with peer(Outbox()) as one:
        one.transport.write(b"never mind")
        one.transport.abort()
        await turns()
        assert one.got() == b""


async def test_what_the_socket_has_not_taken_is_not_what_is_held() -> None:
    async with peer(Outbox()) as one:
        one.transport.write(b"a")
        assert one.transport.get_write_buffer_size() == 0
        assert one.got() == b"a"


async def test_one_whose_peer_has_left_does_not_keep_the_others_back() -> None:
    outbox = Outbox()
    async with peer(outbox) as one, peer(outbox) as other:
        one.leave()
        one.transport.write(b"a")
        other.transport.write(b"b")
        await turns()
        assert other.got() == b"b"


async def test_a_client_that_ends_its_side_gets_what_was_written_before() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        channel.start(200, [(b"content-length", b"2")])
        channel.end(b"ok")
        (connection,) = it.server._connections
        connection.eof_received()
        connection.transport.close()

    async with serving(app) as it, it.client() as client:
        await client.send(get())
        assert (await client.read_all()).endswith(b"\r\n\r\nok")


async def test_a_response_that_breaks_off_comes_as_far_as_it_was_written() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel_of(scope).start(200, [(b"content-length", b"10")])
        channel_of(scope).write(b"half")

    async with serving(app) as it, it.client() as client:
        await client.send(get())
        assert (await client.read_all()).endswith(b"half")


async def test_pieces_of_a_turn_and_those_too_large_for_it_come_in_order() -> None:
    pieces = [b"a" * 100, b"b" * 100_000, b"c", b"d" * HELD_BYTES, b"e" * 20, b"f" * 70_000]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel = channel_of(scope)
        channel.start(200, [(b"content-length", b"%d" % sum(map(len, pieces)))])
        for piece in pieces[:-1]:
            channel.write(piece)
        channel.end(pieces[-1])

    async with serving(app) as it, it.client() as client:
        await client.send(get())
        assert (await heard(client)).endswith(b"\r\n\r\n" + b"".join(pieces))


async def test_a_server_that_ends_its_requests_writes_out_what_they_had_written() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        channel_of(scope).start(200, [(b"content-length", b"10")])
        channel_of(scope).write(b"half")
        begun.set()
        await asyncio.Event().wait()

    begun = asyncio.Event()
    async with serving(app) as it, it.client() as client:
        await client.send(get())
        await begun.wait()
        (connection,) = it.server._connections
        closing = asyncio.create_task(it.server.close(0))
        await asyncio.sleep(0)
        connection._answered.write(b"more")  # type: ignore[union-attr]
        await closing
        assert (await client.read_all()).endswith(b"halfmore")


async def test_a_body_is_asked_for_before_the_response() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        channel_of(scope).start(200, [(b"content-length", b"2")])
        channel_of(scope).end(message["body"])

    async with serving(app) as it, it.client() as client:
        head, body = post(b"hi", "Expect: 100-continue").split(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n")
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(body)
        assert (await heard(client)).endswith(b"\r\n\r\nhi")
