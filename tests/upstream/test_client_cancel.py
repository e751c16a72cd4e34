"""Whatever a task waits for, its cancellation and its deadline leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from trunkline.core.catalog import Origin, Timeouts
from trunkline.core.problem import Kind
from trunkline.upstream.client import Client
from trunkline.upstream.limits import ClientLimits
from upstream.literal_server import (
    OK,
    LiteralServer,
    Peer,
    asking,
    fetch,
    open_sockets,
    opened,
    problem_of,
    send,
    soon,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Sequence

    from trunkline.upstream.client import WireStream

HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with opened(Client()) as client:
        yield client


async def cancel(task: asyncio.Task[object] | asyncio.Task[WireStream] | asyncio.Task[bytes]) -> None:
    """Cancel a task, which must end so."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def never(_: str, __: int) -> Sequence[str]:
    """A resolver that gives no answer."""
    await asyncio.Event().wait()
    return ()


@contextlib.contextmanager
def black_hole() -> Generator[Origin]:
    """An address that takes no more connections and says nothing: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield Origin("http", *address)


@contextlib.contextmanager
def silent() -> Generator[Origin]:
    """An address that connects and then says nothing: a TLS handshake that never comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Origin("https", *listener.getsockname())


async def test_cancelled_while_the_name_is_looked_up() -> None:
    async with opened(Client(resolve=never)) as client:
        sending = asyncio.create_task(send(client, Origin("http", "slow.test", 80)))
        await settle()
        assert client.open_connections == 1
        await cancel(sending)
        assert client.open_connections == 0


async def test_cancelled_while_connecting(client: Client) -> None:
    with black_hole() as origin:
        before = open_sockets()
        sending = asyncio.create_task(send(client, origin))
        await until(lambda: open_sockets() == before + 1)
        assert client.open_connections == 1
        await cancel(sending)
        assert client.open_connections == 0
        await until(lambda: open_sockets() == before)


async def test_cancelled_in_the_handshake(client: Client) -> None:
    with silent() as origin:
        before = open_sockets()
        sending = asyncio.create_task(send(client, origin))
        await until(lambda: open_sockets() == before + 1)
        await asyncio.sleep(0.01)
        await cancel(sending)
        assert client.open_connections == 0
        await until(lambda: open_sockets() == before)


async def test_cancelled_while_the_head_is_awaited(client: Client) -> None:
    async with LiteralServer(Peer.until_gone) as server:
        sending = asyncio.create_task(send(client, server.origin))
        await until(lambda: server.accepted)
        await settle()
        await cancel(sending)
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)


async def test_cancelled_while_the_head_is_awaited_on_a_kept_connection(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.until_gone()

    async with LiteralServer(script) as server:
        await fetch(client, server.origin)
        sending = asyncio.create_task(send(client, server.origin))
        await settle()
        assert (client.open_connections, client.idle_connections) == (1, 0)
        await cancel(sending)
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)
        assert server.accepted == 1


async def test_cancelled_while_the_body_is_awaited(client: Client) -> None:
    async with LiteralServer(answers=(HALF,)) as server:
        stream = await send(client, server.origin)
        assert await stream.read(soon()) == b"hi"
        reading = asyncio.create_task(stream.read(soon()))
        await settle()
        await cancel(reading)
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)


