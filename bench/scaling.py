"""How Trunkline grows: with workers, with open streams, with past requests; and what it is to reach on two cores.

One worker has a core of its own, and the upstream and the clients another; two workers share both cores with them.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import msgspec

import cost
import machine
from machine import Facts
from measure import SLOW_MS, Mode, measure, opening_s, request, slow_streams, streams, told
from native import Broken, Clients, Cores, Spread, upstream
from page import Check, check_table, plain_table, quiet
from servers import Missing, direct, started, trunkline

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from findings import Figure
    from servers import Place, Running, Server

WORKERS = (1, 2)
STREAMS = (1, 64, 500)
"""How many are open at once, each with a chunk every 10 ms; the most that are open have one every half second."""

UNARY = Mode("unary", "a request answered with 1 KiB", "request", request(64, 1024, fill=1024))
EVENTS = Mode("events", "streams of 50 tokens without a pause", "chunk", request(64, 1024, fill=0, stream=1))
EVENT_OPTIONS = {"pieces": 50, "every_us": 0, "warm": 2}
HALF_LOAD_ROUNDS = 3

FULL = 12_000
"""Requests after which what a worker keeps of the last ones is full: the last 10,000 Records."""


class Scale(NamedTuple):
    """How long a measurement makes new requests, how many streams are open at most, how many requests are past."""

    for_ms: int
    most_streams: int
    past: int


class Workers(msgspec.Struct, frozen=True):
    """What so many worker processes do as fast as they can. CPU in microseconds, of the whole process tree."""

    workers: int
    requests_s: float
    request_us: float
    events_s: float
    event_us: float


class Streams(msgspec.Struct, frozen=True):
    """So many streams that are open at once in one worker."""

    streams: int
    every_ms: int
    chunk_us: float
    later_us: Spread
    bytes_all: float
    """What the process tree holds more than before they were opened."""


class HalfLoad(msgspec.Struct, frozen=True):
    """From when a request was due to its answer: through Trunkline, and right after that without it."""

    through_us: Spread
    direct_us: Spread


class Scaling(msgspec.Struct, frozen=True):
    """Everything that this part has found."""

    date: str
    machine: Facts
    workers: list[Workers]
    streams: list[Streams]
    past: int
    before_bytes: int
    after_bytes: int
    """What is held before and after so many requests that are over, by a worker that is as full as it gets."""
    half_s: int
    """Requests a second at half load of one worker."""
    half: list[HalfLoad]
    started_s: list[float]
    others: float
    """The most that anything else took of the servers' core, while there was one worker."""


class Bench:
    """One run. It owns the upstream's port, the folders, and what it has seen of the machine."""

    def __init__(self, scale: Scale, folder: Path, port: int) -> None:
        self._scale = scale
        self._folder = folder
        self._port = port
        self._cores = Cores()
        self._started_s: list[float] = []
        self._others = 0.0

    def run(self) -> Scaling:
        """Measure everything."""
        facts = machine.facts()
        workers = [self._workers(count) for count in WORKERS]
        half = round(workers[0].requests_s / 2)
        counts = (*(count for count in STREAMS if count < self._scale.most_streams), self._scale.most_streams)
        open_streams = [self._streams(count) for count in counts]
        before, after = self._past()
        return Scaling(
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            machine=facts,
            workers=workers,
            streams=open_streams,
            past=self._scale.past,
            before_bytes=before,
            after_bytes=after,
            half_s=half,
            half=self._half_loads(half),
            started_s=self._started_s,
            others=self._others,
        )

    @contextlib.contextmanager
    def _server(self, configure: Callable[[Place], Server | Missing]) -> Generator[Running]:
        folder = self._folder / f"{time.monotonic_ns()}"
        with started(configure, folder, self._port, self._cores) as one:
            if isinstance(one, Missing):
                raise Broken(f"{one.name} is not there.")
            if one.pid and one.server.workers == 1:
                self._started_s.append(one.started_s)
            yield one

    def _measure(self, one: Running, mode: Mode, **options: int) -> Figure:
        figure = measure(one, mode, {"seconds_ms": self._scale.for_ms, **options}, 0, self._cores)
        if one.pid and one.server.workers == 1:
            self._others = max(self._others, figure.others)
        return figure

    def _workers(self, count: int) -> Workers:
        with self._server(partial(trunkline, workers=count)) as one:
            requests = self._measure(one, UNARY)
            events = self._measure(one, EVENTS, **EVENT_OPTIONS)
        return Workers(
            count,
            requests.load.requests / requests.load.seconds,
            requests.cpu_us or 0.0,
            events.load.pieces / events.load.seconds,
            events.cpu_us or 0.0,
        )

    def _streams(self, count: int) -> Streams:
        is_most = count not in STREAMS
        every_ms = SLOW_MS if is_most else 10
        options = slow_streams(count) if is_most else {**streams(count), "seconds_ms": self._scale.for_ms, "warm": 0}
        open_after_s = opening_s(count) + 1 if is_most else 0.5
        with self._server(trunkline) as one:
            self._measure(one, UNARY, total=500, warm=0)
            before, spent = cost.memory_bytes(one.pid), cost.cpu_s(one.pid)
            with Clients(told(one, options)) as clients:
                clients.go()
                time.sleep(open_after_s)
                held = cost.memory_bytes(one.pid)
                load = clients.result()
            spent = cost.cpu_s(one.pid) - spent
        if load.added_us is None:
            raise Broken("No chunk came.")
        return Streams(count, every_ms, spent / load.pieces * 1e6, load.added_us, max(0, held - before))

    def _past(self) -> tuple[int, int]:
        with self._server(trunkline) as one:
            self._measure(one, UNARY, seconds_ms=0, total=min(FULL, self._scale.past), warm=0)
            before = cost.memory_bytes(one.pid)
            self._measure(one, UNARY, seconds_ms=0, total=self._scale.past, warm=0)
            return before, cost.memory_bytes(one.pid)

    def _half_loads(self, rate: int) -> list[HalfLoad]:
        with self._server(trunkline) as through, self._server(direct) as bare:
            return [HalfLoad(self._at_rate(rate, through), self._at_rate(rate, bare)) for _ in range(HALF_LOAD_ROUNDS)]

    def _at_rate(self, rate: int, one: Running) -> Spread:
        figure = self._measure(one, UNARY, rate=rate)
        if figure.load.first_us is None:
            raise Broken("No answer came.")
        return figure.load.first_us


