"""Trunkline beside nginx and haproxy, and by itself: what a request and a chunk cost, and how much later they come.

Three parts: `proxies`, `scaling` and `soak`. In each round of the proxies every server is measured in every mode, one
after the other, on a core of its own, so that what else the machine does meets all of them; a ratio is always within
one round. `make bench` measures all parts, `make bench-quick` the proxies in half a minute; with `--write` the tables
go to docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

import machine
import scaling
import soak
from findings import Result
from measure import MODES, Mode, measure, reside
from native import HERE, Broken, Cores, upstream
from page import CHART, chart, table, write_page, write_section
from peers import NOWHERE, PACKAGES, installed
from servers import SERVERS, Missing, Running, peer, started

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from findings import Figure, Resident
    from servers import Place, Server

PARTS = ("proxies", "scaling", "soak")
QUICK = ("request", "streams_64", "streams_500")


class Given(NamedTuple):
    """What the command line asks for."""

    parts: Sequence[str]
    servers: dict[str, Callable[[Place], Server | Missing]]
    peers: frozenset[str]
    """Those of the servers whose failure does not stop the benchmark."""
    modes: Sequence[Mode]
    rounds: int
    options: dict[str, int]
    """Over those of every mode."""
    open_streams: int
    """While memory is measured; 0: it is not."""
    scale: scaling.Scale
    soak_s: float
    settling_s: float
    """How long connections that nobody uses are waited for after the soak."""
    results: Path
    writes_page: bool


class Proxies:
    """One run over all servers. It owns what is found while it goes on."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._cores = Cores()
        self._running: list[Running] = []
        self._figures: list[Figure] = []
        self._resident: list[Resident] = []
        self._missing: list[tuple[str, str]] = []
        self._failed: dict[tuple[str, str], str] = {}

    def run(self) -> Result:
        """Measure everything that was asked for."""
        begun, facts, given = time.perf_counter(), machine.facts(), self._given
        with tempfile.TemporaryDirectory() as folder, upstream() as port, contextlib.ExitStack() as stack:
            for name, configure in given.servers.items():
                with self._tolerant(name, "starting"):
                    one = self._settle(name, configure, Path(folder, f"{name}-fresh"), port)
                    if one is not None:
                        again = started(configure, Path(folder, name), port, self._cores)
                        self._running.append(cast("Running", stack.enter_context(again)))
            if not self._running:
                raise Broken("None of these servers is here.")
            for number in range(given.rounds):
                for mode in given.modes:
                    shift = number % len(self._running)
                    for one in self._running[shift:] + self._running[:shift]:
                        self._measure(one, mode, number)
        return Result(
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            machine=facts,
            took_s=time.perf_counter() - begun,
            rounds=given.rounds,
            modes={mode.name: mode.title for mode in given.modes},
            versions={one.server.name: one.server.version for one in self._running},
            figures=self._figures,
            resident=self._resident,
            missing=self._missing,
            failed=[(server, f"{what}: {why}") for (server, what), why in self._failed.items()],
        )

    def _settle(
        self, name: str, configure: Callable[[Place], Server | Missing], folder: Path, port: int
    ) -> Running | None:
        """See what a fresh server holds. None if it is not here."""
        with started(configure, folder, port, self._cores) as one:
            if isinstance(one, Missing):
                say(f"{name} is not here ({one.remedy}): going on without it.")
                self._missing.append((one.name, one.remedy))
                return None
            if one.pid and self._given.open_streams:
                count = 0 if name in self._given.peers else self._given.open_streams
                self._resident.append(reside(one, count))
                say(f"{name}: {self._resident[-1].idle_bytes / 2**20:.0f} MiB, {one.started_s:.2f} s to start")
            return one

    def _measure(self, one: Running, mode: Mode, number: int) -> None:
        name = one.server.name
        if (name, mode.title) in self._failed:
            return
        with self._tolerant(name, mode.title):
            self._figures.append(measure(one, mode, self._given.options, number, self._cores))
            _tell(self._figures[-1], mode)

    @contextlib.contextmanager
    def _tolerant(self, name: str, what: str) -> Generator[None]:
        """A peer that fails in this block is noted, and left out from then on; anything else stops the benchmark."""
        try:
            yield
        except Broken as why:
            if name not in self._given.peers:
                raise
            self._failed[name, what] = str(why).partition("\n")[0]
            say(f"{name} fails in {what}: {why}")


