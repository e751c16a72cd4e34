"""A TCP proxy on loopback that can fall silent, and refuse: what a network does to a database's clients."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Opener = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class TcpProxy:
    """Forwards connections of `port` to whatever `connect` opens.

    `hang`: nothing passes any more, and nothing is closed; `restore` delivers what was held. `hang_after`: the same
    from the moment that a client has said this, which still arrives. `refuse`: running connections are reset and new
    ones refused.
    """

    def __init__(self, connect: Opener) -> None:
        self._connect = connect
        self._passing = asyncio.Event()
        self._passing.set()
        self._last_word: bytes | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang(self) -> None:
        """Let nothing pass."""
        self._passing.clear()

    def hang_after(self, word: bytes) -> None:
        """Let pass what clients say up to and with this word, and nothing after it."""
        self._last_word = word

    async def refuse(self) -> None:
        """Reset all connections, and take no new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def restore(self) -> None:
        """Let everything pass again."""
        self._passing.set()
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        with suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await self._connect()
            self._writers.add(far_writer)
            await asyncio.gather(self._pump(reader, far_writer, is_client=True), self._pump(far_reader, writer))
        for each in (writer, locals().get("far_writer")):
            if each is not None:
                self._writers.discard(each)
                each.transport.abort()
        self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool = False
    ) -> None:
        while chunk := await reader.read(65536):
            await self._passing.wait()
            if is_client and self._last_word is not None and self._last_word in chunk:
                self._last_word = None
                self.hang()
            writer.write(chunk)
            await writer.drain()
        writer.close()
