"""The scripted upstream does what its scripts say, and notices what its peers do."""

from __future__ import annotations

import asyncio
import socket
import struct
from http.client import HTTPResponse, IncompleteRead
from io import BytesIO
from typing import TYPE_CHECKING, Self, cast

import msgspec
import pytest

from trunkline.core.caller import Secret
from trunkline.upstream.journal import Ending
from trunkline.upstream.script import End, Framing, Script, chat_stream, chat_whole, empty
from trunkline.upstream.scripted import ScriptedUpstream, black_hole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trunkline.upstream.journal import ReceivedRequest

SOON_S = 5.0
LEAVING_S = 4 * 0.5
"""Four times what the router promises for closing an upstream: seeing it here must take far less."""

ONE_EVENT = Script(body=(b"data: 1\n\n",))


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        yield running


def post(body: bytes = b"{}", *, headers: str = "", target: str = "/v1/chat/completions") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nhost: scripted\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def get(target: str, headers: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: scripted\r\nconnection: close\r\n{headers}\r\n".encode()


CLOSE = "connection: close\r\n"


class Peer:
    """A client that sends and reads literal bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, upstream: ScriptedUpstream) -> Peer:
        return cls(*await asyncio.open_connection("127.0.0.1", upstream.port))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *args: object) -> None:
        self.writer.transport.abort()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(SOON_S):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        async with asyncio.timeout(SOON_S):
            return await self.reader.read()


async def exchange(upstream: ScriptedUpstream, request: bytes) -> bytes:
    """Everything that comes back until the connection ends."""
    async with await Peer.connect(upstream) as peer:
        peer.writer.write(request)
        return await peer.rest()


class Recorded:
    """What `http.client` wants for a socket."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._answer)


def parse(answer: bytes) -> HTTPResponse:
    """The answer as somebody else's HTTP client reads it."""
    response = HTTPResponse(cast("socket.socket", Recorded(answer)))
    response.begin()
    return response


# What goes out.


async def test_each_piece_of_the_body_is_a_chunk_of_its_own(upstream: ScriptedUpstream) -> None:
    upstream.play(Script(body=(b"data: 1\n\n", b"data: 2\n\n")))
    assert await exchange(upstream, post(headers=CLOSE)) == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    )


async def test_given_headers_replace_the_ones_of_the_script(upstream: ScriptedUpstream) -> None:
    upstream.play(Script(status=429, headers=(("Content-Type", "text/plain"), ("retry-after", "7"))))
    response = parse(await exchange(upstream, post(headers=CLOSE)))
    assert (response.status, response.reason) == (429, "Too Many Requests")
    assert response.headers.get_all("content-type") == ["text/plain"]
    assert response.headers["retry-after"] == "7"


async def test_a_head_of_its_own_goes_out_as_it_is(upstream: ScriptedUpstream) -> None:
    upstream.play(Script(head=b"SSH-2.0-OpenSSH_9.2\r\n", framing=Framing.EOF))
    assert await exchange(upstream, post()) == b"SSH-2.0-OpenSSH_9.2\r\n"


async def test_a_body_can_end_with_the_connection(upstream: ScriptedUpstream) -> None:
    upstream.play(ONE_EVENT.but(framing=Framing.EOF))
    response = parse(await exchange(upstream, post()))
    assert response.headers["transfer-encoding"] is None
    assert response.read() == b"data: 1\n\n"


async def test_slices_cut_the_body_wherever_they_fall(upstream: ScriptedUpstream) -> None:
    upstream.play(Script(body=(b"data: 1\n\n", b"data: 2\n\n"), slice_bytes=7))
    assert (await exchange(upstream, post(headers=CLOSE))).endswith(
        b"\r\n\r\n7\r\ndata: 1\r\n7\r\n\n\ndata:\r\n4\r\n 2\n\n\r\n0\r\n\r\n"
    )


async def test_a_body_can_repeat_until_it_is_cut(upstream: ScriptedUpstream) -> None:
    upstream.play(Script(body=(b"abc",), repeat=True, cut_at=10))
    assert parse(await exchange(upstream, post(headers=CLOSE))).read() == b"abcabcabca"


def test_an_empty_body_cannot_repeat() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        empty().but(repeat=True)


async def test_a_piece_of_eight_mebibytes_passes_in_one_line(upstream: ScriptedUpstream) -> None:
    upstream.play(chat_stream(["x" * 8 * 1024 * 1024]))
    body = parse(await exchange(upstream, post(headers=CLOSE))).read()
    assert max(map(len, body.split(b"\n"))) > 8 * 1024 * 1024


