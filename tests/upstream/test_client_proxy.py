"""Behind a proxy everything goes through a tunnel; what fails before it is open is told as the proxy's fault."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest

from collector import left_to_the_collector
from trunkline.core.catalog import Origin, Timeouts
from trunkline.core.problem import Kind, Problem, Retry, Source, forget_frames
from trunkline.core.proxy import Proxy
from trunkline.upstream.client import Client
from trunkline.upstream.connection import Connection
from upstream.connect_proxy import OPEN, ConnectProxy
from upstream.literal_server import (
    OK,
    LiteralServer,
    Peer,
    asking,
    fetch,
    open_sockets,
    opened,
    problem_of,
    read_to_end,
    send,
    soon,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

USER = "router:canary:of-the-proxy-\u00e9"
API = Origin("http", "api.test", 80)


async def unknown(host: str, port: int) -> Sequence[str]:
    """A resolver that must not be asked: names are the proxy's to look up."""
    raise AssertionError((host, port))


@pytest.fixture
async def client(trusting: ssl.SSLContext) -> AsyncIterator[Client]:
    async with opened(Client(ssl_context=trusting, resolve=unknown)) as client:
        yield client


def named(name: str, server: LiteralServer) -> Origin:
    return msgspec.structs.replace(server.origin, host=name)


def blames(problem: Problem, proxy: ConnectProxy) -> bool:
    """Whether it is told as the network's, and names the proxy."""
    assert (problem.source, problem.retry) == (Source.NETWORK, Retry.ELSEWHERE)
    return f"he proxy {proxy.proxy().name}" in problem.message


