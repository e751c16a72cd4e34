"""The one HTTP client: HTTP/1.1 with kept connections. `send(WireRequest) -> WireStream`; its errors are Problems."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.upstream.address import system_resolve
from trunkline.upstream.dial import Dialler
from trunkline.upstream.limits import ClientLimits
from trunkline.upstream.pool import Idle, Pool, closed_problem
from trunkline.upstream.request_head import Heads

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from trunkline.core.catalog import Origin, Timeouts
    from trunkline.dialects.dialect import WireRequest
    from trunkline.upstream.address import Resolve
    from trunkline.upstream.auth import Authenticator
    from trunkline.upstream.connection import Connection

__all__ = ["Client", "ClientLimits", "WireStream"]

CLOSING_S: Final = 1.0
"""How long `aclose` waits for aborted sockets to be closed."""


class WireStream:
    """One answer: its status and headers, and its body, pulled.

    `headers` has lower-case names; repeated ones are joined by ", ". Whoever gets a stream closes it.
    """

    __slots__ = ("_connection", "_pool", "headers", "status", "take")

    def __init__(self, connection: Connection, pool: Pool) -> None:
        self._connection: Connection | None = connection
        self._pool = pool
        self.status: int = connection.status
        self.headers: Mapping[str, str] = connection.headers
        self.take: Callable[[], bytes | None] = connection.take
        """What `read` gives, without waiting: None where nothing has arrived. Raises its Problems."""

    async def read(self, deadline: float) -> bytes:
        """All that has arrived, at least one byte; b"" at the clean end of the message.

        `deadline` is in the loop's time; when it passes, TimeoutError is raised and the stream can still be
        read. Raises Problem TRUNCATED where the connection is lost before the message ends, UPSTREAM_INVALID
        where what comes is not HTTP. Cancelled, it closes the stream.
        """
        while (data := self.take()) is None:
            try:
                in_time = await self.arrival(deadline)
            except asyncio.CancelledError:
                self.close()
                raise
            if not in_time:
                raise TimeoutError
        return data

    def arrival(self, deadline: float) -> asyncio.Future[bool]:
        """A future that is True when there may be something to `take`, False when the deadline passed first."""
        return self._open().arrival(deadline)

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Have this called, in the loop, whenever there may be something to `take`; None ends it. It must not raise."""
        self._open().listen(listener)

    def _open(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the stream is closed")
        return self._connection

    async def read_all(self, deadline: float, limit: int) -> bytes:
        """The body, at most `limit` bytes of it; the rest is not read. Raises as `read` does."""
        if (whole := self._open().take_whole()) is not None:
            return whole[:limit]  # it has come with its head, as small ones do
        data = bytearray()
        while len(data) < limit and (more := await self.read(deadline)):
            data += more
        return bytes(data[:limit])

    def close(self) -> None:
        """Give the connection back if its message has ended cleanly and it can serve again; else close it at once.

        Idempotent. The end counts as soon as it has arrived, read or not.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            self.take = _closed
            connection.listen(None)
            self._pool.leave(connection)

    def __del__(self) -> None:
        if self._connection is not None:
            # Nobody knows when this runs, perhaps after the loop: nothing is kept.
            self._connection.abort()
            self.close()
            warnings.warn("a WireStream was not closed", ResourceWarning, stacklevel=1)


def _closed() -> bytes | None:
    raise RuntimeError("the stream is closed")


class Client:
    """Sends requests over kept connections, one pool for each origin. Owns all its connections.

    `ssl_context` replaces the system's trust; it must verify, and gets its ALPN here. `resolve` replaces the
    system's resolver. `authenticators` sign what goes out for an account, by its name. A proxy is used where the
    request's origin has one, never one of the environment; no redirect is followed, no request sent twice but for one
    case: a kept connection that turns out to have been closed before is replaced once by a new one.
    """

    def __init__(
        self,
        *,
        limits: ClientLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
        authenticators: Mapping[str, Authenticator] | None = None,
    ) -> None:
        self._limits = limits or ClientLimits()
        self._dialler = Dialler(limits=self._limits, ssl_context=ssl_context, resolve=resolve)
        self._authenticators = dict(authenticators or {})
        self._replaced: list[Authenticator] = []
        self._pools: dict[tuple[Origin, bool], Pool] = {}
        self._idle = Idle(self._limits.idle, self._pools)
        self._connections: set[Connection] = set()
        self._heads = Heads()
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def open_connections(self) -> int:
        """Connections in use, idle, or being opened."""
        return sum(pool.open for pool in self._pools.values())

    @property
    def idle_connections(self) -> int:
        """Connections that wait for work."""
        return self._idle.count

    def renew(self, authenticators: Mapping[str, Authenticator]) -> None:
        """Sign by these from now on. Those that they replace, and accounts that are gone, serve who asks already."""
        for name, one in authenticators.items():
            if (old := self._authenticators.get(name)) is not None and old is not one:
                self._replaced.append(old)
        self._authenticators |= authenticators

    async def send(self, request: WireRequest, *, timeouts: Timeouts, deadline: float) -> WireStream:
        """Send a request; return when the head of its answer is here. The stream must be closed.

        `deadline` is in the loop's time and covers all of it: TimeoutError when it passes. Connecting and waiting
        for a connection have timers of their own, `connect_s` and `pool_wait_s`: Problem TIMED_OUT. Other
        Problems: UNREACHABLE (name, address, connection, TLS, closed before an answer), UPSTREAM_INVALID (not
        HTTP, over a limit, compressed), INVALID_REQUEST (a header that would break a line), OVERLOADED, DRAINING;
        those of an Authenticator, where the request's origin has an account.
        """
        if self._is_closed:
            raise closed_problem()
        loop = self._loop = self._loop or asyncio.get_running_loop()
        if loop.time() >= deadline:
            raise TimeoutError
        if request.origin.account:
            request = await self.authenticated(request, deadline)
        head = self._heads.write(request)
        head_only = request.method == "HEAD"
        pool = self._pool(request)
        connection = pool.take()
        if connection is None:
            connection = await pool.enter(wait_s=timeouts.pool_wait_s, deadline=deadline)
        stream = None
        try:
            if connection is not None and not await connection.exchange(
                head, request.body, deadline, head_only=head_only
            ):
                connection = None
            if connection is None:
                connection = await self._connect(pool, request, timeouts.connect_s, deadline)
                await connection.exchange(head, request.body, deadline, head_only=head_only)
            stream = WireStream(connection, pool)
            return stream
        finally:
            if stream is None:
                pool.leave(connection)

    async def authenticated(self, request: WireRequest, deadline: float) -> WireRequest:
        """The request with the headers that prove to its origin's account who asks. Raises as `send` does."""
        added = await self._authenticators[request.origin.account].headers(request, self, deadline)
        names = {name.lower() for name, _ in added}
        kept = tuple(header for header in request.headers if header[0].lower() not in names)
        return msgspec.structs.replace(request, headers=(*kept, *added))

    async def aclose(self) -> None:
        """Close every connection. Streams that are still open fail with Problem DRAINING, as do those who wait."""
        self._is_closed = True
        for authenticator in (*self._authenticators.values(), *self._replaced):
            await authenticator.aclose()
        for pool in list(self._pools.values()):
            pool.close()
        ending = [connection.lost for connection in self._connections]
        for connection in list(self._connections):
            connection.abort(closed_problem())
        if ending:
            await asyncio.wait(ending, timeout=CLOSING_S)

    def _pool(self, request: WireRequest) -> Pool:
        # A connection to a private address that one request may use must never serve one that may not.
        key = (request.origin, request.allow_private)
        pool = self._pools.get(key)
        if pool is None:
            pool = Pool(request.origin.described, self._limits, self._idle, lambda: self._pools.pop(key, None))
            self._pools[key] = pool
        return pool

    async def _connect(self, pool: Pool, request: WireRequest, connect_s: float, deadline: float) -> Connection:
        connection = await self._dialler.dial(request, connect_s=connect_s, deadline=deadline, on_end=pool.drop)
        self._connections.add(connection)
        connection.lost.add_done_callback(lambda _: self._connections.discard(connection))
        if self._is_closed:
            connection.abort(closed_problem())
        return connection
