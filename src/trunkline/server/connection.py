"""One connection of a client: an asyncio protocol that reads requests and has them answered, one after the other."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from trunkline.outbox import HeldTransport
from trunkline.server.channel import Channel
from trunkline.server.request_head import Refused, check_coding, scope_of, size_of, without_upgrade
from trunkline.server.response_head import refusal

if TYPE_CHECKING:
    from trunkline.server.server import Server

HIGH_WATER_BYTES: Final = 64 * 1024
"""Of a body, unread; over it the socket is no longer read until the application takes them."""

OVERHEAD: Final = 16
"""Bytes of framing that each byte of a body may bring with it."""

EMPTY_LINES: Final = b"\r\n\r\n"

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER's value for an end that no client takes for a clean one."""

NEVER: Final = float("inf")


class Connection(asyncio.BufferedProtocol):
    """A connection: owns its socket, its parser, and the requests that came over it and are not answered yet.

    One request is answered at a time, by a task of its own; those that came behind it wait in order. All that the
    network does changes this object's state synchronously. `deadline` is looked at by the server's one timer. The
    server's `inbox` is empty again before the loop turns to the next connection.
    """

    __slots__ = (
        "_answered",
        "_bodiless",
        "_body_bytes",
        "_client",
        "_head_bytes",
        "_headers",
        "_incoming",
        "_is_final",
        "_is_full",
        "_is_large",
        "_is_lingering",
        "_is_paused",
        "_is_stopped",
        "_is_whole",
        "_lingered_bytes",
        "_mark",
        "_parser",
        "_plain",
        "_read_bytes",
        "_refusal",
        "_seen_bytes",
        "_server",
        "_server_address",
        "_target",
        "_unsent",
        "_waiting",
        "deadline",
        "transport",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self.transport = cast("HeldTransport", None)
        self._parser = httptools.HttpRequestParser(self)
        self._client: tuple[str, int] | None = None
        self._server_address: tuple[str, int] | None = None
        self.deadline = NEVER
        # The head that is being read.
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._is_whole = False
        """Whether a request has become whole in this read."""
        self._is_large = False
        """Whether this read alone brought more than a head may have."""
        self._plain: bytes | None = None
        """The head that was read, less its wish for another protocol, while it is to be read again."""
        # The body that is being read.
        self._incoming: Channel | None = None
        self._body_bytes = 0
        self._read_bytes = 0
        self._mark = 0
        self._seen_bytes = 0
        """How much of the body had come with the last read, and what has come since without any of it."""
        self._bodiless = 0
        # What is being answered, and what waits for it.
        self._answered: Channel | None = None
        self._waiting: deque[tuple[Channel, dict[str, Any]]] | None = None
        self._refusal: HTTPStatus | None = None
        """What is said when all that waits is answered."""
        # The socket.
        self._is_paused = False
        self._is_full = False
        self._unsent = 0
        self._is_final = False
        """Whether the request that was read last is the last one."""
        self._is_stopped = False
        """Whether what comes is no longer parsed."""
        self._is_lingering = False
        self._lingered_bytes = 0

    # What the channel asks of it.

    def resume_reading(self) -> None:
        """The body was taken: let more of it come."""
        if self._is_paused and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    def finish(self, channel: Channel, *, is_whole: bool) -> None:
        """The response has ended: the next request's turn."""
        if self._answered is not channel:
            return
        self._answered = None
        if not is_whole:
            self._close()
        elif self._incoming is channel:
            self._linger()
        elif not channel.keeps_alive or (self._server.closes_idle and not self._waiting):
            self._close()
        elif self._is_full:
            pass  # resume_writing goes on
        else:
            self._go_on()

    def settle(self, channel: Channel) -> None:
        """The application has returned; what it left undone is undone here."""
        self._server.settle(channel)
        if self._answered is not channel:
            return
        self._answered = None
        has_begun = channel.has_begun
        channel.leave()  # tasks that the application has left behind must not write after that
        if not has_begun:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        else:
            self._break_off(channel)

    # What the server asks of it.

    def close_if_idle(self) -> None:
        """Close, if no request is under way."""
        if self._answered is None and not self._waiting and not self._is_lingering:
            self._close()

    def expire(self, now: float) -> None:
        """The deadline has passed: what for?"""
        limits = self._server.limits
        unsent = self.transport.get_write_buffer_size()
        if unsent and (unsent < self._unsent or not self._unsent):
            self._unsent = unsent  # slow, but it reads
            self.deadline = now + limits.write_stall_s
        elif unsent or self._is_lingering or self.transport.is_closing():
            self.transport.abort()
        elif self._incoming is not None:
            self._body_window(now)
        elif self._answered is not None:
            self.deadline = NEVER
        elif self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._close()

    def _body_window(self, now: float) -> None:
        came = self._body_bytes - self._mark
        self._mark = self._body_bytes
        if came < self._server.limits.body_window_bytes and not self._is_paused:
            self._stop(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.deadline = now + self._server.limits.body_window_s

    # What the transport tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = HeldTransport(transport, self._server.outbox)
        self._client = _address(transport.get_extra_info("peername"))
        self._server_address = _address(transport.get_extra_info("sockname"))
        self._server.enter(self)
        self.deadline = self._server.now + self._server.limits.head_s

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        del sizehint
        return self._server.inbox

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        if self._is_stopped:
            self._discard(nbytes)
            return
        self._is_whole = False
        self._is_large = nbytes > self._server.limits.head_bytes
        at = nbytes
        try:
            self._parser.feed_data(self._server.inbox[:nbytes])
        except httptools.HttpParserUpgrade as upgrade:
            at = upgrade.args[0]
        except httptools.HttpParserError as error:
            self._stop(_status_of(error))
        if self._plain is not None:
            self._ignore_upgrade(at, nbytes)
        if self._is_stopped:
            return
        if self._incoming is not None:
            self._came_of_body(self._incoming, nbytes)
        elif not self._is_whole or self._target:
            # Of a read that brought more than this head, it is not known how much was its own.
            self._came_of_head(1 if self._is_whole else nbytes)

    def eof_received(self) -> None:
        """The client has ended its side: it has left. The transport closes itself."""
        self.transport.flush()
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        del exc
        self._leave()
        del self._parser  # Parser and connection hold each other: this lets both go at once.
        self._server.leave(self)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._is_full = True
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self._server.now + self._server.limits.write_stall_s
        if self._answered is not None:
            self._answered.is_full = True

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._is_full = False
        self._unsent = 0
        if self._answered is not None:
            is_whole = self._incoming is not self._answered
            self.deadline = NEVER if is_whole else self._server.now + self._server.limits.body_window_s
            self._answered.make_room()
        elif self._is_lingering or self.transport.is_closing():
            pass  # what waits is not answered any more
        elif not self._is_stopped or self._waiting or self._refusal is not None:
            self._go_on()

    # What the parser tells it.

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; after the body, a trailer, which nobody here reads."""
        if self._incoming is None:
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is complete: have it answered, or let it wait."""
        parser = self._parser
        server = self._server
        target, headers = self._target, self._headers
        limits = server.limits
        may_be_large = self._is_large or self._head_bytes
        if len(headers) > limits.head_lines or (may_be_large and size_of(target, headers) > limits.head_bytes):
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        if parser.should_upgrade():
            self._plain = without_upgrade(method, target, version, headers)
            return
        is_http11 = version == "1.1"
        keeps_alive = is_http11 and parser.should_keep_alive()
        channel = Channel(self, server, headers, is_head=method == "HEAD", is_http11=is_http11, keeps_alive=keeps_alive)
        scope = scope_of(method, target, version, headers, channel)
        scope["client"], scope["server"] = self._client, self._server_address
        self._target = b""
        self._headers = []
        self._head_bytes = 0
        self._is_final = not keeps_alive
        if self._answered is None and not self._is_full and not self._waiting:
            self._incoming = self._answered = channel
            server.run(channel, scope)
        else:
            self._wait(channel, scope)
            self._incoming = channel

    def on_chunk_header(self) -> None:
        """The body is chunked."""
        incoming = self._incoming
        if incoming is not None and not self._body_bytes:
            check_coding(incoming.request_headers, is_http11=incoming.is_http11)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._incoming is not None:
            self._body_bytes += len(body)
            self._incoming.push(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return  # it is to be read again
        self._is_whole = incoming.is_whole = True
        self._body_bytes = self._read_bytes = self._mark = self._bodiless = self._seen_bytes = 0
        self._is_stopped = self._is_final
        if not self._is_full:
            self.deadline = NEVER
        incoming.wake()

    # What follows from it.

    def _wait(self, channel: Channel, scope: dict[str, Any]) -> None:
        if self._waiting is None:
            self._waiting = deque()
        elif len(self._waiting) >= self._server.limits.pipelined:
            self._waiting[-1][0].keeps_alive = False
            self._lingered_bytes += 1
            raise Refused(None)
        self._waiting.append((channel, scope))

    def _go_on(self) -> None:
        """The last response has ended, and there is room for another."""
        limits, now = self._server.limits, self._server.now
        if self._waiting:
            channel, scope = self._waiting.popleft()
            self.deadline = now + limits.body_window_s if channel is self._incoming else NEVER
            self._answered = channel
            self._server.run(channel, scope)
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif self._server.closes_idle:
            self._close()
        else:
            self.deadline = now + (limits.head_s if self._head_bytes else limits.keep_alive_s)

    def _came_of_head(self, nbytes: int) -> None:
        """A head is not whole yet."""
        server = self._server
        if (
            not self._head_bytes
            and nbytes <= len(EMPTY_LINES)
            and EMPTY_LINES.startswith(server.inbox[:nbytes].tobytes())
        ):
            return  # as some clients end a body: it is no request's first byte
        if self._answered is None:
            self.deadline = min(self.deadline, server.now + server.limits.head_s)
        self._head_bytes += nbytes
        if self._head_bytes > server.limits.head_bytes or len(self._headers) > server.limits.head_lines:
            self._stop(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _came_of_body(self, incoming: Channel, nbytes: int) -> None:
        """A body is not whole yet."""
        server = self._server
        if not self._read_bytes and not self._is_full:
            # `now` may be a sweep old: an application with a timer as long as this one comes first, and says why.
            self.deadline = server.now + server.limits.sweep_s + server.limits.body_window_s
        self._read_bytes += nbytes
        other_bytes = self._read_bytes - self._body_bytes
        self._bodiless = self._bodiless + nbytes if self._body_bytes == self._seen_bytes else 0
        self._seen_bytes = self._body_bytes
        may_be_other = 2 * server.limits.head_bytes
        if self._bodiless > may_be_other or other_bytes > may_be_other + OVERHEAD * self._body_bytes:
            self._stop(HTTPStatus.BAD_REQUEST)
            return
        if incoming.unread_bytes > HIGH_WATER_BYTES and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        incoming.wake()

    def _ignore_upgrade(self, at: int, nbytes: int) -> None:
        """Read the request again, as if it had not asked: its parser takes what follows for another protocol's."""
        while self._plain is not None and not self._is_stopped:
            head, self._plain = self._plain, None
            self._target, self._headers, self._head_bytes = b"", [], 0
            self._parser = parser = httptools.HttpRequestParser(self)
            try:
                parser.feed_data(head)
                if at < nbytes:
                    parser.feed_data(self._server.inbox[at:nbytes])
            except httptools.HttpParserUpgrade as again:
                at += again.args[0]
            except httptools.HttpParserError as error:
                self._stop(_status_of(error))

    # How it ends.

    def _stop(self, status: HTTPStatus | None) -> None:
        """Nothing more is read as a request. What came whole is answered first; then comes this status."""
        if self._is_stopped:
            return  # it is what came after the last request
        self._is_stopped = True
        incoming, self._incoming = self._incoming, None
        if incoming is not None and incoming is self._answered:
            self._answered = None
            has_begun = incoming.has_begun
            incoming.leave()
            if has_begun or status is None:
                self._break_off(incoming)
            else:
                self._refuse(status)
            return
        if incoming is not None and self._waiting:
            self._waiting.pop()
        self._refusal = status
        if not self._is_full:
            self.deadline = NEVER
        if self._answered is None and not self._waiting and status is not None:
            self._refuse(status)

    def _refuse(self, status: HTTPStatus) -> None:
        self._refusal = None
        if not self.transport.is_closing():
            self.transport.write(refusal(status, self._server.date))
        self._linger()

    def _linger(self) -> None:
        """End our side, and read on for a moment: closed with bytes unread, the client might lose the response."""
        self._is_stopped = self._is_lingering = True
        self._incoming = None
        self.deadline = self._server.now + self._server.limits.linger_s
        if not self.transport.is_closing():
            self.resume_reading()
            try:
                self.transport.write_eof()
            except OSError:  # it is not connected any more
                self.transport.abort()

    def _discard(self, nbytes: int) -> None:
        self._lingered_bytes += nbytes
        if self._lingered_bytes > self._server.limits.linger_bytes:
            if self._is_lingering:
                self.transport.abort()
            elif not self._is_paused:
                self._is_paused = True
                self.transport.pause_reading()

    def _close(self) -> None:
        if self._lingered_bytes and not self._is_lingering:
            self._linger()
            return
        self._is_stopped = True
        self.deadline = self._server.now + self._server.limits.write_stall_s
        self.transport.close()

    def _break_off(self, channel: Channel) -> None:
        """Close in the middle of a response, so that the client cannot take what it has for the whole."""
        if channel.ends_with_connection and not self.transport.is_closing():
            self.transport.flush()
            one: socket.socket = self.transport.get_extra_info("socket")
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()
        else:
            self._close()

    def _leave(self) -> None:
        """The client is gone, or its socket is."""
        self._is_stopped = True
        self._waiting = self._incoming = self._refusal = None
        self.deadline = self._server.now + self._server.limits.write_stall_s
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.leave()


def _address(name: tuple[str, int] | str | None) -> tuple[str, int] | None:
    """Host and port, as the scope has them; None for a Unix socket."""
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _status_of(error: httptools.HttpParserError) -> HTTPStatus | None:
    """What the client is told. A fault of ours in one of the parser's callbacks is none of the client's.

    The parser hangs what a callback raised on its own error, where no other error is being handled.
    """
    if isinstance(error, httptools.HttpParserCallbackError):
        cause: BaseException | None = cast("BaseException", error).__context__
        if not isinstance(cause, Refused):
            raise error
        return cause.status
    return HTTPStatus.BAD_REQUEST