async def test_the_delays_are_kept(upstream: ScriptedUpstream) -> None:
    script = Script(body=(b"1", b"2", b"3"), delay_headers_s=0.05, delay_first_s=0.06, delay_between_s=0.07)
    upstream.play(script)
    clock = asyncio.get_running_loop().time
    async with await Peer.connect(upstream) as peer:
        times = [clock()]
        peer.writer.write(post())
        for end in (b"\r\n\r\n", b"1\r\n1\r\n", b"1\r\n2\r\n", b"1\r\n3\r\n"):
            await peer.until(end)
            times.append(clock())
    # Each is measured from the start: how late a piece is seen must not shorten the wait for the next. A loop that
    # counts in whole milliseconds may be a little early.
    for seen, earliest_s in zip(times[1:], (0.05, 0.11, 0.18, 0.25), strict=True):
        assert seen - times[0] >= 0.9 * earliest_s


# How it ends.


async def test_a_clean_end_leaves_the_connection_for_the_next_request(upstream: ScriptedUpstream) -> None:
    upstream.play(ONE_EVENT, chat_whole("two"))
    async with await Peer.connect(upstream) as peer:
        peer.writer.write(post())
        await peer.until(b"0\r\n\r\n")
        peer.writer.write(post(headers=CLOSE))
        assert b'"content":"two"' in await peer.rest()
    assert (upstream.opened, upstream.received, upstream.finished) == (1, 2, 2)


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.LENGTH])
async def test_a_fin_cuts_the_body_at_its_byte(upstream: ScriptedUpstream, framing: Framing) -> None:
    upstream.play(ONE_EVENT.but(cut_at=4, end=End.FIN, framing=framing))
    with pytest.raises(IncompleteRead) as cut:
        parse(await exchange(upstream, post())).read()
    assert cut.value.partial.endswith(b"data")


async def test_a_reset_comes_after_its_byte(upstream: ScriptedUpstream) -> None:
    upstream.play(ONE_EVENT.but(cut_at=4, end=End.RST))
    async with await Peer.connect(upstream) as peer:
        peer.writer.write(post())
        await peer.until(b"4\r\ndata\r\n")
        with pytest.raises(ConnectionResetError):
            await peer.rest()


async def test_a_reset_can_come_instead_of_an_answer(upstream: ScriptedUpstream) -> None:
    upstream.play(Script(head=b"", end=End.RST))
    with pytest.raises(ConnectionResetError):
        await exchange(upstream, post())


async def test_a_stall_sends_what_it_has_and_no_more(upstream: ScriptedUpstream) -> None:
    upstream.play(chat_stream(["one", "two"]).cut_after(2, End.STALL))
    async with await Peer.connect(upstream) as peer:
        peer.writer.write(post())
        await peer.until(b'"one"},"finish_reason":null}]}\n\n\r\n')
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await peer.reader.read(1)
    assert upstream.plays[0].ending is None


async def test_a_content_length_can_lie(upstream: ScriptedUpstream) -> None:
    upstream.play(chat_whole("Hello").but(content_length=9_999, end=End.FIN))
    with pytest.raises(IncompleteRead):
        parse(await exchange(upstream, post())).read()


async def test_a_play_ends_after_the_longest_time_that_it_may_take() -> None:
    async with ScriptedUpstream(longest_play_s=0.05) as upstream:
        upstream.play(ONE_EVENT.but(end=End.STALL))
        await exchange(upstream, post())
        assert upstream.plays[0].ending is Ending.STOPPED


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with ScriptedUpstream(keep_alive_s=0.05) as upstream, await Peer.connect(upstream) as peer:
        upstream.play(ONE_EVENT)
        peer.writer.write(post())
        assert (await peer.rest()).endswith(b"0\r\n\r\n")
        await upstream.wait_until(lambda: upstream.closed == 1)


async def test_leaving_ends_whatever_is_under_way() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.play(ONE_EVENT.but(end=End.STALL))
        peer = await Peer.connect(upstream)
        peer.writer.write(post())
        await peer.until(b"data: 1\n\n")
    async with peer:
        assert (upstream.active, upstream.cancelled) == (0, 0)
        assert upstream.opened == upstream.closed == 1


# When the peer leaves.

