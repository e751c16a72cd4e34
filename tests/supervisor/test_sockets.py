"""Listening, and who holds a port that is taken."""

from __future__ import annotations

import os
import re
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from trunkline.supervisor.failure import CannotStart, PortTaken
from trunkline.supervisor.holder import find_holder, read_lsof
from trunkline.supervisor.sockets import listen

if TYPE_CHECKING:
    from supervisor.running_router import RunningRouter


async def test_localhost_is_both_loopback_addresses_on_one_port() -> None:
    with closing(await listen("localhost", 0)) as listening:
        assert listening.addresses == (f"127.0.0.1:{listening.port}", f"[::1]:{listening.port}")
        assert not any(one.get_inheritable() for one in listening.sockets)


async def test_a_port_that_was_just_left_can_be_taken_again() -> None:
    with closing(await listen("localhost", 0)) as listening:
        port = listening.port
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = listening.sockets[0].accept()
        served.close()  # the side that closes first keeps the port in TIME_WAIT
        client.close()
    with closing(await listen("localhost", port)) as again:
        assert again.port == port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_either_address_taken_is_the_port_taken_and_its_holder_is_named(host: str) -> None:
    with closing(await listen(host, 0)) as other:
        with pytest.raises(PortTaken) as refusal:
            await listen("localhost", other.port)
        name = re.escape(f"(pid {os.getpid()})")
        expected = rf"Port {other.port} is taken by \S+.* {name}\. Stop it \(scripts/kill-port.sh {other.port}\)"
        assert re.match(rf"{expected} or choose another: PORT=\d+$", str(refusal.value))


async def test_the_port_that_is_proposed_instead_is_free() -> None:
    with closing(await listen("localhost", 0)) as other:
        with pytest.raises(PortTaken) as refusal:
            await listen("localhost", other.port)
        proposed = int(str(refusal.value).rpartition("=")[2])
        with closing(await listen("localhost", proposed)) as instead:
            assert instead.port == proposed


async def test_a_port_that_everybody_on_the_machine_was_offered_is_taken() -> None:
    with closing(await listen("0.0.0.0", 0)) as other, pytest.raises(PortTaken):
        await listen("localhost", other.port)


async def test_a_failed_attempt_leaves_nothing_open() -> None:
    with closing(await listen("::1", 0)) as other:
        with pytest.raises(PortTaken):
            await listen("localhost", other.port)
        with closing(await listen("127.0.0.1", other.port)) as free:
            assert free.port == other.port


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "192.0.2.1"])
async def test_a_host_that_is_not_this_machine_is_named(host: str) -> None:
    with pytest.raises(CannotStart, match=re.escape(f"HOST={host}")):
        await listen(host, 0)


async def test_the_router_is_named_as_the_holder_not_one_of_its_workers(router: RunningRouter) -> None:
    await router.start()
    holder = find_holder(router.port)
    assert holder is not None
    assert holder.pid == router.process.pid


async def test_a_second_router_on_the_port_exits_1_and_names_the_first(router: RunningRouter) -> None:
    with closing(await listen("::1", 0)) as other:
        await router.begin(port=other.port)
        assert await router.exit_code() == 1
        assert f"(pid {os.getpid()})" in await router.errors()


def test_a_port_that_nobody_listens_on_has_no_holder() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert find_holder(bound.getsockname()[1]) is None


def test_of_what_lsof_lists_the_parent_is_the_holder() -> None:
    # macOS 14, `lsof -nP -iTCP:3001 -sTCP:LISTEN -FpcR`, shortened; made from the manual page.
    output = "p501\nR500\ncpython3.11\nf3\np500\nR1\ncTrunkline Router\nf3\nf4\n"
    holder = read_lsof(output)
    assert holder is not None
    assert (holder.pid, holder.name) == (500, "Trunkline Router")
    assert read_lsof("") is None