async def test_a_tunnel_is_asked_for_once_and_kept_with_TLS_to_the_origin_inside(  # noqa: N802 - the name of the protocol
    client: Client, serving: ssl.SSLContext
) -> None:
    names: list[str | None] = []

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    serving.sni_callback = note
    async with LiteralServer(tls=serving) as server, ConnectProxy() as proxy:
        for _ in range(3):
            assert await fetch(client, proxy.to(named("localhost", server))) == b"hi"
        chosen = server.peers[0].writer.get_extra_info("ssl_object").selected_alpn_protocol()
        place = f"localhost:{server.origin.port}"
        assert proxy.asked == [f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n\r\n".encode()]
        assert (server.accepted, client.idle_connections) == (1, 1)
        assert server.requests[0].startswith(f"POST /v1/chat/completions HTTP/1.1\r\nhost: {place}\r\n".encode())
    serving.sni_callback = None
    assert (names, chosen) == (["localhost"], "http/1.1")


async def test_an_origin_without_TLS_is_behind_a_tunnel_too(client: Client) -> None:  # noqa: N802 - the name of the protocol
    async with LiteralServer() as server, ConnectProxy() as proxy:
        origin = proxy.to(named("api.test", server))
        assert await fetch(client, origin) == b"hi"
        assert await fetch(client, origin) == b"hi"
        assert len(proxy.asked) == server.accepted == 1
        assert server.requests[1].startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.test:")


async def test_a_large_body_and_a_long_answer_pass_through(client: Client, serving: ssl.SSLContext) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"y" * 1_000_000
    async with LiteralServer(tls=serving, answers=(answer,)) as server, ConnectProxy() as proxy:
        request = asking(proxy.to(named("localhost", server)), body=b"x" * 1_000_000)
        assert len(await fetch(client, request)) == 1_000_000
        assert server.requests[0].endswith(b"x" * 1_000_000)


async def test_an_answer_to_CONNECT_may_come_in_pieces_and_after_interim_ones(client: Client) -> None:  # noqa: N802 - the name of the method
    async def script(peer: Peer) -> None:
        await peer.request()
        answer = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.0 200\r\nvia: a\r\ncontent-length: 9\r\n\r\n"
        await peer.send(*(answer[at : at + 1] for at in range(len(answer))))
        await peer.request()
        await peer.send(OK)
        await peer.until_gone()

    async with ConnectProxy(script) as proxy:
        assert await fetch(client, proxy.to(API)) == b"hi"


async def test_user_and_password_go_to_the_proxy_and_no_further(client: Client, serving: ssl.SSLContext) -> None:
    async with LiteralServer(tls=serving) as server, ConnectProxy(credential=USER) as proxy:
        assert await fetch(client, proxy.to(named("localhost", server), USER)) == b"hi"
        assert b"proxy-authorization" not in server.requests[0].lower()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "wants a user name and a password (status 407)"),
        ("router:wrong-canary", "refused the router's user name and password (status 407)."),
    ],
)
async def test_a_proxy_that_wants_other_credentials_is_told_apart(client: Client, given: str | None, says: str) -> None:
    async with LiteralServer() as server, ConnectProxy(credential=USER) as proxy:
        problem = await problem_of(send(client, proxy.to(server.origin, given)))
        assert blames(problem, proxy)
        assert server.accepted == client.open_connections == 0
        await until(lambda: proxy.peers[0].reader.at_eof() or proxy.peers[0].writer.is_closing())
    assert (problem.kind, problem.detail) == (Kind.UNREACHABLE, "proxy status 407")
    assert says in problem.message


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (403, "refused to connect to api.test (status 403)."),
        (429, "refused to connect to api.test (status 429)."),
        (301, "refused to connect to api.test (status 301)."),
        (503, "could not connect to api.test (status 503)."),
    ],
)
async def test_any_other_status_is_the_proxys_refusal(client: Client, status: int, says: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 %d No\r\ncontent-type: text/html\r\n\r\n" % status + b"<canary>" * 5_000)

    async with ConnectProxy(script) as proxy:
        problem = await problem_of(send(client, proxy.to(API)))
        assert blames(problem, proxy)
    assert problem.kind is Kind.UNREACHABLE
    assert problem.message.endswith(says)
    assert "canary" not in problem.message


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not valid HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02F", "not valid HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\na: 1\r\n b\r\n\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\nvia: a\n\n" + b"x" * 9_000, "over the limit of 8 KiB"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 9_000, "over the limit of 8 KiB"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 9_000 + b"\r\n\r\n", "over the limit of 8 KiB"),
        (b"HTTP/1.1 103 Hints\r\n\r\n" * 500, "over the limit of 8 KiB"),
        (OPEN + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", "more than was asked for"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:12].decode("latin-1"),
)
async def test_what_is_no_answer_to_connect_is_refused(client: Client, said: bytes, what: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)
        left.append(await peer.until_gone())

    left: list[bytes] = []
    async with ConnectProxy(script) as proxy:
        problem = await problem_of(send(client, proxy.to(msgspec.structs.replace(API, scheme="https"))))
        assert blames(problem, proxy)
        await until(lambda: left)
    assert (problem.kind, left) == (Kind.UNREACHABLE, [b""])
    assert f"sent {'a head' if 'limit' in what else ''}" in problem.message
    assert what in problem.message


@pytest.mark.parametrize("resets", [False, True])
async def test_a_proxy_that_leaves_before_its_answer_is_at_fault(client: Client, *, resets: bool) -> None:
    async def leave(peer: Peer) -> None:
        await peer.request()
        if resets:
            peer.reset()

    async with ConnectProxy(leave) as proxy:
        problem = await problem_of(send(client, proxy.to(API)))
        assert blames(problem, proxy)
    assert problem.kind is Kind.UNREACHABLE
    assert "closed the connection before the way to api.test was open." in problem.message


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("resets", [False, True])
async def test_a_proxy_that_leaves_once_the_way_is_open_is_named_with_the_origin(
    client: Client, scheme: str, *, resets: bool
) -> None:
    async def leave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OPEN)
        await peer.reader.read(1)
        if resets:
            peer.reset()

    async with ConnectProxy(leave) as proxy:
        origin = proxy.to(Origin(scheme, "api.test", 8443))
        problem = await problem_of(send(client, origin))
        assert blames(problem, proxy)
        assert client.open_connections == 0
    assert problem.kind is Kind.UNREACHABLE
    assert "api.test:8443 (through the proxy" in problem.message


