"""Trunkline beside nginx and haproxy: what a request and a chunk of a stream cost, and how much later they come.

Servers run on one core, the upstream and the clients on another. In each round every server is measured in every mode,
one after the other, so that what else the machine does meets all of them; a ratio is always within one round. `make
bench` takes about five minutes, `make bench-quick` half a minute; with `--write` the table goes to docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

import cost
import machine
from findings import Figure, Resident, Result
from native import HERE, Broken, Clients, Cores, upstream
from page import table, write_page
from servers import KEY, SERVERS, Missing, Running, peer, started

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from native import Load
    from servers import Place, Server

SETTLING_S = 0.1


class Mode(NamedTuple):
    """One way to load a server. `per`: what the cost is divided by."""

    name: str
    title: str
    per: str
    options: dict[str, int]


def request(connections: int, body_bytes: int, **more: int) -> dict[str, int]:
    """Requests that do not stream, answered with about 200 characters."""
    return {"connections": connections, "body_bytes": body_bytes, "warm": 20, "fill": 200, **more}


def streams(count: int) -> dict[str, int]:
    """So many streams at once, of 100 chunks 10 ms apart, one after the other on each connection."""
    return {"connections": count, "stream": 1, "pieces": 100, "every_us": 10_000}


MODES = (
    Mode("request", "a request, 64 connections", "request", request(64, 1024)),
    Mode("request_100k", "a request of 100 KiB", "request", request(64, 102_400, warm=2)),
    Mode("rate", "500 requests a second", "request", request(64, 1024, rate=500, warm=2)),
    Mode("streams_64", "a chunk, 64 streams", "chunk", streams(64)),
    Mode("streams_500", "a chunk, 500 streams", "chunk", streams(500)),
)
QUICK = ("request", "streams_64", "streams_500")
LATE_MS = 500
OPEN = {"stream": 1, "pieces": 20, "every_us": LATE_MS * 1000, "warm": 0, "spread_us": 2_000_000}


def measure(running: Running, mode: Mode, options: dict[str, int], number: int, cores: Cores) -> Figure:
    """Load one server once."""
    with Clients(_told(running, {**mode.options, **options})) as clients:
        before = _clocks(running, cores)
        clients.go()
        load = clients.result()
    time.sleep(SETTLING_S)
    took, spent, busy, load_busy = (now - then for now, then in zip(_clocks(running, cores), before, strict=True))
    return Figure(
        server=running.server.name,
        mode=mode.name,
        round=number,
        cpu_us=spent / counted(load, mode) * 1e6 if running.pid else None,
        others=max(0.0, busy - spent) / took,
        load_busy=load_busy / took,
        load=load,
    )


def counted(load: Load, mode: Mode) -> int:
    """How many requests or chunks there were."""
    return max(1, load.pieces if mode.per == "chunk" else load.requests)


def reside(running: Running, count: int) -> Resident:
    """Open so many streams, and see what the server holds meanwhile. For a server that has just started."""
    idle = cost.memory_bytes(running.pid)
    with Clients(_told(running, {**OPEN, "connections": count, "total": count})) as clients:
        clients.go()
        time.sleep((OPEN["spread_us"] / 1e6) + 1)
        held = cost.memory_bytes(running.pid)
        clients.result()
    each = (held - idle) / count
    return Resident(running.server.name, running.server.version, running.started_s, idle, count, each)


def _told(running: Running, options: dict[str, int]) -> dict[str, int | str]:
    return {"port": running.port, "model": running.server.model, "key": KEY, **options}


def _clocks(running: Running, cores: Cores) -> tuple[float, float, float, float]:
    """In seconds: the time, the server's CPU, what the servers' core has done, and what the load's has."""
    spent = cost.cpu_s(running.pid) if running.pid else 0.0
    return time.perf_counter(), spent, cost.core_busy_s(cores.server), cost.core_busy_s(cores.load)


class Given(NamedTuple):
    """What the command line asks for."""

    servers: dict[str, Callable[[Place], Server | Missing]]
    modes: Sequence[Mode]
    rounds: int
    options: dict[str, int]
    """Over those of every mode."""
    open_streams: int
    """While memory is measured; 0: it is not."""
    results: Path
    writes_page: bool