def _tell(figure: Figure, mode: Mode) -> None:
    cpu = "" if figure.cpu_us is None else f"{figure.cpu_us:8.1f} us a {mode.per}"
    added = figure.load.added_us
    late = "" if added is None else f", {added.p50 / 1000:.2f} ms later (p99 {added.p99 / 1000:.2f})"
    say(f"round {figure.round + 1}: {figure.server:14} {mode.title:26} {cpu}{late}; others {figure.others:.0%}")


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def parsed() -> Given:
    """The command line."""
    parser = argparse.ArgumentParser(description=cast("str", __doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="one short round of the proxies")
    parser.add_argument("--parts", help=f"which of {', '.join(PARTS)}, by commas (all; with --quick the proxies)")
    parser.add_argument("--rounds", type=int, help="rounds over all servers (3)")
    parser.add_argument("--seconds", type=float, help="how long new requests are made, in each mode (2)")
    parser.add_argument("--total", type=int, help="how many requests are made at most, in each mode of the proxies")
    parser.add_argument("--servers", default="nginx,haproxy,trunkline,direct", help="which of them, by commas")
    parser.add_argument("--modes", help=f"which of {', '.join(mode.name for mode in MODES)}")
    parser.add_argument("--open-streams", type=int, help="streams that are open while memory is measured (4000)")
    parser.add_argument(
        "--install",
        default="",
        metavar="NAMES",
        help=f"peers that are installed under bench/build and measured beside: {', '.join([*PACKAGES, *NOWHERE])}",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more server; {port}, {upstream} (a URL) and {folder} stand in the command",
    )
    parser.add_argument("--past", type=int, default=20_000, help="past requests over which memory may not grow")
    parser.add_argument("--soak", type=float, default=1.0, metavar="MINUTES", help="how long it goes on (1)")
    parser.add_argument("--settle", type=float, default=45.0, help="seconds until the pool has let go after it (45)")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where figures and chart are written")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    given = parser.parse_args()
    if given.quick and given.write:
        parser.error("one short round is too little for the page: --write goes without --quick")
    names = (given.modes or ",".join(QUICK if given.quick else [mode.name for mode in MODES])).split(",")
    seconds = given.seconds or (1 if given.quick else 2)
    options = {"seconds_ms": round(seconds * 1000)}
    if given.total:
        options |= {"total": given.total, "warm": 1}
    open_streams = given.open_streams if given.open_streams is not None else (0 if given.quick else 4000)
    for what, wanted, known in (
        ("mode", names, [mode.name for mode in MODES]),
        ("server", given.servers.split(","), SERVERS),
    ):
        if unknown := [name for name in wanted if name not in known]:
            parser.error(f"there is no {what} {unknown[0]}: {', '.join(known)}")
    servers = {name: SERVERS[name] for name in given.servers.split(",")}
    more = {name: installed(name) for name in given.install.split(",") if name}
    more |= {text.partition("=")[0]: peer(text) for text in given.peer}
    return Given(
        parts=(given.parts or ("proxies" if given.quick else ",".join(PARTS))).split(","),
        servers={**servers, **more},
        peers=frozenset(more),
        modes=[mode for mode in MODES if mode.name in names],
        rounds=given.rounds or (1 if given.quick else 3),
        options=options,
        open_streams=open_streams,
        scale=scaling.Scale(round(seconds * 1000), open_streams or 4000, given.past),
        soak_s=given.soak * 60,
        settling_s=given.settle,
        results=given.results,
        writes_page=given.write,
    )


def main() -> int:
    """Measure, print the tables, keep the figures."""
    given = parsed()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    given.results.mkdir(exist_ok=True)
    try:
        for part in given.parts:
            _run(part, given)
    except Broken as why:
        say(f"The benchmark stops: {why}")
        return 1
    return 0


def _run(part: str, given: Given) -> None:
    match part:
        case "proxies":
            result = Proxies(given).run()
            print(table(result))
            (given.results / CHART.name).write_text(chart(result), encoding="utf-8")
            if given.writes_page:
                write_page(result)
        case "scaling":
            result = scaling.run(given.scale)
            print(scaling.table(result))
            if given.writes_page:
                write_section("scaling", scaling.table(result))
        case "soak":
            result = soak.run(given.soak_s, given.settling_s)
            print(soak.table(result))
            if given.writes_page:
                write_section("soak", soak.table(result))
        case _:
            raise Broken(f"There is no part {part}: {', '.join(PARTS)}.")
    (given.results / f"{part}.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))


if __name__ == "__main__":
    sys.exit(main())
