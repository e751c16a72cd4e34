"""scripts/kill-port.sh ends what listens on a port, and nothing else."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trunkline.supervisor.sockets import listen

if TYPE_CHECKING:
    from supervisor.running_router import RunningRouter

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill-port.sh"


def kill_port(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60, check=False)


async def test_a_router_is_ended_and_was_named(router: RunningRouter) -> None:
    await router.start()
    done = kill_port(str(router.port))
    assert done.returncode == 0, done.stderr
    assert f"(pid {router.process.pid})" in done.stdout
    assert f"Port {router.port} is free." in done.stdout
    assert await router.exit_code() == 0


async def test_a_router_that_still_streams_is_ended_too(router: RunningRouter) -> None:
    await router.start(drain_s=60)
    stream = await router.open("/slow?count=1000&every=0.1")
    await stream.until(b"data: 0")
    assert kill_port(str(router.port)).returncode == 0
    assert await router.exit_code() == 1


async def test_a_free_port_is_told_so() -> None:
    with closing(await listen("127.0.0.1", 0)) as listening:
        port = listening.port
    done = kill_port(str(port))
    assert done.returncode == 0
    assert f"listens on port {port}" in done.stdout


@pytest.mark.parametrize("argument", ["", "http", "-9", "3001;reboot"])
def test_what_is_not_a_port_is_refused(argument: str) -> None:
    done = kill_port(argument)
    assert done.returncode == 2
    assert "usage" in done.stderr
