"""A worker process as its parent sees it."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from trunkline.supervisor.child import Child

if TYPE_CHECKING:
    from collections.abc import Mapping

ASKS = (
    "import socket, sys; end = socket.socket(fileno=int(sys.argv[1])); "
    """end.sendall(b'{"id": 1, "op": "metrics"}\\n'); end.recv(1)"""
)


async def test_a_fault_in_what_one_worker_is_answered_ends_that_worker_alone() -> None:
    async def fail(_: Child, _op: str, _args: Mapping[str, Any]) -> None:
        raise ZeroDivisionError

    end, theirs = socket.socketpair()
    with theirs:
        number = theirs.fileno()
        process = subprocess.Popen([sys.executable, "-c", ASKS, str(number)], pass_fds=[number])
    child = Child(process, end, fail)
    assert await child.ended() == 0
    assert child.is_gone
