"""Who holds a TCP port of this machine: for the sentence that says so. No privileges, no dependencies."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTENING: Final = "0A"
"""A listening socket in `/proc/net/tcp`. Source: include/net/tcp_states.h of Linux."""

LSOF_S: Final = 3.0


class Holder(msgspec.Struct, frozen=True):
    """A process that listens on a port."""

    pid: int
    name: str


def find_holder(port: int) -> Holder | None:
    """The process that listens on `port`; of a parent and its workers, the parent.

    None: nobody does, or it is another user's process, which the system does not show.
    """
    if Path("/proc/net/tcp").exists():
        return _find_in_proc(port)
    return _find_with_lsof(port)


def _find_in_proc(port: int) -> Holder | None:
    """Source: https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    pids = {pid for pid in _pids() if any(target in sockets for target in _open_files(pid))}
    for pid in sorted(pids):
        if _parent_of(pid) not in pids:
            return Holder(pid, _name_of(pid))
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _open_files(pid: int) -> Iterator[str]:
    try:
        files = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return  # another user's, or gone
    for file in files:
        try:
            yield str(file.readlink())
        except OSError:
            continue  # closed meanwhile


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process"


def _parent_of(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[1])


def _find_with_lsof(port: int) -> Holder | None:
    """Where there is no /proc (macOS). Fields: https://lsof.readthedocs.io/en/latest/manpage/#output-for-other-programs."""
    lsof = shutil.which("lsof")
    if lsof is None:
        return None
    command = [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-FpcR"]
    try:
        done = subprocess.run(  # noqa: S603 - our own words and a number
            command, capture_output=True, text=True, timeout=LSOF_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return read_lsof(done.stdout)


def read_lsof(output: str) -> Holder | None:
    """One line a field, its letter first: `p` pid, `R` parent's pid, `c` name; `p` begins a process."""
    found: dict[int, tuple[int | None, str]] = {}
    pid = 0
    for line in output.splitlines():
        field, value = line[:1], line[1:]
        match field:
            case "p" if value.isdigit():
                pid = int(value)
                found[pid] = (None, "a process")
            case "R" if pid in found and value.isdigit():
                found[pid] = (int(value), found[pid][1])
            case "c" if pid in found:
                found[pid] = (found[pid][0], value)
            case _:
                pass
    for holder, (parent, name) in sorted(found.items()):
        if parent not in found:
            return Holder(holder, name)
    return None
