"""Requests as they are written, answers as they are read: transcripts of HTTP/1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trunkline.core.problem import Problem

HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = b"data: one\n\ndata: two\n\n"
BY_LENGTH = HEAD + b"content-type: text/event-stream\r\ncontent-length: 22\r\n\r\n" + BODY
BY_CHUNKS = (
    HEAD
    + b"transfer-encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n0B;x=y\r\ndata: two\n\n\r\n0\r\nx-trailer: 1\r\n\r\n"
)
BY_EOF = HEAD + b"connection: close\r\n\r\n" + BODY


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with opened(Client()) as client:
        yield client


async def test_a_request_is_written_as_it_is_with_host_and_length(client: Client) -> None:
    async with LiteralServer() as server:
        request = asking(server.origin, headers=(("authorization", "Bearer k"), ("X-Title", "café")), body=b'{"a":1}')
        assert await fetch(client, request) == b"hi"
    assert server.requests == [
        b"POST /v1/chat/completions HTTP/1.1\r\n"
        b"host: 127.0.0.1:%d\r\n"
        b"authorization: Bearer k\r\n"
        b"X-Title: caf\xe9\r\n"
        b"accept-encoding: identity\r\n"
        b"content-length: 7\r\n"
        b"\r\n"
        b'{"a":1}' % server.origin.port
    ]


async def test_status_and_headers_come_before_the_body(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 429 Too Many\r\nRetry-After: 7 \r\nX-A: 1\r\nx-a:2\r\ncontent-length: 3\r\n\r\n")
        await peer.until_gone()

    async with LiteralServer(script) as server:
        stream = await send(client, server.origin)
        stream.close()
    assert stream.status == 429
    assert stream.headers == {"retry-after": "7", "x-a": "1, 2", "content-length": "3"}


@pytest.mark.parametrize("answer", [BY_LENGTH, BY_CHUNKS], ids=["length", "chunks"])
async def test_an_answer_cut_at_any_byte_reads_the_same(client: Client, answer: bytes) -> None:
    cuts = iter(range(1, len(answer)))

    async def script(peer: Peer) -> None:
        for cut in cuts:
            await peer.request()
            await peer.send(answer[:cut], answer[cut:])
        await peer.until_gone()

    async with LiteralServer(script) as server:
        bodies = {await fetch(client, server.origin) for _ in range(1, len(answer))}
        assert bodies == {BODY}
        assert server.accepted == 1


@pytest.mark.parametrize("answer", [BY_LENGTH, BY_CHUNKS, BY_EOF], ids=["length", "chunks", "eof"])
async def test_an_answer_that_comes_byte_by_byte_reads_the_same(client: Client, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*(answer[at : at + 1] for at in range(len(answer))))

    async with LiteralServer(script) as server:
        assert await fetch(client, server.origin) == BODY


@pytest.mark.parametrize("answer", [BY_LENGTH, BY_CHUNKS], ids=["length", "chunks"])
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
async def test_an_answer_lost_at_any_byte_is_never_a_clean_end(client: Client, answer: bytes, is_reset: bool) -> None:
    cuts = iter(range(1, len(answer)))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer[: next(cuts)])
        if is_reset:
            peer.reset()

    async with LiteralServer(script) as server:
        for cut in range(1, len(answer)):
            problem = await problem_of(fetch(client, server.origin))
            kind = Kind.TRUNCATED if cut >= answer.index(b"\r\n\r\n") + 4 else Kind.UNREACHABLE
            # A reset may overtake bytes that were not read yet.
            assert problem.kind is kind or (is_reset and problem.kind is Kind.UNREACHABLE), cut
            assert problem.retry is Retry.ELSEWHERE
            assert problem.source is Source.NETWORK
        assert server.accepted == len(answer) - 1
    assert client.open_connections == 0


async def test_what_came_before_a_loss_is_read_first(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(BY_CHUNKS[:-30])

    async with LiteralServer(script) as server:
        stream = await send(client, server.origin)
        assert (await stream.read(soon())).startswith(b"data: one\n\n")
        assert (await problem_of(stream.read(soon()))).kind is Kind.TRUNCATED
        stream.close()


@pytest.mark.parametrize(
    "answer",
    [BY_EOF, b"HTTP/1.0 200 OK\r\n\r\n" + BODY, HEAD + b"\r\n" + BODY],
    ids=["close", "HTTP/1.0", "neither length nor close"],
)
async def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_body(client: Client, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with LiteralServer(script) as server:
        assert await fetch(client, server.origin) == BODY
    assert client.open_connections == 0


async def test_without_a_length_a_reset_is_a_loss(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(BY_EOF)
        peer.reset()

    async with LiteralServer(script) as server:
        assert (await problem_of(fetch(client, server.origin))).kind is Kind.TRUNCATED


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_answers_without_a_body_end_at_once_and_keep_the_connection(client: Client, answer: bytes) -> None:
    async with LiteralServer(answers=(answer, OK)) as server:
        assert await fetch(client, server.origin) == b""
        assert await fetch(client, server.origin) == b"hi"
        assert server.accepted == 1


async def test_the_answer_to_HEAD_has_no_body(client: Client) -> None:  # noqa: N802 - the method's name
    async with LiteralServer(answers=(BY_LENGTH[: -len(BODY)],)) as server:
        stream = await send(client, asking(server.origin, method="HEAD", body=b""))
        assert stream.headers["content-length"] == "22"
        assert await read_to_end(stream) == b""


async def test_informational_answers_are_skipped(client: Client) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(early, early + OK)
        await peer.until_gone()

    async with LiteralServer(script) as server:
        stream = await send(client, server.origin)
        assert (stream.status, dict(stream.headers)) == (200, {"content-length": "2"})
        assert await read_to_end(stream) == b"hi"
        assert await fetch(client, server.origin) == b"hi"
        assert server.accepted == 1


async def test_a_redirect_is_an_answer_like_any_other(client: Client) -> None:
    async with LiteralServer(
        answers=(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",)
    ) as server:
        stream = await send(client, server.origin)
        assert stream.status == 302
        stream.close()
        assert len(server.requests) == 1


async def refusal(client: Client, answer: bytes) -> Problem:
    async with LiteralServer(answers=(answer,)) as server:
        problem = await problem_of(fetch(client, server.origin))
        await until(lambda: server.peers[0].has_left)
    assert client.open_connections == 0
    return problem


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>busy</html>",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 20 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nxyz",
        HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"content-length: 2, 2\r\n\r\nhi",
        HEAD + b"content-length: -2\r\n\r\nhi",
        HEAD + b"content-length: 0x2\r\n\r\nhi",
        HEAD + b"content-length: 99999999999999999999\r\n\r\nhi",
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: identity\r\n\r\nhi",
        HEAD + b"transfer-encoding: chunked\r\n\r\nxx\r\nhi\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\nhi\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nhi\r\n",
        HEAD + b"a : 1\r\n\r\n",
        HEAD + b"a: 1\r\n folded\r\n\r\n",
        HEAD + b"a: 1\x002\r\n\r\n",
        HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nhi",
    ],
)
async def test_what_is_not_plain_HTTP_is_the_upstreams_fault(client: Client, answer: bytes) -> None:  # noqa: N802 - its name
    problem = await refusal(client, answer)
    assert problem.kind is Kind.UPSTREAM_INVALID
    assert problem.source is Source.UPSTREAM
    assert problem.retry is Retry.ELSEWHERE
    assert problem.message.startswith("127.0.0.1:")


@pytest.mark.parametrize("early", [b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"])
async def test_an_informational_answer_has_no_body_that_could_stand_before_the_answers(
    client: Client, early: bytes
) -> None:
    problem = await refusal(client, b"HTTP/1.1 150 Wait\r\n" + early + OK)
    assert problem.kind is Kind.UPSTREAM_INVALID
    assert problem.message.endswith(" sent status 150 with a body.")


async def test_a_compressed_failure_keeps_its_status_and_loses_its_body(client: Client) -> None:
    answer = b"HTTP/1.1 429 Slow\r\nretry-after: 3\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi"
    async with LiteralServer(answers=(answer,)) as server:
        stream = await send(client, server.origin)
        assert (stream.status, stream.headers["retry-after"]) == (429, "3")
        assert await read_to_end(stream) == b""
        assert client.open_connections == 0


LIMITS = ClientLimits(header_bytes=1000, header_count=10)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"a: 1\r\n" * 11 + b"content-length: 0\r\n\r\n",
        HEAD + b"a: " + b"1" * 1000 + b"\r\ncontent-length: 0\r\n\r\n",
        HEAD + b"a: " + b"1" * 1001,
        b"HTTP/1.1 200 " + b"O" * 1001,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        HEAD + b"transfer-encoding: chunked\r\n\r\n2;" + b"x" * 1001,
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\na: " + b"1" * 1001,
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: 1\r\n" * 11 + b"\r\n",
    ],
    ids=["many", "long", "endless", "endless status", "endless 1xx", "endless chunk", "endless trailer", "trailers"],
)
async def test_headers_over_the_limits_are_refused(answer: bytes) -> None:
    async with opened(Client(limits=LIMITS)) as client:
        problem = await refusal(client, answer)
    assert problem.kind is Kind.UPSTREAM_INVALID
    assert "headers" in problem.message


async def test_a_long_body_in_the_same_segment_is_no_long_header() -> None:
    async with opened(Client(limits=LIMITS)) as client, LiteralServer(answers=(BY_LENGTH[:-22] + BODY,)) as server:
        assert await fetch(client, server.origin) == BODY
    async with (
        opened(Client(limits=LIMITS)) as client,
        LiteralServer(answers=(HEAD + b"content-length: 5000\r\n\r\n" + b"x" * 5000,)) as server,
    ):
        assert len(await fetch(client, server.origin)) == 5000


async def test_all_that_came_in_one_turn_comes_out_of_one_read(client: Client) -> None:
    async with LiteralServer(answers=(BY_CHUNKS,)) as server:
        stream = await send(client, server.origin)
        assert await stream.read(soon()) == BODY
        assert await stream.read(soon()) == b""
        assert await stream.read(soon()) == b""
        stream.close()


async def test_of_an_error_body_no_more_than_the_limit_is_read(client: Client) -> None:
    async with LiteralServer(answers=(BY_LENGTH,)) as server:
        stream = await send(client, server.origin)
        assert await stream.read_all(soon(), 4) == b"data"
        stream.close()


async def lost_before_an_answer(client: Client, script: Callable[[Peer], Awaitable[None]]) -> Problem:
    async with LiteralServer(script) as server:
        problem = await problem_of(send(client, server.origin))
        assert server.accepted == 1
    assert client.open_connections == 0
    return problem


async def test_a_new_connection_closed_before_an_answer_is_not_tried_again(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    problem = await lost_before_an_answer(client, script)
    assert problem.kind is Kind.UNREACHABLE
    assert problem.message.endswith("closed the connection before it answered.")


async def test_a_new_connection_reset_before_an_answer_is_not_tried_again(client: Client) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    assert (await lost_before_an_answer(client, script)).kind is Kind.UNREACHABLE
