"""What a server costs the machine: CPU time and memory of a process and all its descendants, as Linux counts them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Member(NamedTuple):
    """One line of /proc/PID/stat: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""

    pid: int
    parent: int
    left_ticks: int
    """User and system time of its children that have ended and were waited for."""


def family(root: int) -> list[Member]:
    """This process and its living descendants. Empty once it has ended."""
    everybody = {one.pid: one for one in map(_member, _pids()) if one is not None}
    found = [everybody[root]] if root in everybody else []
    for one in found:
        found += [other for other in everybody.values() if other.parent == one.pid]
    return found


def cpu_s(root: int) -> float:
    """The user and system time that the tree of this process has taken so far, in seconds.

    To the nanosecond for those that live; of children that have ended, to one tick (10 ms).
    """
    return sum(_own_s(one.pid) + one.left_ticks * TICK_S for one in family(root))


def memory_bytes(root: int) -> int:
    """The memory of the tree: its proportional share of each page, so that what processes share counts once."""
    return sum(_share_bytes(one.pid, "Pss") for one in family(root))


def own_bytes(root: int) -> int:
    """The part of it that the tree has made itself (anonymous pages).

    The rest is mapped from files: how much of that counts depends on who else maps it, and the kernel drops it at will.
    """
    return sum(_share_bytes(one.pid, "Pss_Anon") for one in family(root))


def descriptors(root: int) -> int:
    """How many files and sockets the tree has open."""
    return sum(len(list((PROC / str(one.pid) / "fd").iterdir())) for one in family(root))


def threads(root: int) -> int:
    """How many threads the tree has."""
    return sum(len(list((PROC / str(one.pid) / "task").iterdir())) for one in family(root))


def core_busy_s(core: int) -> float:
    """The time in which this core did anything for anyone, in seconds."""
    for line in (PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, fields[:8])
            return (user + nice + system + interrupts + soft + stolen) * TICK_S
    return 0.0


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _own_s(pid: int) -> float:
    """The clock of all its threads: https://man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0  # it has ended


def _member(pid: int) -> Member | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces
    return Member(pid, int(fields[1]), sum(map(int, fields[13:15])))


def _share_bytes(pid: int, kind: str) -> int:
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    return 0
