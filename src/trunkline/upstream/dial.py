"""From an origin to an open connection: its addresses in turn, TLS, and a tunnel where a proxy leads there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from typing import TYPE_CHECKING, TypeVar

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.outbox import Outbox
from trunkline.upstream.address import check_unresolved, find_addresses, find_proxy_addresses
from trunkline.upstream.connection import INBOX_BYTES, Connection
from trunkline.upstream.tunnel import open_tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence

    from trunkline.core.catalog import Origin
    from trunkline.core.proxy import Proxy
    from trunkline.dialects.dialect import WireRequest
    from trunkline.upstream.address import Resolve
    from trunkline.upstream.limits import ClientLimits

T = TypeVar("T")


class Dialler:
    """Opens connections. Owns what they share: the TLS context, the inbox and the outbox.

    `ssl_context` replaces the system's trust; it must verify, and gets its ALPN here.
    """

    def __init__(self, *, limits: ClientLimits, ssl_context: ssl.SSLContext | None, resolve: Resolve) -> None:
        if ssl_context is not None and not (
            ssl_context.check_hostname and ssl_context.verify_mode is ssl.CERT_REQUIRED
        ):
            raise ValueError("the TLS context must verify certificates and host names")
        self._limits = limits
        self._ssl_context = ssl_context and _http_only(ssl_context)
        self._resolve = resolve
        self._inbox = memoryview(bytearray(INBOX_BYTES))
        self._outbox = Outbox()

    async def dial(
        self, request: WireRequest, *, connect_s: float, deadline: float, on_end: Callable[[Connection], None]
    ) -> Connection:
        """A new connection for this request, within `connect_s` for names, sockets, tunnel and TLS together.

        `deadline` is in the loop's time: TimeoutError when it passes first. Raises Problem UNREACHABLE and TIMED_OUT,
        which name the proxy where it is at fault. Cancelled, it closes the socket at once.
        """
        origin = request.origin
        wait = _Wait(connect_s, deadline)
        if (proxy := origin.proxy) is not None:
            return await self._dial_through(proxy, request, wait, on_end)
        async with wait.telling(f"Could not connect to {origin.authority}"):
            addresses = await find_addresses(origin, allow_private=request.allow_private, resolve=self._resolve)
            return await _in_turn(
                addresses, wait.until, origin.authority, lambda address: self._open(origin, address, on_end)
            )

    async def _dial_through(
        self, proxy: Proxy, request: WireRequest, wait: _Wait, on_end: Callable[[Connection], None]
    ) -> Connection:
        origin = request.origin
        if not request.allow_private:
            check_unresolved(origin)
        async with wait.telling(f"The proxy {proxy.name} gave no connection to {origin.authority}"):
            addresses = await find_proxy_addresses(proxy, resolve=self._resolve)
            transport = await _in_turn(
                addresses,
                wait.until,
                f"the proxy {proxy.name}",
                lambda address: open_tunnel(proxy, origin, address),
            )
        try:
            async with wait.telling(f"Could not connect to {origin.described}"):
                return await self._join(transport, origin, on_end)
        except BaseException:
            transport.abort()
            raise

    async def _open(self, origin: Origin, address: str, on_end: Callable[[Connection], None]) -> Connection:
        is_tls = origin.scheme == "https"
        connection = Connection(origin.authority, self._inbox, self._outbox, self._limits, on_end)
        try:
            with _telling_tls(origin):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection,
                    address,
                    origin.port,
                    ssl=self._tls() if is_tls else None,
                    server_hostname=origin.host if is_tls else None,
                )
        except BaseException:
            connection.discard()
            raise
        return connection

    async def _join(
        self, tunnel: asyncio.Transport, origin: Origin, on_end: Callable[[Connection], None]
    ) -> Connection:
        """The connection at the end of a tunnel; with TLS to the origin itself, as if there were no proxy."""
        connection = Connection(origin.described, self._inbox, self._outbox, self._limits, on_end)
        transport = tunnel
        if origin.scheme == "https":
            try:
                transport = await self._secure(tunnel, origin, connection)
            except BaseException:
                connection.discard()
                raise
        else:
            tunnel.pause_reading()  # A loop looks at what a protocol is when it begins to read for it.
            tunnel.set_protocol(connection)
            tunnel.resume_reading()
        connection.connection_made(transport)
        if connection.is_closed:  # Somebody spoke, or left, before its turn: who asks is told.
            transport.abort()
        return connection

    async def _secure(self, tunnel: asyncio.Transport, origin: Origin, connection: Connection) -> asyncio.Transport:
        """TLS to the origin, through a tunnel to it."""
        try:
            with _telling_tls(origin):
                transport = await asyncio.get_running_loop().start_tls(
                    tunnel, connection, self._tls(), server_hostname=origin.host
                )
        except OSError as error:
            raise _lost_in_handshake(origin, error) from error
        if transport is None:  # It was lost without a reason.
            raise _lost_in_handshake(origin, None)
        return transport

    def _tls(self) -> ssl.SSLContext:
        """The context of all connections; the system's trust is read when it is first needed."""
        if self._ssl_context is None:
            self._ssl_context = _http_only(ssl.create_default_context())
        return self._ssl_context