def run(given: Given) -> Result:
    """Measure everything that was asked for."""
    begun, cores, facts = time.perf_counter(), Cores(), machine.facts()
    with tempfile.TemporaryDirectory() as folder, upstream() as port, contextlib.ExitStack() as stack:
        running: list[Running] = []
        resident: list[Resident] = []
        missing: list[tuple[str, str]] = []
        for name, configure in given.servers.items():
            with started(configure, Path(folder, f"{name}-fresh"), port, cores) as one:
                if isinstance(one, Missing):
                    _say(f"{name} is not here ({one.remedy}): going on without it.")
                    missing.append((one.name, one.remedy))
                    continue
                if one.pid and given.open_streams:
                    resident.append(reside(one, given.open_streams))
                    _say(f"{name}: {resident[-1].stream_bytes / 1024:.1f} KiB a stream, {one.started_s:.2f} s to start")
            one = stack.enter_context(started(configure, Path(folder, name), port, cores))
            if isinstance(one, Running):
                running.append(one)
        figures: list[Figure] = []
        for number in range(given.rounds):
            for mode in given.modes:
                for one in running[number % len(running) :] + running[: number % len(running)]:
                    figures.append(measure(one, mode, given.options, number, cores))
                    _tell(figures[-1], mode)
    return Result(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=facts,
        took_s=time.perf_counter() - begun,
        rounds=given.rounds,
        modes={mode.name: mode.title for mode in given.modes},
        versions={one.server.name: one.server.version for one in running},
        figures=figures,
        resident=resident,
        missing=missing,
    )


def _tell(figure: Figure, mode: Mode) -> None:
    cpu = "" if figure.cpu_us is None else f"{figure.cpu_us:8.1f} us a {mode.per}"
    added = figure.load.added_us
    late = "" if added is None else f", {added.p50 / 1000:.2f} ms later (p99 {added.p99 / 1000:.2f})"
    _say(f"round {figure.round + 1}: {figure.server:10} {mode.title:26} {cpu}{late}; others {figure.others:.0%}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parsed() -> Given:
    """The command line."""
    parser = argparse.ArgumentParser(description=cast("str", __doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="one short round, no page")
    parser.add_argument("--rounds", type=int, help="rounds over all servers (5)")
    parser.add_argument("--seconds", type=float, help="how long new requests are made, in each mode (2)")
    parser.add_argument("--total", type=int, help="how many requests are made at most, in each mode")
    parser.add_argument("--servers", default="nginx,haproxy,trunkline,direct", help="which of them, by commas")
    parser.add_argument("--modes", help=f"which of {', '.join(mode.name for mode in MODES)}")
    parser.add_argument("--open-streams", type=int, help="streams that are open while memory is measured (4000)")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more server; {port}, {upstream} (a URL) and {folder} stand in the command",
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where proxies.json is written")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    given = parser.parse_args()
    names = (given.modes or ",".join(QUICK if given.quick else [mode.name for mode in MODES])).split(",")
    options = {"seconds_ms": round((given.seconds or (1 if given.quick else 2)) * 1000)}
    if given.total:
        options |= {"total": given.total, "warm": 1}
    open_streams = given.open_streams if given.open_streams is not None else (0 if given.quick else 4000)
    servers = {name: SERVERS[name] for name in given.servers.split(",")}
    servers |= {text.partition("=")[0]: peer(text) for text in given.peer}
    modes = [mode for mode in MODES if mode.name in names]
    return Given(
        servers=servers,
        modes=modes,
        rounds=given.rounds or (1 if given.quick else 5),
        options=options,
        open_streams=open_streams,
        results=given.results,
        writes_page=given.write,
    )


def main() -> int:
    """Measure, print the table, keep the figures."""
    given = parsed()
    try:
        result = run(given)
    except Broken as why:
        _say(f"The benchmark stops: {why}")
        return 1
    given.results.mkdir(exist_ok=True)
    (given.results / "proxies.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    print(table(result))
    if given.writes_page:
        write_page(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
