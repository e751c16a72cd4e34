"""TLS is verified, always; a name is looked up and checked before it is dialled."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from collector import left_to_the_collector
from trunkline.core.catalog import Origin
from trunkline.core.problem import Kind, Problem, Retry, Source, forget_frames
from trunkline.upstream.client import Client
from trunkline.upstream.connection import TLS_BYTES, Connection
from upstream.literal_server import (
    LiteralServer,
    Peer,
    asking,
    fetch,
    opened,
    problem_of,
    send,
    soon,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


async def loopback(_: str, __: int) -> list[str]:
    """A resolver for which every name is this machine."""
    return ["127.0.0.1"]


@pytest.fixture
async def client(trusting: ssl.SSLContext) -> AsyncIterator[Client]:
    async with opened(Client(ssl_context=trusting, resolve=loopback)) as client:
        yield client


def named(name: str, server: LiteralServer) -> Origin:
    return Origin("https", name, server.origin.port)


async def test_a_trusted_certificate_is_accepted_and_its_connection_kept(
    client: Client, serving: ssl.SSLContext
) -> None:
    async with LiteralServer(tls=serving) as server:
        for origin in (named("localhost", server), named("localhost", server), server.origin):
            assert await fetch(client, origin) == b"hi"
        assert server.accepted == 2  # one for each origin
        assert b"host: localhost:" in server.requests[0]


async def test_name_and_protocol_are_told_in_the_handshake(client: Client, serving: ssl.SSLContext) -> None:
    names: list[str | None] = []

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    serving.sni_callback = note
    async with LiteralServer(tls=serving) as server:
        assert await fetch(client, named("localhost", server)) == b"hi"
        chosen = server.peers[0].writer.get_extra_info("ssl_object").selected_alpn_protocol()
    serving.sni_callback = None
    assert names == ["localhost"]
    assert chosen == "http/1.1"


async def test_an_untrusted_certificate_is_refused_before_a_byte_is_sent(serving: ssl.SSLContext) -> None:
    async with opened(Client()) as client, LiteralServer(tls=serving) as server:
        problem = await problem_of(send(client, asking(server.origin, headers=(("authorization", "Bearer k"),))))
        assert server.requests == []
        assert client.open_connections == 0
    assert problem.kind is Kind.UNREACHABLE
    assert problem.source is Source.NETWORK
    assert problem.retry is Retry.ELSEWHERE
    assert problem.message.startswith(f"The certificate of {server.origin.authority} was refused: self")


async def test_a_certificate_for_another_name_is_refused(client: Client, serving: ssl.SSLContext) -> None:
    async with LiteralServer(tls=serving) as server:
        problem = await problem_of(send(client, named("api.example.com", server)))
        assert server.requests == []
    assert problem.kind is Kind.UNREACHABLE
    assert "api.example.com" in problem.message


async def test_a_server_without_TLS_is_no_upstream(client: Client) -> None:  # noqa: N802 - the name of the protocol
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.until_gone()

    async with LiteralServer(script) as server:
        assert (await problem_of(send(client, named("localhost", server)))).kind is Kind.UNREACHABLE


async def test_a_server_that_leaves_in_the_handshake_is_unreachable(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)

    async with LiteralServer(script) as server:
        assert (await problem_of(send(client, named("localhost", server)))).kind is Kind.UNREACHABLE


@pytest.mark.parametrize("weaken", [ssl._create_unverified_context, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)])
def test_a_context_that_does_not_verify_is_refused(weaken: Callable[[], ssl.SSLContext]) -> None:
    context = weaken()
    context.check_hostname = False
    with pytest.raises(ValueError, match="must verify"):
        Client(ssl_context=context)


BY_EOF = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"


async def test_what_is_not_deciphered_for_a_slow_reader_is_bounded(client: Client, serving: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await peer.send(b"x" * 16_384)

    async with LiteralServer(script, tls=serving) as server:
        stream = await send(client, named("localhost", server))
        (connection,) = client._connections
        await asyncio.sleep(0.2)
        held: Any = connection._transport
        transport = held._transport
        assert transport.get_read_buffer_limits()[1] == TLS_BYTES
        assert connection.unread_bytes + transport.get_read_buffer_size() <= 256 * 1024
        stream.close()


async def test_a_body_up_to_the_end_of_the_connection_needs_the_end_of_TLS(  # noqa: N802 - the name of the protocol
    client: Client, serving: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(BY_EOF, b"hi")

    async with LiteralServer(script, tls=serving) as server:
        assert await fetch(client, named("localhost", server)) == b"hi"


@pytest.mark.asyncio(loop_factories=["uvloop"])  # asyncio's own loop tells the two ends apart for nobody
async def test_a_body_cut_off_without_the_end_of_TLS_is_truncated(client: Client, serving: ssl.SSLContext) -> None:  # noqa: N802 - the name of the protocol
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(BY_EOF, b"hi")
        peer.writer.transport.abort()

    async with LiteralServer(script, tls=serving) as server:
        assert (await problem_of(fetch(client, named("localhost", server)))).kind is Kind.TRUNCATED


async def test_an_idle_connection_that_the_upstream_closes_is_forgotten(
    client: Client, serving: ssl.SSLContext
) -> None:
    async with LiteralServer(tls=serving) as server:
        await fetch(client, named("localhost", server))
        assert client.idle_connections == 1
        server.peers[0].writer.close()
        await until(lambda: client.open_connections == 0)


@pytest.mark.parametrize("ends", ["cut", "closed"])
async def test_a_connection_that_is_over_leaves_nothing_that_waits_for_the_collector(
    client: Client, serving: ssl.SSLContext, ends: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi")
        if ends == "closed":
            await peer.until_gone()

    async with LiteralServer(script, tls=serving) as server:
        with left_to_the_collector(Connection) as left:
            stream = await send(client, named("localhost", server))
            assert await stream.read(soon()) == b"hi"
            if ends == "cut":
                try:
                    await stream.read(soon())
                except Problem as problem:
                    forget_frames(problem)
            stream.close()
            await until(lambda: not client._connections)
    assert left == []
