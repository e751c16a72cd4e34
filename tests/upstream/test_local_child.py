"""The guard in the local model's process: it never outlives the router, even one that is killed with -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

STAND_IN = Path(__file__).with_name("local_stand_in.py")

# A router in little: starts the stand-in as a LocalModel does, tells its pid, and does nothing more.
ROUTER = """
import asyncio, sys
from pathlib import Path
from trunkline.upstream.local import LocalModel

async def main():
    local = LocalModel(Path("/no/weights"), command=sys.argv[1:])
    await local.start(20)
    print("PID", local.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def has_ended(process: psutil.Process) -> bool:
    """Whether it is gone, or only waits for the system to take note of its end."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    "guard",
    [
        pytest.param("parent", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux's own signal")),
        "stdin",
        "both",
    ],
)
def test_the_child_is_gone_within_two_seconds_after_its_router_was_killed(guard: str) -> None:
    command = [sys.executable, "-c", ROUTER, sys.executable, "-P", str(STAND_IN), "serve", "--guard", guard]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as router:
        assert router.stdout is not None
        pid = next(int(line.split()[1]) for line in router.stdout if line.startswith("PID"))
        child = psutil.Process(pid)
        assert not has_ended(child)
        router.send_signal(signal.SIGKILL)
        router.wait(20)
        deadline = time.monotonic() + 2
        while not has_ended(child) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert has_ended(child)


def test_a_child_whose_router_is_gone_already_does_not_start() -> None:
    process = subprocess.run(
        [sys.executable, "-P", STAND_IN, "serve", "--port", "0", "--parent", "999999999"],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert process.returncode == 1
    assert "The router is gone" in process.stderr
    assert process.stdout == ""


def test_what_else_is_written_to_stdout_goes_to_stderr() -> None:
    command = [sys.executable, "-P", STAND_IN, "serve_loudly", "--port", "0", "--parent", str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline().startswith(b'{"port": ')
        child.stdin.close()
        assert child.stdout.read() == b""
        assert child.wait(20) == 0


def test_the_end_of_stdin_ends_the_child_while_it_serves() -> None:
    command = [sys.executable, "-P", STAND_IN, "serve", "--port", "0", "--parent", str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        child.stdin.close()
        asked = time.monotonic()
        child.wait(20)
        assert time.monotonic() - asked < 2


def test_a_router_that_has_blocked_its_signals_can_still_ask_the_child_to_end() -> None:
    command = [sys.executable, "-P", STAND_IN, "serve", "--port", "0", "--parent", str(os.getpid())]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        child.terminate()
        assert child.wait(20) == -signal.SIGTERM
