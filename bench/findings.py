"""What a run of the benchmark finds, as values; bench/run.py measures them, bench/page.py prints them."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from machine import Facts
from native import Load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from native import Spread

REFERENCE = "nginx"


class Figure(msgspec.Struct, frozen=True):
    """One server in one mode in one round."""

    server: str
    mode: str
    round: int
    cpu_us: float | None
    """CPU of the server's process tree for each request or chunk, in microseconds; None for the upstream itself."""
    others: float
    """Which part of the servers' core anything else took meanwhile."""
    load_busy: float
    """Which part of its core the load, and anything else there, took meanwhile."""
    load: Load


class Resident(msgspec.Struct, frozen=True):
    """A server's memory, and how fast it is there. A stream's memory is what the process has for it, not the kernel."""

    server: str
    version: str
    started_s: float
    """From starting it to its first whole answer."""
    idle_bytes: int
    streams: int
    stream_bytes: float | None
    """None where no stream was opened."""


class Cost(NamedTuple):
    """The CPU of one server in one mode, over all rounds, in microseconds; ratios are to the reference's own round."""

    median: float
    least: float
    most: float
    ratio: float | None
    least_ratio: float | None
    most_ratio: float | None


class Result(msgspec.Struct, frozen=True):
    """Everything that one run has found."""

    date: str
    machine: Facts
    took_s: float
    rounds: int
    modes: dict[str, str]
    """Their names, and what they are called in a table."""
    versions: dict[str, str]
    figures: list[Figure]
    resident: list[Resident]
    missing: list[tuple[str, str]]
    """Servers that are not on this machine, and how they get there, or why they cannot."""
    failed: list[tuple[str, str]]
    """Peers that could not be measured, and in what."""

    def of(self, server: str, mode: str) -> list[Figure]:
        """One figure a round."""
        return [figure for figure in self.figures if (figure.server, figure.mode) == (server, mode)]

    def servers(self) -> list[str]:
        """Those that were measured, in their order."""
        return list(dict.fromkeys(sorted((one.server for one in self.figures), key=list(self.versions).index)))

    def cost(self, server: str, mode: str) -> Cost | None:
        """None where there is no such cost."""
        spent = {one.round: one.cpu_us for one in self.of(server, mode) if one.cpu_us is not None}
        reference = {one.round: one.cpu_us for one in self.of(REFERENCE, mode) if one.cpu_us}
        if not spent:
            return None
        ratios = [spent[number] / reference[number] for number in spent if number in reference]
        least, middle, most = (min(ratios), median(ratios), max(ratios)) if ratios else (None, None, None)
        return Cost(median(spent.values()), min(spent.values()), max(spent.values()), middle, least, most)

    def late_ms(self, server: str, mode: str) -> tuple[float, float] | None:
        """How much later than sent a chunk comes, in milliseconds: p50 and p99, each the median over the rounds."""
        return _middle(one.load.added_us for one in self.of(server, mode))

    def first_ms(self, server: str, mode: str) -> tuple[float, float] | None:
        """From asking to the first text, in milliseconds: p50 and p99, each the median over the rounds."""
        return _middle(one.load.first_us for one in self.of(server, mode))

    def disturbance(self) -> float:
        """The most that others took of the servers' core in any measurement of a server."""
        return max((one.others for one in self.figures if one.cpu_us is not None), default=0.0)


def _middle(spreads: Iterable[Spread | None]) -> tuple[float, float] | None:
    known = [one for one in spreads if one is not None]
    if not known:
        return None
    return median(one.p50 for one in known) / 1000, median(one.p99 for one in known) / 1000