async def test_a_proxy_that_leaves_in_the_very_moment_of_its_answer_is_not_waited_for(client: Client) -> None:
    async def leave(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(OPEN)
        peer.writer.close()

    async with ConnectProxy(leave) as proxy:
        for scheme in ("http", "https"):
            problem = await problem_of(send(client, proxy.to(Origin(scheme, "api.test", 8443))))
            assert blames(problem, proxy)
            assert problem.kind is Kind.UNREACHABLE


async def test_an_answer_that_is_cut_in_the_tunnel_names_the_proxy_as_well(client: Client) -> None:
    async with (
        LiteralServer(answers=(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",)) as server,
        ConnectProxy() as proxy,
    ):
        stream = await send(client, proxy.to(named("api.test", server)))
        assert await stream.read(soon()) == b"hi"
        proxy.peers[0].reset()
        problem = await problem_of(read_to_end(stream))
        assert blames(problem, proxy)
    assert problem.kind is Kind.TRUNCATED


async def test_a_kept_tunnel_that_was_closed_meanwhile_is_replaced(client: Client, serving: ssl.SSLContext) -> None:
    async with LiteralServer(tls=serving) as server, ConnectProxy() as proxy:
        origin = proxy.to(named("localhost", server))
        await fetch(client, origin)
        proxy.peers[0].reset()
        assert await fetch(client, origin) == b"hi"
        assert len(proxy.asked) == 2


async def test_a_silent_proxy_has_the_time_to_connect_and_no_more(client: Client) -> None:
    async with ConnectProxy(Peer.until_gone) as proxy:
        problem = await problem_of(send(client, proxy.to(API), timeouts=Timeouts(connect_s=0.05)))
        assert blames(problem, proxy)
        assert problem.kind is Kind.TIMED_OUT
        assert problem.message.endswith(" gave no connection to api.test within 0.05 s.")
        await until(lambda: proxy.peers[0].has_left)
        with pytest.raises(TimeoutError):
            await send(client, proxy.to(API), deadline=soon(0.02))
        await until(lambda: all(peer.has_left for peer in proxy.peers))
        assert client.open_connections == 0


async def mute_behind(peer: Peer) -> None:
    """Open a way to somebody who says nothing."""
    await peer.request()
    await peer.send(OPEN)
    await peer.until_gone()


async def test_a_silent_handshake_in_the_tunnel_has_what_is_left_of_that_time(client: Client) -> None:
    async with ConnectProxy(mute_behind) as proxy:
        origin = proxy.to(Origin("https", "api.test", 443))
        problem = await problem_of(send(client, origin, timeouts=Timeouts(connect_s=0.05)))
        assert problem.message == f"Could not connect to {origin.described} within 0.05 s."
        assert problem.kind is Kind.TIMED_OUT
        await until(lambda: proxy.peers[0].has_left)


async def test_cancelled_while_a_way_is_asked_for_or_TLS_is_shaken_in_it(client: Client) -> None:  # noqa: N802 - the name of the protocol
    for script in (Peer.until_gone, mute_behind):
        async with ConnectProxy(script) as proxy:
            before = open_sockets()
            sending = asyncio.create_task(send(client, proxy.to(Origin("https", "api.test", 443))))
            await until(lambda: proxy.peers)
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert client.open_connections == 0
            await until(lambda: proxy.peers[0].has_left)
            await until(lambda: open_sockets() == before)  # noqa: B023


async def test_many_cancelled_at_any_moment_leave_nothing(client: Client, serving: ssl.SSLContext) -> None:
    async with LiteralServer(tls=serving) as server, ConnectProxy() as proxy:
        origin = proxy.to(named("localhost", server))
        before = open_sockets()
        for turns in range(0, 40, 2):
            tasks = [asyncio.create_task(fetch(client, origin)) for _ in range(2)]
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks[0].cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert done[1] == b"hi"
            assert client.open_connections == client.idle_connections
        await client.aclose()
        await until(lambda: open_sockets() <= before)


async def test_the_origins_certificate_is_verified_in_the_tunnel_before_a_byte_is_sent(
    client: Client, serving: ssl.SSLContext
) -> None:
    async with LiteralServer(tls=serving) as server, ConnectProxy() as proxy:
        problem = await problem_of(send(client, proxy.to(named("api.example.com", server))))
        assert blames(problem, proxy)
        assert server.requests == []
    assert problem.kind is Kind.UNREACHABLE
    assert problem.message.startswith("The certificate of api.example.com:")
    assert isinstance(problem.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("host", ["a" * 64 + ".test", ".test", "a..test"])
async def test_a_host_that_no_certificate_could_name_is_unreachable(client: Client, host: str) -> None:
    async with ConnectProxy(mute_behind) as proxy:
        problem = await problem_of(send(client, proxy.to(Origin("https", host, 443))))
        assert blames(problem, proxy)
    assert problem.kind is Kind.UNREACHABLE
    assert problem.message.endswith(" is not a name that TLS could verify.")
    assert client.open_connections == 0


async def leave_behind(peer: Peer) -> None:
    """Open a way to somebody who leaves."""
    await peer.request()
    await peer.send(OPEN)


@pytest.mark.parametrize("script", [mute_behind, leave_behind])
async def test_a_handshake_that_fails_in_the_tunnel_leaves_nothing_that_waits_for_the_collector(
    client: Client, script: Callable[[Peer], Awaitable[None]]
) -> None:
    async with ConnectProxy(script) as proxy:
        origin = proxy.to(Origin("https", "api.test", 443))
        with left_to_the_collector(Connection) as left:
            try:
                await send(client, origin, timeouts=Timeouts(connect_s=0.05))
            except Problem as problem:
                forget_frames(problem)
            await until(lambda: proxy.peers[0].has_left or script is leave_behind)
            await asyncio.sleep(0.01)
    assert left == []


async def test_an_origin_that_speaks_no_TLS_is_told_so(client: Client) -> None:  # noqa: N802 - the name of the protocol
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.until_gone()

    async with LiteralServer(script) as server, ConnectProxy() as proxy:
        origin = proxy.to(Origin("https", "localhost", server.origin.port))
        problem = await problem_of(send(client, origin))
    assert problem.kind is Kind.UNREACHABLE
    assert origin.described in problem.message


@pytest.mark.asyncio(loop_factories=["asyncio"])  # uvloop hands on what came with the handshake a turn later
async def test_an_origin_that_speaks_before_it_is_asked_is_not_listened_to(
    client: Client, serving: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(OK)
        await peer.until_gone()

    before, newest = open_sockets(), serving.maximum_version
    # There the server has the last word of the handshake, and what it says next comes with it.
    serving.maximum_version = ssl.TLSVersion.TLSv1_2
    async with LiteralServer(script, tls=serving) as server, ConnectProxy(lag_s=0.03) as proxy:
        problem = await problem_of(send(client, proxy.to(named("localhost", server))))
        assert blames(problem, proxy)
        assert client.open_connections == 0
        await until(lambda: server.peers[0].has_left)
    serving.maximum_version = newest
    assert problem.message.endswith(" spoke out of turn.")
    await until(lambda: open_sockets() <= before)


async def test_each_proxy_and_each_of_its_credentials_has_connections_of_its_own(client: Client) -> None:
    async with LiteralServer() as server, ConnectProxy() as first, ConnectProxy() as second:
        ways = (first.to(server.origin), second.to(server.origin), first.to(server.origin, USER), server.origin)
        for origin in ways * 2:
            assert await fetch(client, origin) == b"hi"
        assert (len(first.asked), len(second.asked), server.accepted) == (2, 1, 4)
        assert server.asked_on == [0, 1, 2, 3] * 2


async def test_a_proxys_name_is_looked_up_and_its_addresses_are_tried_in_turn(trusting: ssl.SSLContext) -> None:
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ("::1", "127.0.0.2", "127.0.0.1")

    async with (
        opened(Client(ssl_context=trusting, resolve=resolve)) as client,
        LiteralServer() as server,
        ConnectProxy() as proxy,
    ):
        port = proxy.origin.port
        origin = msgspec.structs.replace(named("api.test", server), proxy=Proxy("proxy.test", port))
        assert await fetch(client, origin) == b"hi"
        assert asked == [("proxy.test", port)]


async def test_a_proxy_that_is_not_there_is_named(client: Client, unused_port: int) -> None:
    async def nothing(_: str, __: int) -> Sequence[str]:
        return ()

    gone = msgspec.structs.replace(API, proxy=Proxy("127.0.0.1", unused_port))
    problem = await problem_of(send(client, gone))
    assert problem.message == f"Could not connect to the proxy 127.0.0.1:{unused_port}: connection refused."
    async with opened(Client(resolve=nothing)) as lost:
        nowhere = msgspec.structs.replace(API, proxy=Proxy("proxy.test", 3128))
        assert (await problem_of(send(lost, nowhere))).message == "proxy.test:3128 (the proxy) has no address."


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "10.0.0.5", "localhost", "localhost.", "a.localhost", "127.1", "0x7f000001", "127.0.0.1."],
)
async def test_a_private_address_as_it_is_written_needs_permission_behind_a_proxy_too(
    client: Client, host: str
) -> None:
    async with ConnectProxy() as proxy:
        problem = await problem_of(send(client, asking(proxy.to(Origin("http", host, 80)), allow_private=False)))
        assert "leads to a private address" in problem.message
        assert proxy.accepted == 0


async def test_a_public_name_may_be_asked_of_a_proxy_in_the_house(client: Client) -> None:
    async with LiteralServer() as server, ConnectProxy() as proxy:
        assert await fetch(client, asking(proxy.to(named("api.test", server)), allow_private=False)) == b"hi"


async def test_the_password_is_in_no_log_no_repr_and_no_problem(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with LiteralServer() as server, ConnectProxy(credential="somebody:else") as proxy:
        request = asking(proxy.to(server.origin, USER))
        problem = await problem_of(send(client, request))
    told = [repr(request), repr(request.origin), str(request.origin.proxy), repr(problem), str(problem), caplog.text]
    told += [repr(problem.detail), request.origin.described, repr(problem.__cause__)]
    for secret in ("canary", "cm91dGVy"):
        assert all(secret not in text for text in told)