SILENT = {
    "before the headers": Script(delay_headers_s=600),
    "before the first piece": Script(body=(b"data: 1\n\n",), delay_first_s=600),
    "between two pieces": Script(body=(b"data: 1\n\n",), repeat=True, delay_between_s=600),
    "in a stall": ONE_EVENT.but(end=End.STALL),
}


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("script", SILENT.values(), ids=SILENT.keys())
async def test_a_peer_that_leaves_is_seen_at_once_in_any_silence(
    upstream: ScriptedUpstream, script: Script, reset: bool
) -> None:
    upstream.play(script)
    clock = asyncio.get_running_loop().time
    async with await Peer.connect(upstream) as peer:
        peer.writer.write(post())
        await upstream.wait_until(lambda: upstream.active == 1)
        if reset:
            peer.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        left_at = clock()
    await upstream.wait_until(lambda: upstream.cancelled == 1)
    play = upstream.plays[0]
    assert play.left_at is not None
    assert play.left_at - left_at < LEAVING_S
    assert (play.ending, upstream.active, upstream.finished) == (Ending.CANCELLED, 0, 0)


async def test_a_peer_that_leaves_ends_an_endless_stream(upstream: ScriptedUpstream) -> None:
    upstream.play(ONE_EVENT.but(repeat=True))
    async with await Peer.connect(upstream) as peer:
        peer.writer.write(post())
        for _ in range(10):
            await peer.until(b"data: 1\n\n")
    await upstream.wait_until(lambda: upstream.cancelled == 1 and upstream.closed == 1)


async def test_a_peer_that_reads_nothing_stops_the_stream(upstream: ScriptedUpstream) -> None:
    upstream.play(Script(body=(b"x" * 65_536,), repeat=True))
    async with await Peer.connect(upstream) as peer:
        peer.writer.write(post())
        sent = -1
        async with asyncio.timeout(SOON_S):
            while sent != upstream.bytes_sent:
                sent = upstream.bytes_sent
                await asyncio.sleep(0.1)
        assert 65_536 <= sent < 64 * 1024 * 1024
        await peer.reader.read(16 * 1024 * 1024)
        await upstream.wait_until(lambda: upstream.bytes_sent > sent)


# What comes in.


async def test_a_request_is_kept_whole(upstream: ScriptedUpstream) -> None:
    body = msgspec.json.encode({"model": "a/b", "messages": []})
    await exchange(upstream, post(body, headers=f"X-Two: 1\r\nX-Two: 2\r\n{CLOSE}", target="/api/v1/chat?x=1"))
    (request,) = upstream.requests
    assert (request.id, request.method, request.path, request.query) == (1, "POST", "/api/v1/chat", "x=1")
    assert request.headers["x-two"] == "1, 2"
    assert request.json() == {"model": "a/b", "messages": []}


async def test_a_request_shows_neither_its_key_nor_its_body(upstream: ScriptedUpstream) -> None:
    await exchange(upstream, post(b'{"canary-prompt":1}', headers=f"authorization: Bearer canary-key\r\n{CLOSE}"))
    assert repr(upstream.requests) == "[ReceivedRequest(1: POST /v1/chat/completions, 19 bytes)]"


async def test_a_request_may_come_in_any_pieces(upstream: ScriptedUpstream) -> None:
    async with await Peer.connect(upstream) as peer:
        for byte in post(b'{"messages":[]}', headers=CLOSE):
            peer.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await peer.rest()
    assert upstream.requests[0].body == b'{"messages":[]}'


async def test_only_the_newest_requests_are_kept() -> None:
    async with ScriptedUpstream(remember=2) as upstream:
        for _ in range(3):
            await exchange(upstream, post(headers=CLOSE))
        assert [request.id for request in upstream.requests] == [2, 3]
        assert upstream.received == 3


async def test_one_request_may_be_sent_ahead(upstream: ScriptedUpstream) -> None:
    upstream.play(chat_whole("one"), chat_whole("two"))
    answers = await exchange(upstream, post() + post(headers=CLOSE))
    assert answers.index(b'"one"') < answers.index(b'"two"')


async def test_two_requests_ahead_are_too_many(upstream: ScriptedUpstream) -> None:
    upstream.play(ONE_EVENT.but(end=End.STALL))
    async with await Peer.connect(upstream) as peer:
        peer.writer.write(post())
        await peer.until(b"data: 1\n\n")
        peer.writer.write(post() + post())
        await peer.rest()
    assert upstream.received == 1


async def test_a_request_over_the_limit_is_refused() -> None:
    async with ScriptedUpstream(max_request_bytes=1_000) as upstream:
        answer = await exchange(upstream, post(b"x" * 1_000))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert upstream.received == 0


