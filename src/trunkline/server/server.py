"""The server: accepts connections, watches their deadlines, and drains."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from trunkline.outbox import Outbox
from trunkline.server.connection import Connection
from trunkline.server.limits import ServerLimits

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from trunkline.server.channel import App, Channel

INBOX_BYTES: Final = 128 * 1024
"""The most that one read of a socket brings."""

BACKLOG: Final = 2048

CANCEL_S: Final = 0.2
"""What requests get to end in once they are cancelled."""


class Server:
    """Serves one application over sockets that listen already. Within a running loop only.

    Owns its connections, the tasks that answer their requests, the one timer that watches all deadlines, and what the
    connections share: the inbox, the outbox, the coarse time `now` and the Date header's line.
    """

    def __init__(self, app: App, limits: ServerLimits | None = None) -> None:
        self._app = app
        self.limits = limits or ServerLimits()
        self.inbox = memoryview(bytearray(INBOX_BYTES))
        self.outbox = Outbox()
        self._loop = asyncio.get_running_loop()
        self._listening: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._running: dict[Channel, asyncio.Task[None]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self.is_closing = False
        """Whether every response closes its connection."""
        self.closes_idle = False
        """Whether a connection without a request is closed."""
        self.now = 0.0
        self.date = b""
        self._read_clocks()

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections, from now on."""
        for one in sockets:
            self._listening.append(await self._loop.create_server(lambda: Connection(self), sock=one, backlog=BACKLOG))

    def stop_accepting(self) -> None:
        """Close this process's listening sockets; connections live on."""
        for one in self._listening:
            one.close()
        self._listening.clear()

    def say_close(self) -> None:
        """Every response that begins from now on closes its connection."""
        self.is_closing = True

    def close_idle(self) -> None:
        """Close the connections that wait for a request; the others close after their response."""
        self.closes_idle = True
        for connection in tuple(self._connections):
            connection.close_if_idle()

    async def close(self, within_s: float) -> None:
        """Accept nothing more, and let what runs end; when the time is over, end it."""
        self.stop_accepting()
        self.say_close()
        self.close_idle()
        if self._connections or self._running:
            self._emptied = self._loop.create_future()
            await asyncio.wait({self._emptied}, timeout=within_s)
        self.outbox.flush()
        for connection in tuple(self._connections):
            connection.transport.abort()
        if self._running:
            tasks = tuple(self._running.values())
            self._running.clear()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCEL_S)
        if self._sweeping is not None:
            self._sweeping.cancel()

    # What the connections ask of it.

    def enter(self, connection: Connection) -> None:
        """A connection has opened."""
        self._connections.add(connection)
        if self._sweeping is None:
            self._sweep()
        if self.closes_idle:
            connection.close_if_idle()

    def leave(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        self._look_whether_empty()

    def run(self, channel: Channel, scope: dict[str, Any]) -> None:
        """Have a request answered, in a task."""
        # Not by the loop, which would number it first: that takes a quarter of what a task does.
        self._running[channel] = asyncio.Task(channel.run(self._app, scope), loop=self._loop, name="a request")

    def settle(self, channel: Channel) -> None:
        """A request's task ends."""
        self._running.pop(channel, None)
        if self._emptied is not None:
            self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        if self._emptied is not None and not (self._connections or self._running or self._emptied.done()):
            self._emptied.set_result(None)

    def _read_clocks(self) -> None:
        self.now = self._loop.time()
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()

    def _sweep(self) -> None:
        """Look at every deadline. There is no sweep while there is no connection."""
        if not self._connections:
            self._sweeping = None
            return
        self._sweeping = self._loop.call_later(self.limits.sweep_s, self._sweep)
        self._read_clocks()
        now = self.now
        for connection in [one for one in self._connections if one.deadline <= now]:
            connection.expire(now)
