"""Lets a worker be profiled from outside: each SIGUSR1 ends what is under way and begins the next of three phases.

In the first, a timer of the process's own CPU time samples the stack, which costs nearly nothing; in the second, every
call is counted; in the third, both are written. Python imports a module of this name at its start
(https://docs.python.org/3/library/site.html); bench/profiled.py puts this folder on the path. In every other process of
the program it does nothing. For bench/soak.py it lets the worker tell how its event loop is (pulse.py).
"""

from __future__ import annotations

import cProfile
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

WANTED = "trunkline.supervisor.worker"
SAMPLE_S = 0.001
"""As often as the kernel's own tick allows, if that is less."""


class Probe:
    """The samples and the counts of one process, on their way to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stacks: Counter[tuple[str, ...]] = Counter()
        self._calls = cProfile.Profile()
        self._phase = 0

    def next(self, *_: object) -> None:
        """Go on to the next phase."""
        self._phase += 1
        if self._phase == 1:
            signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)
        elif self._phase == 2:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._calls.enable()
        else:
            self._calls.disable()
            self._write()

    def sample(self, _: int, frame: FrameType | None) -> None:
        """Note where the process is, the innermost function first."""
        stack: list[str] = []
        while frame is not None:
            code = frame.f_code
            stack.append(f"{code.co_filename}:{code.co_firstlineno} {code.co_name}")
            frame = frame.f_back
        self._stacks[tuple(stack)] += 1

    def _write(self) -> None:
        calls = {
            code if isinstance(code, str) else f"{code.co_filename}:{code.co_firstlineno} {code.co_name}": count
            for code, count, *_ in self._calls.getstats()
        }
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps({"stacks": list(self._stacks.items()), "calls": calls}))
        part.rename(self._path)


if "BENCH_PROFILE" in os.environ and WANTED in sys.orig_argv:
    probe = Probe(Path(os.environ["BENCH_PROFILE"]))
    signal.signal(signal.SIGUSR1, probe.next)
    signal.signal(signal.SIGPROF, probe.sample)
    Path(os.environ["BENCH_PROFILE"]).with_suffix(".pid").write_text(str(os.getpid()))

if "BENCH_PULSE" in os.environ and WANTED in sys.orig_argv:
    from pulse import Pulse

    Pulse(Path(os.environ["BENCH_PULSE"])).start()
