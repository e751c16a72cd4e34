"""From an origin to the addresses that may be dialled for it: name resolution, and the guard of private addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from trunkline.core.problem import Kind, Problem, Retry, Source

if TYPE_CHECKING:
    from trunkline.core.catalog import Origin
    from trunkline.core.proxy import Proxy

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host name and a port -> its addresses as text, best first. Raises OSError where there is none."""

MAX_ADDRESSES: Final = 4
"""How many addresses of one name are tried: each gets its share of the time to connect."""

_NOT_PUBLIC_V4: Final = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

_GLOBAL_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
"""The only block of IPv6 that is given out. Not in it: loopback, private, link-local, multicast, mapped IPv4, NAT64."""

_NOT_PUBLIC_V6: Final = tuple(
    ipaddress.IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, Teredo: may hold a private IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: may hold a private IPv4 address
        "3fff::/20",  # documentation
    )
)


def is_public(address: str) -> bool:
    """Whether this is a unicast address of the public Internet; False for what is no address at all.

    The blocks are those of the IANA special-purpose registries
    (https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry); they are spelt
    out because `ipaddress.is_global` differs between versions of Python. IPv6 forms that carry an IPv4 address
    are refused as a whole.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not any(ip in block for block in _NOT_PUBLIC_V4)
    return ip.is_global and ip in _GLOBAL_UNICAST_V6 and not any(ip in block for block in _NOT_PUBLIC_V6)


async def system_resolve(host: str, port: int) -> list[str]:
    """The system's own resolver, off the loop."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


async def find_addresses(origin: Origin, *, allow_private: bool, resolve: Resolve) -> list[str]:
    """The addresses to dial, in turn: what was checked here is what is dialled, so a name cannot change under us.

    At most `MAX_ADDRESSES`, both families in turn. Raises Problem UNREACHABLE where the name does not resolve,
    and where all that it leads to is private while `allow_private` is False.
    """
    found = await _look_up(origin.host, origin.port, resolve, origin.host)
    allowed = [address for address in found if allow_private or is_public(address)]
    if not allowed:
        raise _private(origin, found)
    return _both_families_in_turn(allowed)[:MAX_ADDRESSES]


async def find_proxy_addresses(proxy: Proxy, *, resolve: Resolve) -> list[str]:
    """The addresses of a proxy, as `find_addresses` gives them. It may be private: the operator wrote it."""
    found = await _look_up(proxy.host, proxy.port, resolve, f"{proxy.name} (the proxy)")
    return _both_families_in_turn(found)[:MAX_ADDRESSES]


def check_unresolved(origin: Origin) -> None:
    """Raise Problem UNREACHABLE where the host is a private address, or localhost, as it is written.

    That is all that can be known of an origin behind a proxy, which looks up the name itself. The old ways to write
    an IPv4 address (`127.1`, `0x7f000001`) count: a proxy may read them as the system does.
    """
    host = origin.host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        raise _private(origin, [host])
    try:
        written = socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        written = host
    if _is_literal(written) and not is_public(written):
        raise _private(origin, [written])


async def _look_up(host: str, port: int, resolve: Resolve, name: str) -> list[str]:
    """Every address of a host, once. `name` is what a Problem calls it."""
    if _is_literal(host):
        return [host]
    try:
        found = await resolve(host, port)
    except (OSError, ValueError) as error:  # ValueError: not a name at all, such as one with an empty label
        raise _unreachable(f"Could not find the address of {name}.", error) from error
    if not found:
        raise _unreachable(f"{name} has no address.", None)
    return list(dict.fromkeys(found))


def _private(origin: Origin, found: Sequence[str]) -> Problem:
    return Problem(
        Kind.UNREACHABLE,
        f"{origin.host} leads to a private address, and the configuration does not allow that. "
        "Write the private address itself as this provider's base URL, or allow it there.",
        source=Source.NETWORK,
        retry=Retry.ELSEWHERE,
        detail=f"private: {', '.join(found[:MAX_ADDRESSES])}",
    )


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _both_families_in_turn(addresses: list[str]) -> list[str]:
    """The resolver's order, but where one family does not work from here, the other one's turn comes next."""
    first = [a for a in addresses if (":" in a) == (":" in addresses[0])]
    other = [a for a in addresses if (":" in a) != (":" in addresses[0])]
    mixed: list[str] = []
    for at in range(max(len(first), len(other))):
        mixed += first[at : at + 1] + other[at : at + 1]
    return mixed


def _unreachable(message: str, error: Exception | None) -> Problem:
    detail = type(error).__name__ if error is not None else None
    return Problem(Kind.UNREACHABLE, message, source=Source.NETWORK, retry=Retry.ELSEWHERE, detail=detail)
