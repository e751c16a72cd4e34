"""A proxy on loopback that opens tunnels to this machine, and what the tests ask of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.caller import Secret
from trunkline.core.proxy import Proxy
from upstream.literal_server import LiteralServer, Peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.core.catalog import Origin

OPEN: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ConnectProxy(LiteralServer):
    """Leads every CONNECT to the port that it names, on 127.0.0.1, whatever the host. `asked` are their heads.

    `credential`: without it, it says 407. `answer` is what it says to one that it grants. `lag_s` is how
    long it lets bytes of the origin's gather. `script` replaces all that.
    """

    def __init__(
        self,
        script: Callable[[Peer], Awaitable[object]] | None = None,
        *,
        credential: str | None = None,
        answer: bytes = OPEN,
        lag_s: float = 0.0,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(script or self._lead, host=host)
        self._credential = credential
        self._granted = answer
        self._lag_s = lag_s
        self.asked: list[bytes] = []

    def proxy(self, credential: str | None = None) -> Proxy:
        """This proxy, as a provider has it."""
        return Proxy("127.0.0.1", self.origin.port, None if credential is None else Secret(credential))

    def to(self, origin: Origin, credential: str | None = None) -> Origin:
        """The origin, by way of this proxy."""
        return msgspec.structs.replace(origin, proxy=self.proxy(credential))

    async def _lead(self, peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        if self._credential is not None:
            token = base64.b64encode(self._credential.encode())
            if b"\r\nproxy-authorization: Basic %b\r\n" % token not in head:
                await peer.send(b"HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 3\r\n\r\nno.")
                return
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await peer.send(self._granted)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(peer.reader, writer))
                both.create_task(_pump(reader, peer.writer, self._lag_s))
        finally:
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lag_s: float = 0.0) -> None:
    with contextlib.suppress(ConnectionError):
        await asyncio.sleep(lag_s)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(lag_s)
    writer.close()
