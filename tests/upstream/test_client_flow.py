"""A slow reader slows the upstream, a slow upstream slows the writer: memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from trunkline.core.catalog import Origin
from trunkline.core.problem import Kind
from trunkline.upstream.client import Client
from trunkline.upstream.connection import HIGH_WATER_BYTES, INBOX_BYTES, TAKEN_BYTES, WRITE_BYTES
from upstream.literal_server import (
    OK,
    LiteralServer,
    Peer,
    asking,
    opened,
    problem_of,
    read_to_end,
    send,
    soon,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trunkline.upstream.connection import Connection

BOUND = HIGH_WATER_BYTES + INBOX_BYTES
SIZE = 2_000_000
MORE_THAN_SOCKETS_HOLD = 16_000_000


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with opened(Client()) as client:
        yield client


def connection_of(client: Client) -> Connection:
    (connection,) = client._connections
    return connection


def unlike(size: int) -> bytes:
    """Bytes of which none can go missing or change places unseen."""
    return hashlib.shake_128(b"").digest(size)


async def test_what_a_slow_reader_leaves_is_bounded(client: Client) -> None:
    body = unlike(SIZE)
    pieces = [body[at : at + 50_000] for at in range(0, SIZE, 50_000)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await peer.send(b"0\r\n\r\n")
        await peer.until_gone()

    async with LiteralServer(script) as server:
        stream = await send(client, server.origin)
        connection = connection_of(client)
        await until(lambda: connection.unread_bytes > HIGH_WATER_BYTES)
        received: list[bytes] = []
        largest = 0
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
                largest = max(largest, connection.unread_bytes)
            if not (data := await stream.read(soon())):
                break
            received.append(data)
        assert b"".join(received) == body
        assert HIGH_WATER_BYTES < largest <= BOUND
        assert max(map(len, received)) <= TAKEN_BYTES
        stream.close()
        assert client.idle_connections == 1


async def test_a_connection_given_back_while_it_was_paused_reads_again(client: Client) -> None:
    size = HIGH_WATER_BYTES + 1000
    large = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
    async with LiteralServer(answers=(large, OK)) as server:
        stream = await send(client, server.origin)
        await until(lambda: connection_of(client).is_complete)
        stream.close()
        assert client.idle_connections == 1
        assert await read_to_end(await send(client, server.origin)) == b"hi"
        assert server.accepted == 1


async def test_a_loss_behind_a_pause_is_seen_when_the_reader_gets_there(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 400001\r\n\r\n" + b"x" * 400_000)

    async with LiteralServer(script) as server:
        stream = await send(client, server.origin)
        connection = connection_of(client)
        await until(lambda: connection.unread_bytes > HIGH_WATER_BYTES)
        size = 0
        while size < 400_000:
            size += len(await stream.read(soon()))
        assert (await problem_of(stream.read(soon()))).kind is Kind.TRUNCATED
        stream.close()


async def test_a_large_body_is_written_as_fast_as_it_is_taken(client: Client) -> None:
    may_read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await may_read.wait()
        while len(received) < len(body):
            received.extend(await peer.reader.read(1 << 20))
        await peer.send(OK)
        await peer.until_gone()

    received = bytearray()
    body = unlike(MORE_THAN_SOCKETS_HOLD)
    async with LiteralServer(script) as server:
        sending = asyncio.create_task(send(client, asking(server.origin, body=body)))
        await until(lambda: client._connections and connection_of(client)._writing_paused)
        transport = connection_of(client)._transport
        assert transport is not None
        largest = 0
        for _ in range(50):
            await asyncio.sleep(0.001)
            largest = max(largest, transport.get_write_buffer_size())
        assert 0 < largest <= 4 * WRITE_BYTES
        may_read.set()
        assert await read_to_end(await sending) == b"hi"
        assert received == body
        assert client.idle_connections == 1


async def test_an_early_answer_stops_the_writing_and_the_connection(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await asyncio.sleep(0.05)
        await peer.until_gone()

    async with LiteralServer(script) as server:
        stream = await send(client, asking(server.origin, body=b"x" * MORE_THAN_SOCKETS_HOLD))
        assert stream.status == 413
        assert await read_to_end(stream) == b"big"
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)


async def test_the_deadline_passes_while_a_body_is_written(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await may_read.wait()
        await peer.until_gone()

    may_read = asyncio.Event()
    async with LiteralServer(script) as server:
        with pytest.raises(TimeoutError):
            await send(client, asking(server.origin, body=b"x" * MORE_THAN_SOCKETS_HOLD), deadline=soon(0.1))
        assert client.open_connections == 0
        may_read.set()
        await until(lambda: server.peers[0].has_left)


async def test_what_is_cancelled_in_the_middle_of_its_body_is_not_kept_whatever_comes_in_that_moment(
    client: Client,
) -> None:
    def script() -> None:
        peer, _ = listening.accept()
        with peer:
            assert is_full.wait(5)
            peer.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
            peer.settimeout(0.2)
            with contextlib.suppress(TimeoutError, ConnectionError):
                while peer.recv(1 << 20):
                    pass

    is_full = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(asyncio.to_thread(script))
        origin = Origin("http", "127.0.0.1", listening.getsockname()[1])
        sending = asyncio.create_task(send(client, asking(origin, body=b"x" * MORE_THAN_SOCKETS_HOLD)))
        await until(lambda: client._connections and connection_of(client)._writing_paused)
        asyncio.get_running_loop().call_later(0.01, sending.cancel)
        is_full.set()
        time.sleep(0.1)  # noqa: ASYNC251 - the answer, the room and the cancellation are to be found in one turn
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert client.open_connections == 0
        await serving
