"""The kept connections of one origin: who gets one, who waits, which are closed for their age."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING, Any

from trunkline.core.problem import Kind, Problem, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline.upstream.connection import Connection
    from trunkline.upstream.limits import ClientLimits


class _Grant(Enum):
    """What somebody who waits may get other than a kept connection."""

    SLOT = "the right to open a connection"
    GAVE_UP = "the time is up"
    CLOSED = "the client is closed"


class Idle:
    """How many connections without work all pools of one client keep together, at most `limit`."""

    __slots__ = ("_limit", "_pools", "count")

    def __init__(self, limit: int, pools: Mapping[Any, Pool]) -> None:
        self._limit = limit
        self._pools = pools
        self.count = 0

    def make_room(self) -> bool:
        """Whether one more may be kept. Where there are enough, the one that was idle for longest is closed first."""
        if self.count >= self._limit:
            oldest = [next(iter(pool.idle)) for pool in self._pools.values() if pool.idle]
            if oldest:
                min(oldest, key=lambda connection: connection.idle_since).abort()
        return self.count < self._limit


class Pool:
    """Owns the slots of one origin. Whoever holds a slot has one connection, or the right to open one.

    All its decisions are synchronous. A slot that comes back while somebody waits goes straight to the one who
    has waited longest, so nobody overtakes. `open` counts the slots in use and the idle connections; `on_empty`
    is called when it falls to 0.
    """

    def __init__(self, name: str, limits: ClientLimits, kept: Idle, on_empty: Callable[[], object]) -> None:
        self._name = name
        self._limits = limits
        self._kept = kept
        self._on_empty = on_empty
        self._waiting: OrderedDict[asyncio.Future[Connection | _Grant], None] = OrderedDict()
        self._reaper: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.idle: dict[Connection, None] = {}
        self.open = 0

    def take(self) -> Connection | None:
        """A kept connection, the one used last, with its slot; None where there is none: then `enter` gives a slot."""
        if not self.idle:
            return None
        self._kept.count -= 1
        return self.idle.popitem()[0]

    async def enter(self, *, wait_s: float, deadline: float) -> Connection | None:
        """A slot: with a kept connection, or with None, to open one.

        Raises Problem TIMED_OUT after `wait_s`, OVERLOADED when too many wait already, and TimeoutError when the
        deadline passes first. Cancelled, it leaves nothing behind.
        """
        if (kept := self.take()) is not None:
            return kept
        if self.open < self._limits.connections_per_origin:
            self.open += 1
            return None
        if len(self._waiting) >= self._limits.waiting_per_origin:
            raise Problem(
                Kind.OVERLOADED,
                f"Too many requests wait for a connection to {self._name}. Try again, or try another model.",
                retry=Retry.ELSEWHERE,
                retry_after_s=1.0,
            )
        until = asyncio.get_running_loop().time() + wait_s
        match await self._wait(min(until, deadline)):
            case _Grant.SLOT:
                return None
            case _Grant.GAVE_UP:
                if deadline < until:
                    raise TimeoutError
                raise Problem(
                    Kind.TIMED_OUT,
                    f"All {self.open} connections to {self._name} stayed busy for {wait_s:g} s.",
                    retry=Retry.ELSEWHERE,
                )
            case _Grant.CLOSED:
                raise closed_problem()
            case connection:
                return connection

    async def _wait(self, until: float) -> Connection | _Grant:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Connection | _Grant] = loop.create_future()
        self._waiting[waiter] = None
        timer = loop.call_at(until, self._give_up, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # A slot was granted in the same turn: it goes on to the next one.
                self._decline(waiter.result())
            raise
        finally:
            timer.cancel()
            self._waiting.pop(waiter, None)

    def _give_up(self, waiter: asyncio.Future[Connection | _Grant]) -> None:
        if not waiter.done():
            waiter.set_result(_Grant.GAVE_UP)

    def _decline(self, grant: Connection | _Grant) -> None:
        if grant is _Grant.SLOT:
            self.leave(None)
        elif not isinstance(grant, _Grant):
            self._keep(grant)

    def leave(self, connection: Connection | None) -> None:
        """Give the slot back: with its connection, which is kept if it can serve again, or without one."""
        if connection is not None and connection.is_reusable and not self._is_closed:
            connection.rest()
            self._keep(connection)
            return
        if connection is not None:
            connection.abort()
        if not self._hand_on(_Grant.SLOT):
            self._shrink()

    def _keep(self, connection: Connection) -> None:
        """Hand a resting connection on, or keep it idle, or close it where none are kept."""
        if connection.is_closed or self._is_closed:
            self.leave(connection)
        elif self._waiting and self._hand_on(connection):
            pass
        elif self._kept.make_room():
            self._kept.count += 1
            self.idle[connection] = None
            if self._reaper is None:
                self._set_reaper(connection.idle_since)
        else:
            connection.abort()
            self._shrink()

    def _hand_on(self, grant: Connection | _Grant) -> bool:
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                waiter.set_result(grant)
                return True
        return False

    def _shrink(self) -> None:
        self.open -= 1
        if self.open == 0:
            if self._reaper is not None:
                self._reaper.cancel()
                self._reaper = None
            self._on_empty()

    def drop(self, connection: Connection) -> None:
        """A connection has ended. If it was idle here, forget it; one in use is given back by its user."""
        if connection in self.idle:
            del self.idle[connection]
            self._kept.count -= 1
            self._shrink()

    def _set_reaper(self, idle_since: float) -> None:
        loop = asyncio.get_running_loop()
        self._reaper = loop.call_at(idle_since + self._limits.idle_s, self._reap)

    def _reap(self) -> None:
        """Close what has been idle for too long: the oldest stand first. One timer serves them all."""
        self._reaper = None
        now = asyncio.get_running_loop().time()
        for connection in list(self.idle):
            # Loops may fire a timer up to one tick of their clock early.
            if connection.idle_since + self._limits.idle_s - now > 0.001:
                self._set_reaper(connection.idle_since)
                return
            connection.abort()

    def close(self) -> None:
        """Close what is idle, refuse those who wait, and keep nothing from now on."""
        self._is_closed = True
        while self._hand_on(_Grant.CLOSED):
            pass
        for connection in list(self.idle):
            connection.abort()


def closed_problem() -> Problem:
    """What a request is told that comes when the client is closed."""
    return Problem(Kind.DRAINING, "The router is shutting down.")