async def test_what_is_no_request_is_refused(upstream: ScriptedUpstream) -> None:
    assert (await exchange(upstream, b"\x16\x03\x01 this is TLS\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


# Who decides what is played.


async def test_scripts_are_played_in_order_and_the_last_one_again(upstream: ScriptedUpstream) -> None:
    upstream.play(empty(500), empty(502))
    answers = [await exchange(upstream, post(headers=CLOSE)) for _ in range(3)]
    assert [parse(answer).status for answer in answers] == [500, 502, 502]


async def test_a_new_play_replaces_the_one_before(upstream: ScriptedUpstream) -> None:
    upstream.play(empty(500), empty(502))
    upstream.play(empty(503))
    assert parse(await exchange(upstream, post(headers=CLOSE))).status == 503
    assert upstream.plays[0].script == empty(503)


async def test_an_answer_may_depend_on_the_request() -> None:
    def answer(request: ReceivedRequest) -> Script:
        return empty(404) if request.json()["model"] == "missing" else chat_whole("here")

    async with ScriptedUpstream(answer) as upstream:
        assert parse(await exchange(upstream, post(b'{"model":"missing"}', headers=CLOSE))).status == 404
        assert parse(await exchange(upstream, post(b'{"model":"other"}', headers=CLOSE))).status == 200


async def test_an_answer_that_raises_breaks_the_connection_and_the_block() -> None:
    def answer(request: ReceivedRequest) -> Script:
        raise LookupError("no such script")

    with pytest.raises(LookupError, match="no such script"):
        async with ScriptedUpstream(answer) as upstream:
            assert await exchange(upstream, post()) == b""


async def test_without_a_script_the_last_message_is_said_back(upstream: ScriptedUpstream) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"a\\nb"}]}'
    answer = msgspec.json.decode(parse(await exchange(upstream, post(body, headers=CLOSE))).read())
    assert answer["choices"][0]["message"]["content"] == "You said: a\nb"
    assert answer["model"] == "m"


async def test_without_a_script_a_stream_is_answered_by_a_stream(upstream: ScriptedUpstream) -> None:
    body = b'{"stream":true,"messages":[{"role":"user","content":"Hi"}]}'
    answer = parse(await exchange(upstream, post(body, headers=CLOSE)))
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.read().endswith(b"data: [DONE]\n\n")


async def test_without_a_script_nonsense_is_a_bad_request(upstream: ScriptedUpstream) -> None:
    assert parse(await exchange(upstream, post(b"nonsense", headers=CLOSE))).status == 400


# What a provider serves besides answers.


async def test_the_models_are_listed() -> None:
    async with ScriptedUpstream(models=["a/one", "b/two"]) as upstream:
        answer = msgspec.json.decode(parse(await exchange(upstream, get("/v1/models"))).read())
        assert [model["id"] for model in answer["data"]] == ["a/one", "b/two"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [("", 401), ("authorization: Bearer wrong\r\n", 401), ("authorization: Bearer right\r\n", 200)],
)
async def test_the_key_is_known_or_refused(headers: str, status: int) -> None:
    async with ScriptedUpstream(accepts_key=Secret("right")) as upstream:
        response = parse(await exchange(upstream, get("/api/v1/key", headers)))
        assert response.status == status
        assert ("data" in msgspec.json.decode(response.read())) == (status == 200)


async def test_a_wrong_key_gets_no_answer_and_uses_up_no_script() -> None:
    async with ScriptedUpstream(accepts_key=Secret("right")) as upstream:
        upstream.play(chat_whole("one"), chat_whole("two"))
        assert parse(await exchange(upstream, post(headers=CLOSE))).status == 401
        answer = await exchange(upstream, post(headers=f"authorization: Bearer right\r\n{CLOSE}"))
        assert b'"one"' in answer


# At size, and without anybody there.


async def test_a_thousand_streams_go_on_at_once(upstream: ScriptedUpstream) -> None:
    upstream.play(ONE_EVENT.but(repeat=True, delay_between_s=0.5))
    peers = await asyncio.gather(*(Peer.connect(upstream) for _ in range(1_000)))
    for peer in peers:
        peer.writer.write(post())
    await asyncio.gather(*(peer.reader.readuntil(b"data: 1\n\n") for peer in peers))
    assert upstream.active == 1_000
    for peer in peers:
        peer.writer.transport.abort()
    await upstream.wait_until(lambda: upstream.cancelled == upstream.closed == 1_000, 4 * SOON_S)


async def test_waiting_in_vain_tells_the_counts(upstream: ScriptedUpstream) -> None:
    with pytest.raises(TimeoutError, match="received=0, active=0"):
        await upstream.wait_until(lambda: upstream.received == 1, 0.01)


async def test_a_black_hole_takes_no_connection() -> None:
    with black_hole() as port, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.open_connection("127.0.0.1", port)
