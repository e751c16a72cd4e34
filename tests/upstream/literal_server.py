"""A server on loopback that speaks literal bytes, and what the client's tests ask of it and of a client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pytest

from trunkline.core.catalog import Origin, Timeouts
from trunkline.core.problem import Problem
from trunkline.dialects.dialect import WireRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import TracebackType

    from trunkline.upstream.client import Client, WireStream

SOON_S: Final = 5.0
"""Far more than anything here takes."""

OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


class Peer:
    """The server's side of one connection. `has_left`: the client was seen to close it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.has_left = False

    async def request(self) -> bytes:
        """The next whole request; IncompleteReadError when the client has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name == b"content-length":
                length = int(value)
        return head + await self.reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        """Each piece in a turn of the loop of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            for _ in range(3):
                await asyncio.sleep(0)

    async def until_gone(self) -> bytes:
        """Return what still comes when the client has closed the connection."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SOON_S):
                while more := await self.reader.read(65536):
                    rest += more
        self.has_left = True
        return rest

    def reset(self) -> None:
        """End the connection with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class LiteralServer:
    """Runs `script` for every connection; the connection is closed when the script returns.

    `answers` is the other way to say what it does: each request, on whichever connection, gets the next of them,
    the last one again and again.
    """

    def __init__(
        self,
        script: Callable[[Peer], Awaitable[object]] | None = None,
        *,
        answers: tuple[bytes, ...] = (OK,),
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._script = script or self._answer
        self._answers = list(answers)
        self._tls = tls
        self._host = host
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []
        self.asked_on: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def accepted(self) -> int:
        """How many connections were made."""
        return len(self.peers)

    @property
    def origin(self) -> Origin:
        return Origin("https" if self._tls else "http", self._host, self._port)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls, backlog=512)
        self._port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await self._script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            peer.has_left = True
        except asyncio.CancelledError:
            pass  # The server is stopping; the callback that asyncio puts on this task cannot bear a cancelled one.
        finally:
            writer.close()

    async def _answer(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            self.requests.append(request)
            self.asked_on.append(self.peers.index(peer))
            peer.writer.write(self._answers[0] if len(self._answers) == 1 else self._answers.pop(0))


@contextlib.asynccontextmanager
async def opened(client: Client) -> AsyncGenerator[Client]:
    """A client that is closed in the end, and must then hold nothing."""
    try:
        yield client
    finally:
        await client.aclose()
    assert client.open_connections == 0
    assert client.idle_connections == 0


def asking(
    origin: Origin,
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"{}",
    allow_private: bool = True,
) -> WireRequest:
    return WireRequest(method=method, origin=origin, path=path, headers=headers, body=body, allow_private=allow_private)


def soon(seconds: float = SOON_S) -> float:
    """A deadline."""
    return asyncio.get_running_loop().time() + seconds


async def send(
    client: Client, request: WireRequest | Origin, *, timeouts: Timeouts | None = None, deadline: float | None = None
) -> WireStream:
    if isinstance(request, Origin):
        request = asking(request)
    return await client.send(request, timeouts=timeouts or Timeouts(), deadline=deadline or soon())


async def read_to_end(stream: WireStream) -> bytes:
    """The whole body; the stream is closed."""
    try:
        return await stream.read_all(soon(), 1 << 30)
    finally:
        stream.close()


async def fetch(client: Client, request: WireRequest | Origin) -> bytes:
    """The body of the answer to a request."""
    return await read_to_end(await send(client, request))


async def problem_of(asked: Awaitable[object]) -> Problem:
    """The problem that this raises."""
    with pytest.raises(Problem) as caught:
        await asked
    return caught.value


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens in another task."""
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


def open_sockets() -> int:
    """How many sockets this process has."""
    count = 0
    for entry in list(Path("/dev/fd").iterdir()):
        with contextlib.suppress(OSError):  # The descriptor of this very listing is closed by now.
            count += stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode)
    return count
