"""Where Trunkline's CPU goes: for a request, and for a chunk of a stream.

The benchmark's server, upstream and clients, with a probe in the worker that samples its stack by its own CPU time and
then counts its calls (bench/probe). What C code takes stands with the Python function that called it, and what the
event loop takes before a callback may stand with that callback. With `--perf`, where Linux's perf is installed, the
same is seen from below: the kernel, the interpreter and the C extensions.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

from measure import MODES, counted, measure
from native import HERE, Broken, Cores, upstream
from servers import Missing, Running, started, trunkline

if TYPE_CHECKING:
    from collections.abc import Generator

    from measure import Mode
    from servers import Place, Server

PROBE = HERE / "probe"
PATIENCE_S = 10.0
CALLS_MS = 1000
"""How long calls are counted: they do not depend on chance, so a short time will do."""


class Probed(msgspec.Struct, frozen=True):
    """What the probe has written: how often each stack was seen, and how often each function was called."""

    stacks: list[tuple[list[str], int]]
    calls: dict[str, int]


class Profile(NamedTuple):
    """`own` and `whole`: the share of all samples that a function had itself, and with what it called."""

    mode: Mode
    cpu_us: float
    """Of one request or chunk, without the probe."""
    samples: int
    own: Counter[str]
    whole: Counter[str]
    files: Counter[str]
    calls: dict[str, float]
    """For each request or chunk."""


@contextlib.contextmanager
def probed(written: Path, folder: Path, cores: Cores) -> Generator[tuple[Running, int]]:
    """The server with the probe in its worker, and the worker's process id."""

    def configured(place: Place) -> Server:
        server = trunkline(place)
        path = os.pathsep.join(filter(None, [str(PROBE), os.environ.get("PYTHONPATH")]))
        more = {"PYTHONPATH": path, "BENCH_PROFILE": str(written)}
        return server._replace(environment={**server.environment, **more})

    with upstream() as port, started(configured, folder, port, cores) as one:
        if isinstance(one, Missing):
            raise Broken(f"{one.name} is not there.")
        yield one, int(written.with_suffix(".pid").read_text())


def profile(mode: Mode, options: dict[str, int]) -> Profile:
    """Load the server three times: as it is, sampled, and with its calls counted."""
    cores = Cores()
    with tempfile.TemporaryDirectory() as name:
        written = Path(name, "probed")
        with probed(written, Path(name, "server"), cores) as (running, worker):
            bare = measure(running, mode, options, 0, cores)
            os.kill(worker, signal.SIGUSR1)
            measure(running, mode, {**options, "warm": 0}, 0, cores)
            os.kill(worker, signal.SIGUSR1)
            seen = measure(running, mode, {**options, "warm": 0, "seconds_ms": CALLS_MS}, 0, cores)
            os.kill(worker, signal.SIGUSR1)
            deadline = time.perf_counter() + PATIENCE_S
            while not written.exists() and time.perf_counter() < deadline:
                time.sleep(0.05)
        if not written.exists():
            raise Broken("The probe has written nothing.")
        found = msgspec.json.decode(written.read_bytes(), type=Probed)
    own, whole, files = Counter[str](), Counter[str](), Counter[str]()
    for stack, times in found.stacks:
        own[stack[0]] += times
        files[stack[0].partition(":")[0]] += times
        whole.update(dict.fromkeys(stack, times))
    count = counted(seen.load, mode)
    calls = {function: times / count for function, times in found.calls.items()}
    return Profile(mode, bare.cpu_us or 0.0, own.total(), own, whole, files, calls)


def text_of(one: Profile, lines: int) -> str:
    """The dearest files and functions, by their own time."""
    us = one.cpu_us / max(1, one.samples)
    each = one.mode.per
    head = f"{one.mode.title}: {one.cpu_us:.1f} us of CPU and {sum(one.calls.values()):.0f} calls for each {each}"
    files = [
        f"{times * us:8.2f} {times / one.samples:6.1%}  {_short(file)}"
        for file, times in one.files.most_common(lines // 2)
    ]
    own = [_line(one, function, us) for function, _ in one.own.most_common(lines)]
    whole = [_line(one, function, us) for function, _ in one.whole.most_common(lines)]
    columns = f"{'own us':>8} {'share':>6} {'with calls':>10} {'calls':>7}  function"
    return "\n".join([
        f"{head} ({one.samples} samples).",
        "\nBy file, its own time:", *files,
        "\nBy own time:", columns, *own,
        "\nBy time with what was called:", columns, *whole,
    ])  # fmt: skip


def _line(one: Profile, function: str, us: float) -> str:
    own, whole, calls = one.own[function], one.whole[function], one.calls.get(function, 0.0)
    return f"{own * us:8.2f} {own / one.samples:6.1%} {whole * us:10.2f} {calls:7.2f}  {_short(function)}"


def _short(place: str) -> str:
    return "/".join(place.split("/")[-3:])


def perf(mode: Mode, options: dict[str, int], lines: int) -> str:
    """What perf says of the worker under this load."""
    program = shutil.which("perf")
    if program is None:
        raise Broken("perf is not there (Debian: apt-get install linux-perf).")
    cores = Cores()
    with tempfile.TemporaryDirectory() as name:
        data = str(Path(name, "perf.data"))
        with probed(Path(name, "probed"), Path(name, "server"), cores) as (running, worker):
            record = [program, "record", "-q", "-F", "997", "-e", "cpu-clock", "-p", str(worker), "-o", data]
            with subprocess.Popen(record) as recording:  # noqa: S603 - perf, by the path that was looked up
                try:
                    measure(running, mode, options, 0, cores)
                finally:
                    recording.send_signal(signal.SIGINT)
        report = [program, "report", "-i", data, "--stdio", "-g", "none", "--percent-limit", "0.3", "--sort"]
        return "\n".join([*_report([*report, "dso"]), "", *_report([*report, "dso,symbol"])[:lines]])


def _report(command: list[str]) -> list[str]:
    out = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - perf, as above
    return [line.rstrip() for line in out.splitlines() if line.strip() and not line.startswith("#")]


def main() -> int:
    """Print the profiles."""
    parser = argparse.ArgumentParser(description=cast("str", __doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--modes", default="request,streams_64", help=f"of {', '.join(mode.name for mode in MODES)}")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--lines", type=int, default=40, help="how many functions")
    parser.add_argument("--perf", action="store_true", help="use perf instead of the probe")
    given = parser.parse_args()
    names, options = given.modes.split(","), {"seconds_ms": round(given.seconds * 1000)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    try:
        for mode in (mode for mode in MODES if mode.name in names):
            if given.perf:
                print(f"{mode.title}:\n{perf(mode, options, given.lines)}\n", flush=True)
            else:
                print(text_of(profile(mode, options), given.lines), end="\n\n", flush=True)
    except Broken as why:
        print(why, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
