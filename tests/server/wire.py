"""A server of ours on loopback, and clients that speak to it in bytes."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from raw_http import RawClient, connected
from trunkline.server import Server, ServerLimits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    App = Callable[[Any, Any, Any], Awaitable[None]]

_DATE = re.compile(rb"date: [^\r]+ GMT\r\n")
QUICK = 0.05
"""A sweep often enough for the deadlines of a test."""


class Serving:
    """A running server."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.server._connections)

    def client(self) -> Any:
        """A connection to it."""
        return connected(self)


@asynccontextmanager
async def serving(app: App, **limits: Any) -> AsyncGenerator[Serving]:
    """Serve this application under these limits; at the end nothing is open any more."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    given: dict[str, Any] = {"sweep_s": QUICK, **limits}
    server = Server(app, ServerLimits(**given))
    await server.start([listening])
    try:
        yield Serving(server, listening.getsockname()[1])
    finally:
        await server.close(within_s=1)
        assert not server._connections
        assert not server._running


def without_date(data: bytes) -> bytes:
    """What was answered, less what changes every second."""
    return _DATE.sub(b"", data)


async def asked(app: App, data: bytes, **limits: Any) -> bytes:
    """All that the server answers to these bytes until it closes, or says nothing for a moment."""
    async with serving(app, **limits) as it, it.client() as client:
        await client.send(data)
        return without_date(await heard(client))


async def heard(client: RawClient, silence_s: float = 0.3) -> bytes:
    """What comes until the end, or until nothing more does."""
    pieces: list[bytes] = []
    try:
        while True:
            async with asyncio.timeout(silence_s):
                piece = await client.reader.read(1 << 20)
            if not piece:
                break
            pieces.append(piece)
    except (TimeoutError, ConnectionResetError):
        pass
    return b"".join(pieces)


def get(target: str = "/", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: localhost", *headers, "", ""]).encode()


def post(body: bytes, *headers: str, target: str = "/", length: int | None = None) -> bytes:
    """A request with a body; `length` where it lies."""
    declared = len(body) if length is None else length
    return get(target, f"Content-Length: {declared}", *headers, method="POST") + body


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Say hello, whole."""
    await answer(send, b"hello")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Say what was said."""
    await answer(send, await body_of(receive))


async def answer(send: Any, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    """A whole response."""
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Any) -> bytes:
    """The whole body."""
    pieces: list[bytes] = []
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


def channel_of(scope: Any) -> Any:
    """The extension."""
    return scope["extensions"]["trunkline.channel"]
