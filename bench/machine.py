"""The machine that figures were taken on: a figure without it says little."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec
import uvloop

import trunkline


class Facts(msgspec.Struct, frozen=True):
    """What stands under every table."""

    cpu: str
    cores: int
    kernel: str
    python: str
    uvloop: str
    trunkline: str
    load_average: float
    """Processes that wanted to run in the last minute."""

    def line(self) -> str:
        """In one line of Markdown."""
        return (
            f"{self.cpu}, {self.cores} cores, Linux {self.kernel}, Python {self.python}, uvloop {self.uvloop}, "
            f"Trunkline {self.trunkline}"
        )


def facts() -> Facts:
    """Ask the system."""
    return Facts(
        cpu=_cpu(),
        cores=os.cpu_count() or 0,
        kernel=platform.release(),
        python=platform.python_version(),
        uvloop=uvloop.__version__,
        trunkline=trunkline.__version__,
        load_average=round(os.getloadavg()[0], 1),
    )


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