async def test_cancelled_while_the_request_is_written(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        may_read.clear()
        await may_read.wait()
        await peer.until_gone()

    may_read = asyncio.Event()
    async with LiteralServer(script) as server:
        sending = asyncio.create_task(send(client, asking(server.origin, body=b"x" * 32_000_000)))
        await until(lambda: server.accepted)
        await asyncio.sleep(0.02)
        await cancel(sending)
        assert client.open_connections == 0
        may_read.set()
        await until(lambda: server.peers[0].has_left)


async def test_cancelled_in_the_queue_it_is_skipped() -> None:
    async with opened(Client(limits=ClientLimits(connections_per_origin=1))) as client, LiteralServer() as server:
        holder = await send(client, server.origin)
        waiting = [asyncio.create_task(fetch(client, server.origin)) for _ in range(3)]
        await settle()
        await cancel(waiting[0])
        await cancel(waiting[2])
        assert client.open_connections == 1
        holder.close()
        assert await waiting[1] == b"hi"
        assert server.accepted == 1
        assert client.idle_connections == 1


@pytest.mark.parametrize("answer", [OK, HALF], ids=["kept connection", "bare slot"])
async def test_cancelled_in_the_very_turn_of_its_grant_it_passes_the_slot_on(answer: bytes) -> None:
    async with (
        opened(Client(limits=ClientLimits(connections_per_origin=1))) as client,
        LiteralServer(answers=(answer, OK)) as server,
    ):
        holder = await send(client, server.origin)
        first = asyncio.create_task(fetch(client, server.origin))
        second = asyncio.create_task(fetch(client, server.origin))
        await settle()
        holder.close()
        await cancel(first)
        assert await second == b"hi"
        assert (client.open_connections, client.idle_connections) == (1, 1)


async def test_cancelled_in_the_very_turn_of_a_grant_that_is_lost_it_passes_the_slot_on() -> None:
    async with (
        opened(Client(limits=ClientLimits(connections_per_origin=1))) as client,
        LiteralServer() as server,
    ):
        holder = await send(client, server.origin)
        first = asyncio.create_task(fetch(client, server.origin))
        second = asyncio.create_task(fetch(client, server.origin))
        await settle()
        (connection,) = client._connections
        holder.close()
        connection.eof_received()
        await cancel(first)
        assert await second == b"hi"
        assert (client.open_connections, client.idle_connections) == (1, 1)


async def test_cancelled_in_the_very_turn_of_its_grant_with_nobody_behind_it() -> None:
    async with (
        opened(Client(limits=ClientLimits(connections_per_origin=1))) as client,
        LiteralServer(answers=(HALF,)) as server,
    ):
        holder = await send(client, server.origin)
        only = asyncio.create_task(fetch(client, server.origin))
        await settle()
        holder.close()
        await cancel(only)
        assert client.open_connections == 0


async def test_many_cancelled_at_any_moment_leave_nothing() -> None:
    limits = ClientLimits(connections_per_origin=4)
    async with opened(Client(limits=limits)) as client, LiteralServer() as server:
        for turns in range(30):
            tasks = [asyncio.create_task(fetch(client, server.origin)) for _ in range(8)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert [result for result in done[1::2] if result != b"hi"] == []
            assert client.open_connections == client.idle_connections <= 4


async def test_the_deadline_passes_before_the_head(client: Client) -> None:
    async with LiteralServer(Peer.until_gone) as server:
        with pytest.raises(TimeoutError):
            await send(client, server.origin, deadline=soon(0.02))
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)


async def test_a_deadline_in_the_past_sends_nothing(client: Client) -> None:
    async with LiteralServer() as server:
        with pytest.raises(TimeoutError):
            await send(client, server.origin, deadline=soon(-1))
        assert server.accepted == 0


async def test_a_stream_can_be_read_after_a_deadline_has_passed(client: Client) -> None:
    async with LiteralServer(answers=(HALF,)) as server:
        stream = await send(client, server.origin)
        assert await stream.read(soon()) == b"hi"
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await stream.read(soon(0.01))
        with pytest.raises(TimeoutError):
            await stream.read(soon(-1))
        await server.peers[0].send(b"!")
        assert await stream.read(soon()) == b"!"
        assert await stream.read(soon()) == b""
        stream.close()
        assert client.idle_connections == 1


async def test_a_later_deadline_than_the_last_one_is_waited_for(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HALF)
        await asyncio.sleep(0.4)
        await peer.send(b"!")
        await peer.until_gone()

    async with LiteralServer(script) as server:
        stream = await send(client, server.origin, deadline=soon(0.3))
        assert await stream.read(soon()) == b"hi"
        assert await stream.read(soon()) == b"!"
        stream.close()


async def test_connecting_has_a_timer_of_its_own(client: Client) -> None:
    with black_hole() as origin:
        before = open_sockets()
        problem = await problem_of(send(client, origin, timeouts=Timeouts(connect_s=0.05)))
        assert problem.kind is Kind.TIMED_OUT
        assert problem.message == f"Could not connect to {origin.authority} within 0.05 s."
        await until(lambda: open_sockets() == before)


async def test_the_handshake_and_the_look_up_are_part_of_connecting(client: Client) -> None:
    with silent() as origin:
        assert (await problem_of(send(client, origin, timeouts=Timeouts(connect_s=0.05)))).kind is Kind.TIMED_OUT
    async with opened(Client(resolve=never)) as lost:
        problem = await problem_of(send(lost, Origin("http", "slow.test", 80), timeouts=Timeouts(connect_s=0.05)))
        assert problem.message == "Could not connect to slow.test within 0.05 s."


async def test_a_deadline_before_the_timer_of_connecting_is_the_callers(client: Client) -> None:
    with black_hole() as origin:
        with pytest.raises(TimeoutError):
            await send(client, origin, deadline=soon(0.02))
        assert client.open_connections == 0
