"""The sockets that the router listens on. The parent owns them; workers inherit them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.supervisor.failure import CannotStart, PortTaken
from trunkline.supervisor.holder import find_holder

if TYPE_CHECKING:
    from collections.abc import Sequence

    Target = tuple[socket.AddressFamily, str]

BACKLOG: Final = 2048
"""Connections that wait for a worker; the system may allow fewer."""

LOOPBACK: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))

RESOLVE_S: Final = 10.0

FAMILY_MISSING: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
"""What binding to ::1 gives on a machine without IPv6."""

EPHEMERAL_TRIES: Final = 16


class Listening(msgspec.Struct, frozen=True):
    """The open sockets of one port. Not inheritable: each worker is handed them by name."""

    port: int
    sockets: tuple[socket.socket, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the router can be reached: `127.0.0.1:3001`, `[::1]:3001`."""
        shown: list[str] = []
        for one in self.sockets:
            host, port = one.getsockname()[:2]
            shown.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return tuple(shown)

    def close(self) -> None:
        """Stop listening, here; a worker that still has its copies goes on."""
        for one in self.sockets:
            one.close()


async def listen(host: str, port: int) -> Listening:
    """Listen on `port` of `host`: `localhost` is 127.0.0.1 *and* ::1, anything else is what it resolves to.

    Port 0 takes a free one, the same on every address. Raises PortTaken, naming who holds it, or CannotStart.
    """
    targets = await _resolve(host)
    for tries_left in reversed(range(EPHEMERAL_TRIES)):
        try:
            return _open_all(targets, port)
        except OSError as why:
            # The free port of one address may be taken on the other: draw again.
            if port or why.errno != errno.EADDRINUSE or not tries_left:
                raise _explain(why, host, targets, port) from why
    raise AssertionError  # the last try returns or raises


async def _resolve(host: str) -> Sequence[Target]:
    if host == "localhost":
        return LOOPBACK
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
    except (OSError, UnicodeError, TimeoutError) as why:
        raise CannotStart(f"HOST={host} does not resolve to an address of this machine.") from why
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _open_all(targets: Sequence[Target], port: int) -> Listening:
    """Listen on every target. Raises OSError, whose `filename` is the address that failed; then none is left open."""
    with contextlib.ExitStack() as undo:
        opened: list[socket.socket] = []
        for family, address in targets:
            try:
                one = _open(family, address, port)
            except OSError as why:
                if (family, address) == LOOPBACK[1] and opened and why.errno in FAMILY_MISSING:
                    continue
                why.filename = address
                raise
            undo.callback(one.close)
            opened.append(one)
            port = one.getsockname()[1]
        undo.pop_all()
    return Listening(port, tuple(opened))


def _open(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """One listening socket. Two may bind where neither listens yet, so `listen` can find the port taken too."""
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # HOST=:: means every address of both families, as in Node; any other means itself.
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        one.bind((address, port))
        one.listen(BACKLOG)
        one.settimeout(0)
    except OSError:
        one.close()
        raise
    return one


def _explain(why: OSError, host: str, targets: Sequence[Target], port: int) -> CannotStart:
    match why.errno:
        case errno.EADDRINUSE:
            return PortTaken(_say_taken(targets, port))
        case errno.EACCES | errno.EPERM:
            return CannotStart(f"Port {port} needs privileges. Choose one above 1023: PORT=3001")
        case errno.EADDRNOTAVAIL:
            return CannotStart(f"HOST={host}: {why.filename} is not an address of this machine.")
        case _:
            return CannotStart(f"Cannot listen on {why.filename}, port {port}: {why.strerror}.")


def _say_taken(targets: Sequence[Target], port: int) -> str:
    holder = find_holder(port)
    who = f"{holder.name} (pid {holder.pid})" if holder else "a process that this user may not see"
    other = _free_after(targets, port)
    choice = f" or choose another: PORT={other}" if other else ""
    return f"Port {port} is taken by {who}. Stop it (scripts/kill-port.sh {port}){choice}"


def _free_after(targets: Sequence[Target], port: int) -> int | None:
    """The next free port, as far as a look at this moment can tell."""
    for candidate in range(port + 1, min(port + 100, 65536)):
        try:
            _open_all(targets, candidate).close()
        except OSError:
            continue
        return candidate
    return None
