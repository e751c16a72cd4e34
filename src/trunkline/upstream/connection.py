"""One HTTP/1.1 connection to an upstream: an asyncio protocol under the client, one exchange at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import httptools

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.outbox import HeldTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.outbox import Outbox
    from trunkline.upstream.limits import ClientLimits

INBOX_BYTES: Final = 16 * 1024
"""The most that one read of a socket brings: with `HIGH_WATER_BYTES`, the bound of what one stream buffers."""

HIGH_WATER_BYTES: Final = 16 * 1024
"""Unread bytes over which the socket is no longer read, until its reader has taken them."""

TAKEN_BYTES: Final = 16 * 1024
"""The most that a reader takes at once: whoever reads a stream may have it several times, as events and as text."""

WRITE_BYTES: Final = 64 * 1024
"""A request up to this size is one write; a larger body goes in pieces, as fast as the socket takes them."""

TLS_BYTES: Final = 32 * 1024
"""Bytes not deciphered yet over which a loop reads no more of them. One read of its own may come on top: 256 KiB."""

_NOT_CODED: Final = frozenset({"", "identity"})
_WITHOUT_BODY: Final = frozenset({204, 304})


class _StopParsing(Exception):
    """Raised in a callback of the parser: nothing after this point is to be read."""


class Connection(asyncio.BufferedProtocol):
    """A connection: owns its socket, its parser, and what has arrived but is not read yet.

    Everything that the network does changes its state synchronously, in a callback, and wakes the one task that
    may wait for `arrival`, or calls the one that listens. At most `HIGH_WATER_BYTES + INBOX_BYTES` are buffered.
    `inbox` is a buffer that all connections of one loop share: it is empty again before the loop turns to the next.
    What is sent leaves with what else is written in the same turn, through the `outbox` that they share as well.

    `status` and `headers` (lower-case names, repeated ones joined by ", ") are the current answer's. `on_end` is
    called once, when the connection ends or is aborted; `lost` is done when its socket is closed.
    """

    __slots__ = (
        "_answered",
        "_arrived",
        "_bodiless",
        "_closed",
        "_complete",
        "_deadline",
        "_exchanges",
        "_failure",
        "_has_head",
        "_head_only",
        "_head_size",
        "_header_lines",
        "_inbox",
        "_is_busy",
        "_is_sending",
        "_keeps_alive",
        "_limits",
        "_listener",
        "_loop",
        "_name",
        "_on_end",
        "_outbox",
        "_parser",
        "_reading_paused",
        "_sent_at",
        "_timer",
        "_timer_at",
        "_transport",
        "_until_eof",
        "_waiter",
        "_writing_paused",
        "headers",
        "idle_since",
        "lost",
        "on_body",
        "status",
    )

    def __init__(
        self,
        name: str,
        inbox: memoryview,
        outbox: Outbox,
        limits: ClientLimits,
        on_end: Callable[[Connection], None],
    ) -> None:
        self._name = name
        self._inbox = inbox
        self._outbox = outbox
        self._limits = limits
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._arrived: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._arrived.append
        """What the parser tells of a piece of the body."""
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._listener: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._sent_at = 0.0
        self._closed = False
        self._reading_paused = False
        self._writing_paused = False
        self._exchanges = 0
        self.idle_since = 0.0
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._failure: Problem | None = None
        self._clear()

    def _clear(self) -> None:
        """No exchange yet: nothing is expected, nothing has arrived."""
        self._is_busy = False
        self._is_sending = False
        """Whether some of the request is not written yet: whoever is cancelled then leaves it cut."""
        self._head_only = False
        self._answered = False
        self._has_head = False
        self._complete = False
        self._keeps_alive = False
        self._until_eof = False
        self._bodiless = 0
        self._head_size = 0
        self._header_lines = 0
        self._arrived.clear()
        self.status = 0
        self.headers: dict[str, str] = {}

    # What the client asks of it.

    @property
    def is_complete(self) -> bool:
        """Whether the answer has ended cleanly, as its framing says."""
        return self._complete

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, or was aborted."""
        return self._closed

    @property
    def is_reusable(self) -> bool:
        """Whether it can serve another exchange: the last one ended cleanly, and both sides keep it open."""
        is_sent = not (self._is_sending or self._writing_paused)
        return self._complete and self._keeps_alive and is_sent and not self._closed

    async def exchange(self, head: bytes, body: bytes, deadline: float, *, head_only: bool) -> bool:
        """Send one request and wait for the head of its answer.

        False: this kept connection had gone stale; nothing of an answer came, and another one may be asked.
        Raises Problem, and TimeoutError when the deadline passes; the caller then aborts the connection.
        """
        self._is_busy = True
        self._head_only = head_only
        self._exchanges += 1
        self._sent_at = self._loop.time()
        if len(body) > WRITE_BYTES:
            await self._send_in_pieces(head, body, deadline)
        elif self._failure is None and (transport := self._transport) is not None and not transport.is_closing():
            transport.write(head + body)
        while not self._has_head:
            if self._failure is not None:
                if self._has_gone_stale():
                    return False
                raise self._failure
            if not await self.arrival(deadline):
                raise TimeoutError
        return True

    async def _send_in_pieces(self, head: bytes, body: bytes, deadline: float) -> None:
        transport = cast("asyncio.Transport", self._transport)
        if self._failure is not None or transport.is_closing():
            return
        self._is_sending = True
        transport.write(head)
        view = memoryview(body)
        for at in range(0, len(body), WRITE_BYTES):
            while self._writing_paused and not self._has_head and self._failure is None:
                if not await self.arrival(deadline):
                    raise TimeoutError
            if self._has_head or self._failure is not None or transport.is_closing():
                return  # An early answer, such as a 413: the rest is not wanted, and what is cut cannot be kept.
            transport.write(view[at : at + WRITE_BYTES])
        self._is_sending = False

    def _has_gone_stale(self) -> bool:
        return (
            self._exchanges > 1
            and not self._answered
            and self._failure is not None
            and self._failure.kind is Kind.UNREACHABLE
            and self._loop.time() - self._sent_at < self._limits.stale_s
        )

    def arrival(self, deadline: float) -> asyncio.Future[bool]:
        """A future that is True when anything has changed, False when the deadline passed first.

        One timer serves all waits of all exchanges: as deadlines move on, it is seldom set anew.
        """
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("two tasks read one stream")
        self._deadline = deadline
        if self._timer is None:
            self._set_timer()
        elif self._timer_at > deadline:
            self._timer.cancel()
            self._set_timer()
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call this whenever anything has changed, in place of `arrival`; None ends it. It must not raise."""
        self._listener = listener

    def take(self) -> bytes | None:
        """What has arrived and was not read, at most `TAKEN_BYTES`; None if nothing has. Lets the upstream go on.

        b"" at the clean end of the message. Raises Problem where the connection failed before it.
        """
        arrived = self._arrived
        if not arrived:
            if self._complete:
                return b""
            if self._failure is not None:
                raise self._failure
            return None
        data = arrived.pop() if len(arrived) == 1 else self._take_some()
        if self._reading_paused and self.unread_bytes <= HIGH_WATER_BYTES and not self._closed:
            self._reading_paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        return data

    def take_whole(self) -> bytes | None:
        """What is left of the body, where all of it has arrived, in one piece."""
        if not self._complete or self._reading_paused or len(self._arrived) != 1:
            return None
        return self._arrived.pop()

    def _take_some(self) -> bytes:
        """As many of the first pieces as may be taken at once: none is larger than that."""
        pieces, size = 0, 0
        for piece in self._arrived:
            if size + len(piece) > TAKEN_BYTES:
                break
            pieces += 1
            size += len(piece)
        data = b"".join(self._arrived[:pieces])
        del self._arrived[:pieces]
        return data

    @property
    def unread_bytes(self) -> int:
        """How much has arrived and was not read."""
        return sum(map(len, self._arrived))

    def rest(self) -> None:
        """Give up the last exchange and be ready for the next one. Only while it `is_reusable`."""
        self._clear()
        self._listener = None
        self._wake()
        self.idle_since = self._loop.time()
        if self._reading_paused:
            self._reading_paused = False
            cast("asyncio.Transport", self._transport).resume_reading()

    def abort(self, reason: Problem | None = None) -> None:
        """Close the socket at once. What has arrived can still be taken; `reason` is what a reader is told after it."""
        if not self._complete and self._failure is None:
            self._failure = reason or self._problem(Kind.TRUNCATED, "The router closed the connection to {}.")
        if not self._closed:
            self._closed = True
            if self._transport is not None and not self._loop.is_closed():
                self._transport.abort()
            self._stop_timer()
            self._on_end(self)
        self._wake()

    def discard(self) -> None:
        """It was never connected: no transport will say that it is lost."""
        self.abort()
        self.connection_lost(None)

    # The timer of the one task that waits.

    def _set_timer(self) -> None:
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        # Loops may fire a timer up to one tick of their clock early.
        if self._deadline - self._loop.time() > 0.001:
            self._set_timer()
            return
        self._wake(in_time=False)

    def _wake(self, *, in_time: bool = True) -> None:
        if self._listener is not None:
            self._listener()
            return
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(in_time)

    # What the transport tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected, and TLS is up where it is asked for."""
        self._transport = HeldTransport(transport, self._outbox)
        if (bound := getattr(transport, "set_read_buffer_limits", None)) is not None:
            bound(high=TLS_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        del sizehint
        return self._inbox

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        parser, arrived = self._parser, self._arrived
        if self._closed or parser is None:
            return
        if not self._is_busy or self._complete:
            # Nobody asked for these bytes: whatever they are, they are not the next answer.
            self._keeps_alive = False
            self.abort(self._problem(Kind.UNREACHABLE, "{} spoke out of turn."))
            return
        self._answered = True
        unread = len(arrived)
        try:
            parser.feed_data(self._inbox[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._stopped(error)
        else:
            if len(arrived) > unread:
                self._bodiless = 0
            else:
                self._came_bodiless(nbytes)
        # One piece is never more than a read.
        if len(arrived) > 1 and not self._reading_paused and not self._closed and self.unread_bytes > HIGH_WATER_BYTES:
            self._reading_paused = True
            cast("asyncio.Transport", self._transport).pause_reading()
        if self._listener is not None:
            self._listener()
        else:
            self._wake()

    def _came_bodiless(self, nbytes: int) -> None:
        """Heads, chunk extensions and trailers: they must have an end."""
        self._bodiless += nbytes
        if self._bodiless > self._limits.header_bytes and not self._complete:
            self._refuse(f"headers over the limit of {self._limits.header_bytes // 1024} KiB")
            self.abort()

    def eof_received(self) -> None:
        """The upstream has ended its side: a clean end where the body goes on until then."""
        if self._until_eof and self._has_head and self._failure is None:
            self._complete = True
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        del exc
        self._ended()
        # Parser and connection hold each other, as do TLS and what it calls: this lets all of them go at once.
        self._parser = self._transport = None
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._writing_paused = False
        self._wake()

    def _ended(self) -> None:
        if self._has_head:
            self.abort(self._problem(Kind.TRUNCATED, "The connection to {} was lost in the middle of its answer."))
        else:
            self.abort(self._problem(Kind.UNREACHABLE, "{} closed the connection before it answered."))

    def _stopped(self, error: Exception) -> None:
        """The parser stopped: at the message's end, at what we refuse, or at what is not HTTP."""
        self._keeps_alive = False
        if not self._complete and self._failure is None:
            self._refuse(f"an answer that is not valid HTTP/1.1 ({error})")
        self.abort()

    def _refuse(self, what: str) -> None:
        self._failure = Problem(
            Kind.UPSTREAM_INVALID,
            f"{self._name} sent {what}.",
            source=Source.UPSTREAM,
            retry=Retry.ELSEWHERE,
            upstream_status=self.status or None,
        )

    def _problem(self, kind: Kind, message: str) -> Problem:
        return Problem(kind, message.format(self._name), source=Source.NETWORK, retry=Retry.ELSEWHERE)

    # What the parser tells it.

    def on_message_begin(self) -> None:
        """A status line begins."""
        if self._complete:
            raise _StopParsing

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; after the body, a trailer, which nobody here reads."""
        self._header_lines += 1
        self._head_size += len(name) + len(value) + 4
        if self._header_lines > self._limits.header_count:
            self._refuse(f"more than {self._limits.header_count} headers")
            raise _StopParsing
        if self._has_head:
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").rstrip(" \t")
        known = self.headers.get(key)
        self.headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        """The head is complete: what does it say about the body?"""
        parser = self._parser
        assert parser is not None  # noqa: S101 - it is what calls this
        self.status = status = parser.get_status_code()
        version = parser.get_http_version()
        if version not in {"1.1", "1.0"} or status < 100 or status == 101:
            self._refuse(f"status {status} of HTTP/{version}, which was not asked for")
            raise _StopParsing
        headers = self.headers
        if status < 200:
            if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
                self._refuse(f"status {status} with a body")  # which would stand before that of the answer
                raise _StopParsing
            headers.clear()
            return
        if self._head_size > self._limits.header_bytes:
            self._refuse(f"headers over the limit of {self._limits.header_bytes // 1024} KiB")
            raise _StopParsing
        self._keeps_alive = version == "1.1" and parser.should_keep_alive()
        transfer = headers.get("transfer-encoding")
        if transfer is None:
            self._until_eof = "content-length" not in headers and status not in _WITHOUT_BODY
        elif transfer.lower() != "chunked":
            self._refuse("a transfer encoding that was not asked for")
            raise _StopParsing
        is_coded = headers.get("content-encoding", "").lower() not in _NOT_CODED
        if is_coded and status < 300:
            self._refuse("a compressed body, which was not asked for")
            raise _StopParsing
        self._has_head = True
        if is_coded or self._head_only:
            # What a failure's status and headers say is worth more than a body that we cannot read.
            self._complete = True
            raise _StopParsing

    def on_message_complete(self) -> None:
        """The message has ended as its framing says; an informational one is not the answer."""
        if self._has_head:
            self._complete = True
