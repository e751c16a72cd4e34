"""Connections are kept, shared, bounded, and let go."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from trunkline.core.catalog import Origin, Timeouts
from trunkline.core.problem import Kind, Retry, Source
from trunkline.upstream.client import Client
from trunkline.upstream.limits import ClientLimits
from upstream.literal_server import (
    OK,
    LiteralServer,
    Peer,
    asking,
    fetch,
    opened,
    problem_of,
    read_to_end,
    send,
    soon,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


ONE = ClientLimits(connections_per_origin=1)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with opened(Client()) as client:
        yield client


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_connection_serves_one_request_after_the_other(client: Client) -> None:
    async with LiteralServer() as server:
        for _ in range(5):
            assert await fetch(client, server.origin) == b"hi"
            assert (client.open_connections, client.idle_connections) == (1, 1)
        assert server.accepted == 1


async def test_a_connection_whose_message_has_ended_is_kept_even_if_nobody_read_it(client: Client) -> None:
    async with LiteralServer() as server:
        for _ in range(2):
            (await send(client, server.origin)).close()
        assert server.accepted == 1


async def test_a_stream_closed_midway_closes_its_connection_at_once(client: Client) -> None:
    async with LiteralServer(answers=(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",)) as server:
        stream = await send(client, server.origin)
        assert await stream.read(soon()) == b"hi"
        stream.close()
        assert client.open_connections == 0
        stream.close()
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)


async def test_a_closed_stream_cannot_be_read(client: Client) -> None:
    async with LiteralServer() as server:
        stream = await send(client, server.origin)
        stream.close()
        with pytest.raises(RuntimeError):
            await stream.read(soon())


async def test_a_stream_closed_under_its_reader_stops_the_reader(client: Client) -> None:
    async with LiteralServer(answers=(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",)) as server:
        stream = await send(client, server.origin)
        reading = asyncio.create_task(stream.read(soon()))
        await settle()
        stream.close()
        with pytest.raises(RuntimeError):
            await reading


async def test_two_tasks_cannot_read_one_stream(client: Client) -> None:
    async with LiteralServer(answers=(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",)) as server:
        stream = await send(client, server.origin)
        reading = asyncio.create_task(stream.read(soon()))
        await settle()
        with pytest.raises(RuntimeError):
            await stream.read(soon())
        reading.cancel()
        await asyncio.wait([reading])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
        OK + b"more",
        OK + OK,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
async def test_what_cannot_be_kept_is_closed(client: Client, answer: bytes) -> None:
    async with LiteralServer(answers=(answer,)) as server:
        for _ in range(2):
            assert await fetch(client, server.origin) == b"hi"
            assert client.open_connections == 0
        assert server.accepted == 2
        await until(lambda: all(peer.has_left for peer in server.peers))


async def test_bytes_that_come_while_a_connection_is_idle_close_it(client: Client) -> None:
    async with LiteralServer() as server:
        await fetch(client, server.origin)
        await server.peers[0].send(OK)
        await until(lambda: client.open_connections == 0)
        assert await fetch(client, server.origin) == b"hi"
        assert server.accepted == 2


async def test_bytes_after_the_end_of_a_message_are_not_the_next_answer(client: Client) -> None:
    async with LiteralServer() as server:
        stream = await send(client, server.origin)
        assert await stream.read(soon()) == b"hi"
        await server.peers[0].send(OK)
        await until(lambda: server.peers[0].has_left)
        assert await stream.read(soon()) == b""
        stream.close()
        assert client.open_connections == 0


async def test_an_idle_connection_that_the_upstream_closes_is_forgotten(client: Client) -> None:
    async with LiteralServer() as server:
        await fetch(client, server.origin)
        server.peers[0].writer.close()
        await until(lambda: client.idle_connections == 0)
        assert client.open_connections == 0


async def test_the_connection_used_last_is_used_first(client: Client) -> None:
    async with LiteralServer() as server:
        first, second, third = [await send(client, server.origin) for _ in range(3)]
        assert client.open_connections == 3
        second.close()
        third.close()
        first.close()
        for _ in range(2):
            await fetch(client, server.origin)
        assert server.asked_on == [0, 1, 2, 0, 0]


async def test_no_more_than_the_limit_are_kept_of_all_origins_together() -> None:
    async with (
        opened(Client(limits=ClientLimits(idle=2))) as client,
        LiteralServer() as one,
        LiteralServer() as other,
    ):
        for stream in [await send(client, server.origin) for server in (one, other, one, other)]:
            stream.close()
        assert (client.open_connections, client.idle_connections) == (2, 2)
        await until(lambda: sum(peer.has_left for peer in (*one.peers, *other.peers)) == 2)
        await fetch(client, other.origin)
        assert other.asked_on == [0, 1, 1]
        assert (client.open_connections, client.idle_connections) == (2, 2)


async def test_what_a_quiet_origin_keeps_makes_room_for_a_busy_one() -> None:
    async with (
        opened(Client(limits=ClientLimits(idle=2))) as client,
        LiteralServer() as quiet,
        LiteralServer() as busy,
    ):
        for stream in [await send(client, quiet.origin) for _ in range(2)]:
            stream.close()
        for _ in range(5):
            await fetch(client, busy.origin)
        assert busy.accepted == 1
        assert (client.open_connections, client.idle_connections) == (2, 2)
        await until(lambda: [peer.has_left for peer in quiet.peers] == [True, False])


async def test_none_are_kept_where_none_may_be() -> None:
    async with opened(Client(limits=ClientLimits(idle=0))) as client, LiteralServer() as server:
        for _ in range(2):
            await fetch(client, server.origin)
        assert (server.accepted, client.open_connections, client.idle_connections) == (2, 0, 0)


async def test_no_more_than_the_limit_are_kept() -> None:
    limits = ClientLimits(idle=2)
    async with opened(Client(limits=limits)) as client, LiteralServer() as server:
        for stream in [await send(client, server.origin) for _ in range(4)]:
            stream.close()
        assert (client.open_connections, client.idle_connections) == (2, 2)
        await until(lambda: sum(peer.has_left for peer in server.peers) == 2)


async def test_idle_connections_are_closed_by_age() -> None:
    limits = ClientLimits(idle_s=0.05)
    async with opened(Client(limits=limits)) as client, LiteralServer() as server:
        early, late = [await send(client, server.origin) for _ in range(2)]
        early.close()
        await asyncio.sleep(0.03)
        late.close()
        await until(lambda: client.open_connections == 0)
        await until(lambda: all(peer.has_left for peer in server.peers))


async def test_a_connection_is_kept_for_its_own_origin_only(client: Client) -> None:
    async with LiteralServer() as one, LiteralServer() as other:
        for _ in range(2):
            await fetch(client, one.origin)
            await fetch(client, other.origin)
        assert (one.accepted, other.accepted) == (1, 1)
        assert client.idle_connections == 2


async def test_a_kept_private_connection_never_serves_a_request_that_may_not_use_one(client: Client) -> None:
    async with LiteralServer() as server:
        await fetch(client, server.origin)
        problem = await problem_of(fetch(client, asking(server.origin, allow_private=False)))
        assert problem.kind is Kind.UNREACHABLE
        assert len(server.requests) == 1


async def goes_stale(peer: Peer) -> None:
    """Answers once, then takes one more request and closes without a byte."""
    await peer.request()
    await peer.send(OK)
    await peer.request()


async def test_a_kept_connection_that_went_stale_is_replaced_once(client: Client) -> None:
    async with LiteralServer(goes_stale) as server:
        for accepted in (1, 2, 3):
            assert await fetch(client, server.origin) == b"hi"
            assert server.accepted == accepted
        assert client.open_connections == 1


async def test_a_kept_connection_that_is_reset_is_replaced_once(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await goes_stale(peer)
        peer.reset()

    async with LiteralServer(script) as server:
        for _ in range(2):
            assert await fetch(client, server.origin) == b"hi"
        assert server.accepted == 2


async def test_the_replacement_of_a_stale_connection_is_not_replaced_again(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer is server.peers[0]:
            await peer.send(OK)
            await peer.request()

    async with LiteralServer(script) as server:
        await fetch(client, server.origin)
        assert (await problem_of(fetch(client, server.origin))).kind is Kind.UNREACHABLE
        assert server.accepted == 2
    assert client.open_connections == 0


async def test_a_kept_connection_lost_after_a_byte_of_answer_is_not_replaced(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await goes_stale(peer)
        await peer.send(b"H")

    async with LiteralServer(script) as server:
        await fetch(client, server.origin)
        assert (await problem_of(fetch(client, server.origin))).kind is Kind.UNREACHABLE
        assert server.accepted == 1


async def test_a_kept_connection_lost_long_after_the_request_is_not_replaced() -> None:
    async def script(peer: Peer) -> None:
        await goes_stale(peer)
        await asyncio.sleep(0.05)

    async with opened(Client(limits=ClientLimits(stale_s=0.01))) as client, LiteralServer(script) as server:
        await fetch(client, server.origin)
        assert (await problem_of(fetch(client, server.origin))).kind is Kind.UNREACHABLE
        assert server.accepted == 1


async def test_those_who_wait_are_served_in_their_order() -> None:
    async with opened(Client(limits=ONE)) as client, LiteralServer() as server:
        holder = await send(client, server.origin)
        served: list[int] = []

        async def ask(name: int) -> None:
            assert await fetch(client, server.origin) == b"hi"
            served.append(name)

        waiting: list[asyncio.Task[None]] = []
        for name in range(5):
            waiting.append(asyncio.create_task(ask(name)))
            await settle()
        assert client.open_connections == 1
        holder.close()
        late = asyncio.create_task(ask(5))
        await asyncio.gather(*waiting, late)
        assert served == [0, 1, 2, 3, 4, 5]
        assert server.accepted == 1


async def test_the_end_of_an_aborted_stream_lets_the_next_one_connect() -> None:
    async with (
        opened(Client(limits=ONE)) as client,
        LiteralServer(answers=(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", OK)) as server,
    ):
        holder = await send(client, server.origin)
        waiting = asyncio.create_task(fetch(client, server.origin))
        await settle()
        holder.close()
        assert await waiting == b"hi"
        assert server.accepted == 2
        assert client.open_connections == 1


async def test_a_failed_connection_lets_the_next_one_try() -> None:
    async with opened(Client(limits=ONE)) as client:
        origin = await nobody()
        problems = await asyncio.gather(*(problem_of(send(client, origin)) for _ in range(3)))
        assert {problem.kind for problem in problems} == {Kind.UNREACHABLE}


async def nobody() -> Origin:
    """An origin where nobody listens."""
    async with LiteralServer() as server:
        return server.origin


async def test_a_stale_connection_is_replaced_in_its_own_place() -> None:
    async with opened(Client(limits=ONE)) as client, LiteralServer(goes_stale) as server:
        await fetch(client, server.origin)
        bodies = await asyncio.gather(*(fetch(client, server.origin) for _ in range(4)))
        assert bodies == [b"hi"] * 4
        assert client.open_connections == 1


async def test_the_wait_for_a_connection_has_a_timer_of_its_own() -> None:
    async with opened(Client(limits=ONE)) as client, LiteralServer() as server:
        holder = await send(client, server.origin)
        problem = await problem_of(send(client, server.origin, timeouts=Timeouts(pool_wait_s=0.02)))
        assert problem.kind is Kind.TIMED_OUT
        assert problem.source is Source.ROUTER
        assert problem.retry is Retry.ELSEWHERE
        assert problem.message.endswith("stayed busy for 0.02 s.")
        holder.close()
        assert await fetch(client, server.origin) == b"hi"


async def test_a_deadline_before_the_timer_is_the_callers() -> None:
    async with opened(Client(limits=ONE)) as client, LiteralServer() as server:
        holder = await send(client, server.origin)
        with pytest.raises(TimeoutError):
            await send(client, server.origin, deadline=soon(0.02))
        holder.close()


async def test_the_queue_for_a_connection_is_bounded() -> None:
    limits = ClientLimits(connections_per_origin=1, waiting_per_origin=1)
    async with opened(Client(limits=limits)) as client, LiteralServer() as server:
        holder = await send(client, server.origin)
        waiting = asyncio.create_task(fetch(client, server.origin))
        await settle()
        assert (await problem_of(send(client, server.origin))).kind is Kind.OVERLOADED
        holder.close()
        assert await waiting == b"hi"


async def test_a_connection_handed_on_that_is_lost_on_the_way_is_replaced() -> None:
    async with opened(Client(limits=ONE)) as client, LiteralServer() as server:
        holder = await send(client, server.origin)
        waiting = asyncio.create_task(fetch(client, server.origin))
        await settle()
        connection = next(iter(client._connections))
        holder.close()
        connection.eof_received()
        assert await waiting == b"hi"
        assert server.accepted == 2


async def test_closing_the_client_ends_streams_and_those_who_wait() -> None:
    client = Client(limits=ONE)
    async with LiteralServer(answers=(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",)) as server:
        stream = await send(client, server.origin)
        reading = asyncio.create_task(stream.read(soon()))
        waiting = asyncio.create_task(send(client, server.origin))
        await settle()
        await client.aclose()
        for asked in (reading, waiting, send(client, server.origin)):
            assert (await problem_of(asked)).kind is Kind.DRAINING
        stream.close()
        assert client.open_connections == 0
        assert not client._connections
        await until(lambda: server.peers[0].has_left)


async def test_closing_the_client_closes_what_is_idle() -> None:
    client = Client()
    async with LiteralServer() as server:
        await fetch(client, server.origin)
        await client.aclose()
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)


async def test_closing_the_client_stops_a_request_that_is_still_connecting() -> None:
    looked_up = asyncio.Event()

    async def slow(_: str, __: int) -> list[str]:
        await looked_up.wait()
        return ["127.0.0.1"]

    client = Client(resolve=slow)
    async with LiteralServer() as server:
        sending = asyncio.create_task(send(client, Origin("http", "slow.test", server.origin.port)))
        await settle()
        await client.aclose()
        looked_up.set()
        assert (await problem_of(sending)).kind is Kind.DRAINING
        assert server.requests == []
        assert client.open_connections == 0


async def forget(client: Client, origin: Origin) -> None:
    """Get a stream and let it go."""
    await send(client, origin)


async def test_a_stream_that_nobody_closed_does_not_leak_its_socket(client: Client) -> None:
    async with LiteralServer(answers=(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",)) as server:
        with pytest.warns(ResourceWarning, match="not closed"):
            await forget(client, server.origin)
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)


async def test_connections_do_not_wait_for_full_segments(client: Client) -> None:
    async with LiteralServer() as server:
        stream = await send(client, server.origin)
        transport = next(iter(client._connections))._transport
        assert transport is not None
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert await read_to_end(stream) == b"hi"
