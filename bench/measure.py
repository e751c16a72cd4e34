"""Loads one server in one mode, and reads the clocks around it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import cost
from findings import Figure, Resident
from native import Clients
from servers import KEY

if TYPE_CHECKING:
    from native import Cores, Load
    from servers import Running

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
SLOW_MS = 500
OPENED_A_SECOND = 2000
OPEN_S = 3.0
"""How long all are open, when they are many and the last of them has begun."""


def slow_streams(count: int) -> dict[str, int]:
    """So many streams that begin one after the other and stay open, with a chunk of each every half second."""
    pieces = round((opening_s(count) + OPEN_S) * 1000 / SLOW_MS)
    spread_us = round(opening_s(count) * 1e6)
    ours = {"connections": count, "total": count, "spread_us": spread_us, "warm": 0}
    return {**ours, "stream": 1, "pieces": pieces, "every_us": SLOW_MS * 1000}


def opening_s(count: int) -> float:
    """How long it takes until so many have begun."""
    return count / OPENED_A_SECOND


def measure(running: Running, mode: Mode, options: dict[str, int], number: int, cores: Cores) -> Figure:
    """Load one server once."""
    with Clients(told(running, {**mode.options, **options})) as clients:
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
    """Open so many streams (0: none), and see what the server holds meanwhile. For one that has just started."""
    server = running.server
    idle = cost.memory_bytes(running.pid)
    if not count:
        return Resident(server.name, server.version, running.started_s, idle, 0, None)
    with Clients(told(running, slow_streams(count))) as clients:
        clients.go()
        time.sleep(opening_s(count) + 1)
        held = cost.memory_bytes(running.pid)
        clients.result()
    return Resident(server.name, server.version, running.started_s, idle, count, (held - idle) / count)


def told(running: Running, options: dict[str, int]) -> dict[str, int | str | list[str]]:
    """The load client's options for this server."""
    headers = [f"{name}: {value}" for name, value in running.server.headers.items()]
    ours = {"port": running.port, "model": running.server.model, "key": KEY, "header": headers}
    return {**ours, "patience_ms": round(running.server.patience_s * 1000), **options}


def _clocks(running: Running, cores: Cores) -> tuple[float, float, float, float]:
    """In seconds: the time, the server's CPU, what the servers' core has done, and what the load's has."""
    spent = cost.cpu_s(running.pid) if running.pid else 0.0
    return time.perf_counter(), spent, cost.core_busy_s(cores.server), cost.core_busy_s(cores.load)