def run(scale: Scale) -> Scaling:
    """Measure everything, with an upstream of its own."""
    with tempfile.TemporaryDirectory() as folder, upstream() as port:
        return Bench(scale, Path(folder), port).run()


def checks(found: Scaling) -> list[Check]:
    """What was found beside what it is to be."""
    one, two = found.workers
    most = found.streams[-1]
    p50 = median(one.through_us.p50 - one.direct_us.p50 for one in found.half) / 1000
    p99 = median(one.through_us.p99 - one.direct_us.p99 for one in found.half) / 1000
    grown = max(0, found.after_bytes - found.before_bytes) / 2**20
    return [
        Check("requests a second, one worker", one.requests_s, "", 800, is_least=True),
        Check("requests a second, two workers", two.requests_s, "", 1500, is_least=True),
        Check("events of streams relayed a second, two workers", two.events_s, "", 20_000, is_least=True),
        Check(f"later at half load ({found.half_s} requests a second), p50", p50, "ms", 2),
        Check("later at half load, p99", p99, "ms", 10),
        Check(f"memory of each of {most.streams:,} open streams", most.bytes_all / most.streams / 1024, "KiB", 40),
        Check(f"memory grown by {found.past:,} past requests", grown, "MiB", 2),
        Check("start to first answer", median(found.started_s), "s", 1),
    ]


def table(found: Scaling) -> str:
    """All tables, and what they were made on."""
    names = {1: "one worker", 2: "two workers"}
    workers = plain_table(
        ("", *(names[one.workers] for one in found.workers)),
        ("requests a second", *(f"{one.requests_s:,.0f}" for one in found.workers)),
        ("CPU of a request", *(f"{one.request_us:.0f} us" for one in found.workers)),
        ("events of streams a second", *(f"{one.events_s:,.0f}" for one in found.workers)),
        ("CPU of an event", *(f"{one.event_us:.1f} us" for one in found.workers)),
    )
    rows = [
        (
            f"{one.streams:,}",
            f"{one.every_ms} ms",
            f"{one.chunk_us:.1f} us",
            f"{one.later_us.p50 / 1000:.2f} / {one.later_us.p99 / 1000:.2f}",
            f"{one.bytes_all / 2**20:.1f} MiB",
        )
        for one in found.streams
    ]
    head = ("open streams", "a chunk each", "CPU of a chunk", "later by, ms, p50 / p99", "memory of all of them")
    foot = f"{found.date}: {found.machine.line()}. {quiet(found.others)}"
    return "\n\n".join([workers, plain_table(head, *rows), check_table(checks(found)), foot]) + "\n"
