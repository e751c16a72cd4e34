"""One request and its response: `receive` and `send`, and the same without waiting."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from trunkline.server.response_head import CHUNKED, CONTINUE, LAST_CHUNK, NO_BODY, UNTIL_CLOSE, render

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping

    from trunkline.server.connection import Connection
    from trunkline.server.server import Server

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

JOINED_BYTES: Final = 64 * 1024
"""A piece up to this size is copied into one write with what goes before and after it."""


class Channel:
    """What an application has of one request. The package's docstring gives the promises of its public methods.

    Owns the request's body as far as it has arrived, and the state of the response. The connection drives it: `push`,
    `leave`, and the flags `is_whole` (the request is) and `is_full`.
    """

    __slots__ = (
        "_arrival",
        "_connection",
        "_is_asked_for",
        "_is_head",
        "_is_open",
        "_is_read",
        "_left",
        "_on_disconnect",
        "_pieces",
        "_room",
        "_server",
        "_start",
        "_transport",
        "has_ended",
        "is_full",
        "is_gone",
        "is_http11",
        "is_whole",
        "keeps_alive",
        "request_headers",
        "unread_bytes",
    )

    def __init__(
        self,
        connection: Connection,
        server: Server,
        headers: list[tuple[bytes, bytes]],
        *,
        is_head: bool,
        is_http11: bool,
        keeps_alive: bool,
    ) -> None:
        self._connection = connection
        self._server = server
        self._transport = connection.transport
        self.request_headers = headers
        self._is_head = is_head
        self.is_http11 = is_http11
        self.keeps_alive = keeps_alive
        self._pieces: list[bytes] = []
        self.unread_bytes = 0
        self.is_whole = False
        self._is_read = False
        self._is_asked_for = False
        self.is_gone = False
        self.is_full = False
        self.has_ended = False
        self._is_open = False
        """Whether pieces of the body may be written."""
        self._start: tuple[int, Collection[tuple[bytes, bytes]]] | None = None
        """Status and headers that have not left yet."""
        self._left = 0
        self._arrival: asyncio.Event | None = None
        self._room: asyncio.Event | None = None
        self._on_disconnect: Callable[[], None] | None = None

    async def run(self, app: App, scope: Scope) -> None:
        """Let the application answer."""
        try:
            await app(scope, self.receive, self.send)
        except Exception:  # the one blanket: what an application raises is its connection's end, not the server's
            logging.getLogger("trunkline.server").exception("The application failed")
        finally:
            self._connection.settle(self)

    # The request.

    async def receive(self) -> Message:
        """ASGI's receive."""
        while not (self.is_gone or self.has_ended) and (self._is_read or not (self._pieces or self.is_whole)):
            if not self._is_read:
                self._ask_for_body()
            if self._arrival is None:
                self._arrival = asyncio.Event()
            self._arrival.clear()
            await self._arrival.wait()
        if self.is_gone or self.has_ended:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._take(), "more_body": not self._is_read}

    def take_body(self) -> bytes | None:
        """The whole body, if it is there."""
        return self._take() if self.is_whole and not (self._is_read or self.is_gone) else None

    def _take(self) -> bytes:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread_bytes = 0
        self._is_read = self.is_whole
        self._connection.resume_reading()
        return body

    def _ask_for_body(self) -> None:
        """Say 100 Continue, once, to a client that waits for it."""
        if self._is_asked_for:
            return
        self._is_asked_for = True
        expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.request_headers)
        if expects and self.is_http11 and not self._is_open:
            self._transport.write(CONTINUE)

    def push(self, piece: bytes) -> None:
        """A piece of the body has come."""
        self._pieces.append(piece)
        self.unread_bytes += len(piece)

    def wake(self) -> None:
        """What `receive` waits for may have come."""
        if self._arrival is not None:
            self._arrival.set()

    # The client's leaving.

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Have this called when the client leaves."""
        if self.is_gone:
            callback()
        else:
            self._on_disconnect = callback

    def leave(self) -> None:
        """The client has left, or its request broke off. Called once."""
        self.is_gone = True
        self._is_open = False
        self._pieces.clear()
        self.make_room()
        self.wake()
        callback, self._on_disconnect = self._on_disconnect, None
        if callback is not None and not self.has_ended:
            callback()

    # The response.

    @property
    def has_begun(self) -> bool:
        """Whether anything of the response has left."""
        return (self._is_open or self.has_ended) and self._start is None

    @property
    def ends_with_connection(self) -> bool:
        """Whether nothing but the connection's end tells the body's."""
        return self._left == UNTIL_CLOSE

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status and headers."""
        if self.is_gone:
            return
        if self._is_open or self.has_ended:
            raise RuntimeError("The response has begun already.")
        self._start = status, tuple(headers)
        self._is_open = True

    def write(self, data: bytes) -> None:
        """A piece of the body."""
        if not self._is_open:
            self._refuse_write()
        elif self._start is not None:
            self._put(self._open(None), data)
        elif self._left == CHUNKED and data and len(data) <= JOINED_BYTES:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._put(b"", data)

    def end(self, data: bytes = b"") -> None:
        """The last piece."""
        if not self._is_open:
            self._refuse_write()
            return
        head = b"" if self._start is None else self._open(len(data))
        self._put(head, data, LAST_CHUNK if self._left == CHUNKED else b"")
        self._is_open = False
        self.has_ended = True
        self._on_disconnect = None
        is_short = self._left > 0
        self._connection.finish(self, is_whole=not is_short)
        if self._arrival is not None:
            self._arrival.set()
        if is_short:
            raise RuntimeError("The body is shorter than its content-length.")

    async def writable(self) -> None:
        """Wait for room."""
        while self.is_full and not self.is_gone:
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()

    def make_room(self) -> None:
        """The client has taken enough."""
        self.is_full = False
        if self._room is not None:
            self._room.set()

    async def send(self, message: Message) -> None:
        """ASGI's send."""
        kind = message["type"]
        if kind == "http.response.start":
            self.start(message["status"], [(name.lower(), value) for name, value in message.get("headers", ())])
        elif kind == "http.response.body":
            if not message.get("more_body", False):
                self.end(message.get("body", b""))
                return
            self.write(message.get("body", b""))
            if self.is_full:
                await self.writable()
        else:
            raise RuntimeError(f"This server does not know {kind}.")

    def _open(self, length: int | None) -> bytes:
        """The head, as it leaves."""
        start, self._start = self._start, None
        assert start is not None  # noqa: S101 - the callers looked
        self._is_open = False  # should a header be refused below, nothing has left
        server = self._server
        status, headers = start
        head, self._left, self.keeps_alive = render(
            status,
            headers,
            server.date,
            is_head=self._is_head,
            is_http11=self.is_http11,
            # What is still to come of the request is not read: nothing can follow it.
            keeps_alive=self.keeps_alive and self.is_whole and not server.is_closing,
            length=length,
        )
        self._is_open = True
        return head

    def _put(self, before: bytes, data: bytes, after: bytes = b"") -> None:
        """Write a piece with its framing, in as few writes as its size allows."""
        left = self._left
        if left == NO_BODY:
            data = b""
        elif left == CHUNKED:
            if data:
                before += b"%x\r\n" % len(data)
                after = b"\r\n" + after
        elif left != UNTIL_CLOSE:
            if len(data) > left:
                raise RuntimeError("The body is longer than its content-length.")
            self._left = left - len(data)
        write = self._transport.write
        if len(data) <= JOINED_BYTES:
            if whole := before + data + after:
                write(whole)
        else:
            for piece in (before, data, after):
                if piece:
                    write(piece)

    def _refuse_write(self) -> None:
        if not self.is_gone:
            raise RuntimeError("The response has ended." if self.has_ended else "The response has not begun.")
