"""A way through an HTTP proxy: CONNECT, and what the proxy says to it.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6 (read 2026-11-26).
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import TYPE_CHECKING, Final, cast

from trunkline.core.problem import Kind, Problem, Retry, Source

if TYPE_CHECKING:
    from trunkline.core.catalog import Origin
    from trunkline.core.proxy import Proxy

HEAD_BYTES: Final = 8 * 1024
"""The most that a proxy may say before the way is open."""

_HEAD: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n\0]*+)?(?:\r\n[!-9;-~]++:[^\r\n\0]*+)*+")
_START: Final = b"HTTP/1."
_END: Final = b"\r\n\r\n"


async def open_tunnel(proxy: Proxy, origin: Origin, address: str) -> asyncio.Transport:
    """A connection to this address of the proxy, from which on everything goes to the origin. Its user closes it.

    Raises Problem UNREACHABLE that names the proxy where it refuses, leaves, or says what it should not; OSError
    where it cannot be reached at all. Cancelled, it closes the socket at once.
    """
    loop = asyncio.get_running_loop()
    transport, waiting = await loop.create_connection(lambda: _Waiting(proxy, origin), address, proxy.port)
    try:
        await waiting.ended
    except asyncio.CancelledError:
        transport.abort()
        raise
    # Nothing is awaited between this look and the next protocol's turn.
    if transport.is_closing():
        waiting.connection_lost(None)
    if waiting.failure is not None:
        transport.abort()
        raise waiting.failure
    return transport


def connect_head(proxy: Proxy, origin: Origin) -> bytes:
    """The request for a way to the origin."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    place = f"{host}:{origin.port}"
    head = f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n"
    if proxy.credential is not None:
        token = base64.b64encode(proxy.credential.reveal().encode()).decode()
        head += f"proxy-authorization: Basic {token}\r\n"
    return f"{head}\r\n".encode("latin-1")


def read_status(said: bytes) -> int | None:
    """The final status of what a proxy has said so far; None while its head is not whole.

    What comes after the head of a 2xx is the origin's, which has not been spoken to: there is none, or ValueError is
    raised, as for everything else that is wrong; it says what was sent.
    """
    at = 0
    while True:
        end = said.find(_END, at)
        if (len(said) if end < 0 else end) > HEAD_BYTES:
            raise ValueError(f"a head over the limit of {HEAD_BYTES // 1024} KiB")
        if end < 0:
            start = said[at : at + len(_START)]
            if start != _START[: len(start)]:
                raise ValueError("an answer that is not valid HTTP/1.1")
            return None
        head = _HEAD.fullmatch(said, at, end)
        if head is None or head[1] == b"101":
            raise ValueError("an answer that is not valid HTTP/1.1")
        status, at = int(head[1]), end + len(_END)
        if status < 200:
            continue
        if status < 300 and at < len(said):
            raise ValueError("more than was asked for")
        return status


class _Waiting(asyncio.Protocol):
    """Asks a proxy, and hears what it says. `ended` is done when that is known, `failure` is what went wrong."""

    def __init__(self, proxy: Proxy, origin: Origin) -> None:
        self._proxy = proxy
        self._origin = origin
        self._said = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: Problem | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The proxy is there: ask it."""
        cast("asyncio.Transport", transport).write(connect_head(self._proxy, self._origin))

    def data_received(self, data: bytes) -> None:
        """More of its answer."""
        if self.failure is not None:
            return
        self._said += data
        try:
            status = read_status(self._said)
        except ValueError as error:
            self._end(f"{self._subject} sent {error}.", detail=None)
            return
        if status is None:
            return
        if status < 300:
            self._end(None, detail=None)
        else:
            self._end(self._refusal(status), detail=f"proxy status {status}")

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left: before its answer, or right after it."""
        if self.failure is None:
            detail = None if exc is None else type(exc).__name__
            self._end(f"{self._subject} closed the connection before the way to {self._place} was open.", detail=detail)

    @property
    def _subject(self) -> str:
        return f"The proxy {self._proxy.name}"

    @property
    def _place(self) -> str:
        return self._origin.authority

    def _refusal(self, status: int) -> str:
        if status == 407 and self._proxy.credential is None:
            return (
                f"{self._subject} wants a user name and a password (status 407). Where the router runs, give "
                "`proxy` as env:NAME, and http://user:password@host:port in that variable."
            )
        if status == 407:
            return f"{self._subject} refused the router's user name and password (status 407)."
        if status >= 500:
            return f"{self._subject} could not connect to {self._place} (status {status})."
        return f"{self._subject} refused to connect to {self._place} (status {status})."

    def _end(self, failure: str | None, *, detail: str | None) -> None:
        if failure is not None:
            self.failure = Problem(
                Kind.UNREACHABLE, failure, source=Source.NETWORK, retry=Retry.ELSEWHERE, detail=detail
            )
        if not self.ended.done():
            self.ended.set_result(None)
