"""Only what may be dialled is dialled: the guard of private addresses."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from trunkline.core.catalog import Origin
from trunkline.core.problem import Kind, Problem, Retry
from trunkline.upstream.address import MAX_ADDRESSES, find_addresses, is_public, system_resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.upstream.address import Resolve

NOT_PUBLIC = """
    0.0.0.0 0.0.0.1 0.255.255.255
    10.0.0.0 10.0.0.1 10.255.255.255
    100.64.0.0 100.64.0.1 100.100.100.200 100.127.255.255
    127.0.0.0 127.0.0.1 127.1.2.3 127.255.255.255
    169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255
    172.16.0.0 172.17.0.1 172.31.255.255
    192.0.0.0 192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.170 192.0.0.255
    192.0.2.0 192.0.2.1 192.0.2.255
    192.88.99.0 192.88.99.1 192.88.99.255
    192.168.0.0 192.168.1.1 192.168.255.255
    198.18.0.0 198.18.0.1 198.19.255.255
    198.51.100.0 198.51.100.1 198.51.100.255
    203.0.113.0 203.0.113.1 203.0.113.255
    224.0.0.0 224.0.0.1 232.1.1.1 239.255.255.255
    240.0.0.0 240.0.0.1 255.255.255.254 255.255.255.255
    :: ::1 ::2 ::127.0.0.1 ::8.8.8.8
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::ffff:7f00:1
    ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8
    64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::8.8.8.8 64:ff9b:1::1 64:ff9b:1:ffff::10.0.0.1
    100::1 100:0:0:1::1 200::1 400::1 1000::1 1fff::1
    2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1
    2001:30::1 2001:1ff:ffff::1 2001:db8::1 2001:db8:ffff::1
    2002::1 2002:7f00:1::1 2002:a9fe:a9fe::1 2002:808:808::1
    3fff::1 3fff:fff:ffff::1
    4000::1 5f00::1 8000::1
    fc00::1 fd00::1 fd12:3456:789a::1 fdff:ffff::1 fe00::1
    fe80::1 fe80::1%eth0 fe80::1%1 febf::1 fec0::1 feff::1
    ff00::1 ff01::1 ff02::1 ff05::2 ff0e::1
    localhost example.com 127.1 127 0x7f.1 0x7f000001 2130706433 0177.0.0.1 017700000001 127.0.0.01
    1.2.3.4.5 1.1.1 1.1.1.1.
    [::1] [2606:4700::1] ::1::1 12345::1 ::ffff:127.1 ① 127。0。0。1 8.8.8.8/32
"""

PUBLIC = """
    1.0.0.1 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 104.18.2.115 126.255.255.255 128.0.0.0
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0
    192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255
    203.0.114.0 223.255.255.255 2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2600::1
    2606:4700::6812:273 2a00:1450::1 3ffe::1
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_it_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_there_is_no_empty_address() -> None:
    assert not is_public("")


@pytest.mark.parametrize("address", PUBLIC.split())
def test_it_is_public(address: str) -> None:
    assert is_public(address)


def giving(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("api.test", 443)
        return addresses

    return resolve


async def failing(_: str, __: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


NAMED = Origin("https", "api.test", 443)


async def found(resolve: Resolve, *, origin: Origin = NAMED, allow_private: bool = False) -> list[str]:
    return await find_addresses(origin, allow_private=allow_private, resolve=resolve)


async def refused(resolve: Resolve, *, origin: Origin = NAMED, allow_private: bool = False) -> Problem:
    with pytest.raises(Problem) as caught:
        await found(resolve, origin=origin, allow_private=allow_private)
    assert caught.value.kind is Kind.UNREACHABLE
    assert caught.value.retry is Retry.ELSEWHERE
    return caught.value


async def test_a_public_name_leads_to_its_addresses() -> None:
    assert await found(giving("1.1.1.1", "1.0.0.1", "1.1.1.1")) == ["1.1.1.1", "1.0.0.1"]


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fe80::1%eth0"])
async def test_a_public_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    problem = await refused(giving(address))
    assert problem.message.startswith("api.test leads to a private address")
    assert address not in problem.message


async def test_of_mixed_addresses_only_the_public_ones_are_dialled() -> None:
    assert await found(giving("127.0.0.1", "1.1.1.1", "::1")) == ["1.1.1.1"]


async def test_an_origin_that_the_operator_allows_may_be_private() -> None:
    assert await found(giving("10.0.0.1", "1.1.1.1"), allow_private=True) == ["10.0.0.1", "1.1.1.1"]


async def test_both_families_are_tried_in_turn() -> None:
    resolve = giving("2606:4700::1", "2606:4700::2", "2606:4700::3", "1.1.1.1", "1.0.0.1")
    assert await found(resolve) == ["2606:4700::1", "1.1.1.1", "2606:4700::2", "1.0.0.1"]
    assert len(await found(resolve)) == MAX_ADDRESSES


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.1.2.3"])
async def test_a_private_literal_needs_no_look_up_and_no_less_permission(host: str) -> None:
    origin = Origin("http", host, 80)
    assert await found(failing, origin=origin, allow_private=True) == [host]
    assert host in (await refused(failing, origin=origin)).message


async def test_a_public_literal_needs_no_look_up() -> None:
    assert await found(failing, origin=Origin("https", "1.1.1.1", 443)) == ["1.1.1.1"]


async def test_a_name_that_is_not_known_is_unreachable() -> None:
    assert (await refused(failing)).message == "Could not find the address of api.test."


async def test_a_name_without_addresses_is_unreachable() -> None:
    assert (await refused(giving())).message == "api.test has no address."


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".test", "a\0b"])
async def test_what_cannot_be_a_name_is_unreachable(host: str) -> None:
    await refused(system_resolve, origin=Origin("https", host, 443))


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
async def test_loopback_is_refused_in_whatever_way_the_system_reads_it(host: str) -> None:
    assert "leads to a private address" in (await refused(system_resolve, origin=Origin("http", host, 80))).message
