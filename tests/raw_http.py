"""Bytes on a socket: for clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Listener(Protocol):
    """Whatever listens on a port of 127.0.0.1."""

    port: int


class RawClient:
    """One connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def chat(self, message: str = "Hi") -> None:
        """Send a whole chat request."""
        body = json.dumps({"message": message}).encode()
        await self.send(request("POST", "/api/chat", body))

    def finish(self) -> None:
        """Leave as a browser does: FIN."""
        self.writer.close()

    def reset(self) -> None:
        """Leave as a crash does: RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def read_until(self, mark: bytes, timeout_s: float = 10) -> bytes:
        """Everything up to and with this mark."""
        async with asyncio.timeout(timeout_s):
            return await self.reader.readuntil(mark)

    async def read_all(self, timeout_s: float = 10) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(timeout_s):
            try:
                return await self.reader.read(-1)
            except ConnectionResetError:
                return b""


def request(method: str, target: str, body: bytes = b"", *headers: str, host: str = "localhost") -> bytes:
    """A plain request. `headers` come on top of Host, Content-Type and Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body or method in {"POST", "PUT"}:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def connected(router: Listener) -> AsyncGenerator[RawClient]:
    """A connection to this router, closed at the end whatever happens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port, limit=1 << 20)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


async def ask(router: Listener, data: bytes, timeout_s: float = 10) -> tuple[int, dict[str, str], bytes]:
    """Send these bytes, and read one response. (0, {}, b"") if the server just closes."""
    async with connected(router) as client:
        await client.send(data)
        try:
            head = await client.read_until(b"\r\n\r\n", timeout_s)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return 0, {}, b""
        status_line, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        has_body = not data.startswith(b"HEAD ")
        async with asyncio.timeout(timeout_s):
            body = await client.reader.readexactly(int(headers.get("content-length", "0")) if has_body else 0)
        return int(status_line.split()[1]), headers, body
