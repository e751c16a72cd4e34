"""An origin is dialled at the addresses that were checked, one after the other."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from collector import left_to_the_collector
from trunkline.core.catalog import Origin, Timeouts
from trunkline.core.problem import Kind, Retry, Source
from trunkline.upstream.client import Client
from trunkline.upstream.connection import Connection
from upstream.literal_server import LiteralServer, asking, fetch, opened, problem_of, read_to_end, send

if TYPE_CHECKING:
    from collections.abc import Sequence


class Names:
    """A resolver with a book of its own; it keeps what it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self._answers.pop(0)


async def test_a_name_is_looked_up_once_for_each_connection() -> None:
    names = Names(["127.0.0.1"])
    async with opened(Client(resolve=names)) as client, LiteralServer() as server:
        origin = Origin("http", "model.test", server.origin.port)
        for _ in range(3):
            assert await fetch(client, origin) == b"hi"
        assert names.asked == [("model.test", origin.port)]
        assert server.requests[0].startswith(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {origin.authority}\r\n".encode()
        )


async def test_the_systems_resolver_is_the_default() -> None:
    async with opened(Client()) as client, LiteralServer() as server:
        assert await fetch(client, Origin("http", "localhost", server.origin.port)) == b"hi"


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    names = Names(["::1", "127.0.0.2", "127.0.0.1"])
    async with opened(Client(resolve=names)) as client, LiteralServer() as server:
        assert await fetch(client, Origin("http", "model.test", server.origin.port)) == b"hi"
        assert client.open_connections == 1


async def test_an_address_that_refuses_leaves_nothing_that_waits_for_the_collector() -> None:
    names = Names(*[["127.0.0.2", "127.0.0.1"]] * 2)
    async with opened(Client(resolve=names)) as client, LiteralServer() as server:
        origin = Origin("http", "model.test", server.origin.port)
        stream = await send(client, origin)
        with left_to_the_collector(Connection) as left:
            assert await fetch(client, origin) == b"hi"
        stream.close()
    assert left == []


@pytest.mark.parametrize("host", ["a" * 64 + ".test", ".test", "a..test"])
async def test_a_host_that_no_certificate_could_name_is_unreachable(host: str) -> None:
    async with opened(Client(resolve=Names(["127.0.0.1"]))) as client, LiteralServer() as server:
        problem = await problem_of(send(client, Origin("https", host, server.origin.port)))
    assert problem.kind is Kind.UNREACHABLE
    assert problem.message.endswith(" is not a name that TLS could verify.")


async def test_an_address_that_says_nothing_has_only_its_share_of_the_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = Origin("https", "model.test", silent.getsockname()[1])
        async with opened(Client(resolve=Names(["127.0.0.1", "127.0.0.2"]))) as client:
            problem = await problem_of(send(client, origin, timeouts=Timeouts(connect_s=0.4)))
    assert problem.kind is Kind.UNREACHABLE  # The second one refused, and had the time to.


async def test_when_nobody_listens_the_host_is_named() -> None:
    async with LiteralServer() as server:
        port = server.origin.port
    async with opened(Client(resolve=Names(["127.0.0.1"]))) as client:
        problem = await problem_of(send(client, Origin("http", "model.test", port)))
    assert problem.kind is Kind.UNREACHABLE
    assert problem.source is Source.NETWORK
    assert problem.retry is Retry.ELSEWHERE
    assert problem.message == f"Could not connect to model.test:{port}: connection refused."


async def test_a_public_name_cannot_lead_into_the_house() -> None:
    names = Names(["127.0.0.1"])
    async with opened(Client(resolve=names)) as client, LiteralServer() as server:
        origin = Origin("http", "evil.test", server.origin.port)
        problem = await problem_of(send(client, asking(origin, allow_private=False)))
        assert problem.kind is Kind.UNREACHABLE
        assert "private address" in problem.message
        assert server.accepted == 0
        assert client.open_connections == 0


async def test_a_header_that_would_break_a_line_goes_nowhere() -> None:
    async with opened(Client()) as client, LiteralServer() as server:
        problem = await problem_of(send(client, asking(server.origin, headers=(("x", "1\r\ny: 2"),))))
        assert problem.kind is Kind.INVALID_REQUEST
        assert server.accepted == 0


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"])
async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    async with opened(Client()) as client, LiteralServer() as server, LiteralServer() as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.origin.port}")
        assert await read_to_end(await send(client, server.origin)) == b"hi"
        assert proxy.accepted == 0