class _Wait:
    """How long one connection may take: until `until`, or until the caller's deadline."""

    def __init__(self, connect_s: float, deadline: float) -> None:
        self._connect_s = connect_s
        self._deadline = deadline
        self.until = asyncio.get_running_loop().time() + connect_s

    @contextlib.asynccontextmanager
    async def telling(self, what: str) -> AsyncGenerator[None]:
        """Problem TIMED_OUT that says `what` when the time is up; TimeoutError where the deadline came first."""
        try:
            async with asyncio.timeout_at(min(self.until, self._deadline)):
                yield
        except TimeoutError:
            if self._deadline < self.until:
                raise
            raise Problem(
                Kind.TIMED_OUT,
                f"{what} within {self._connect_s:g} s.",
                source=Source.NETWORK,
                retry=Retry.ELSEWHERE,
            ) from None


async def _in_turn(addresses: Sequence[str], until: float, name: str, open_one: Callable[[str], Awaitable[T]]) -> T:
    """Try the addresses one after the other, each with its share of the time that is left."""
    loop = asyncio.get_running_loop()
    last: OSError | None = None
    try:
        for tried, address in enumerate(addresses):
            left = len(addresses) - tried
            share = (until - loop.time()) / left if left > 1 else None
            try:
                async with asyncio.timeout(share):
                    return await open_one(address)
            except OSError as error:
                last = error
        reason = os.strerror(last.errno).lower() if last is not None and last.errno else "no answer"
        raise _unreachable(f"Could not connect to {name}: {reason}.", last) from last
    finally:
        last = None  # its traceback holds this frame: a circle


def _http_only(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, offering HTTP/1.1 and nothing else."""
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextlib.contextmanager
def _telling_tls(origin: Origin) -> Generator[None]:
    """The Problem of a handshake that fails, and of a host that no certificate could name: that is not dialled."""
    try:
        if origin.scheme == "https":
            origin.host.encode("idna")  # as TLS will, and uvloop leaves the socket open then
        yield
    except ssl.SSLCertVerificationError as error:
        message = f"The certificate of {origin.described} was refused: {error.verify_message}."
        raise _unreachable(message, error, error.reason) from error
    except ssl.SSLError as error:
        raise _unreachable(f"The TLS handshake with {origin.described} failed.", error, error.reason) from error
    except UnicodeError as error:  # such as one with an empty label
        raise _unreachable(f"The host {origin.described} is not a name that TLS could verify.", error) from error


def _lost_in_handshake(origin: Origin, error: OSError | None) -> Problem:
    return _unreachable(f"The connection to {origin.described} was lost in the TLS handshake.", error)


def _unreachable(message: str, error: Exception | None, reason: str | None = None) -> Problem:
    """Nobody is there; `detail` has the error's class, and its own reason where it has one."""
    words = [type(error).__name__ if error is not None else None, reason]
    detail = " ".join(filter(None, words)) or None
    return Problem(Kind.UNREACHABLE, message, source=Source.NETWORK, retry=Retry.ELSEWHERE, detail=detail)
