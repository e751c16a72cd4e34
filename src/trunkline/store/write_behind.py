"""Writes that nobody waits for: a bounded queue before a database, which tries again while the database is away."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trunkline.core.problem import Problem
from trunkline.store.db import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from trunkline.store.db import Database

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Write:
    """A transaction to be. `size` is what it holds in memory, in bytes, roughly.

    `settled` is called once: with None when it is committed, with the reason when it never will be. `first` is
    awaited before it is tried.
    """

    step: Callable[[AsyncConnection], Awaitable[None]]
    size: int
    settled: Callable[[str | None], None]
    first: Callable[[], Awaitable[None]] | None = None


class WriteBehind:
    """Runs writes in the background, in the order in which they came, `writers` at a time.

    Owns its queue and its tasks. Bounds: `max_pending` writes of together `max_bytes`; `give_up_s` for each from the
    first attempt on.
    """

    def __init__(self, database: Database, *, writers: int, max_pending: int, max_bytes: int, give_up_s: float) -> None:
        self._database = database
        self._writers = writers
        self._max_pending = max_pending
        self._max_bytes = max_bytes
        self._give_up_s = give_up_s
        self._queue: asyncio.Queue[Write] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._held_bytes = 0
        self._is_closing = False
        self.pending = 0
        """Writes that were taken and are not settled."""

    def start(self) -> None:
        """Begin to write."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._writers)]

    def put(self, write: Write) -> bool:
        """Take this write. False, and nothing taken, where there is no room."""
        if self._is_closing or self.pending >= self._max_pending or self._held_bytes + write.size > self._max_bytes:
            return False
        self.pending += 1
        self._held_bytes += write.size
        self._queue.put_nowait(write)
        return True

    async def aclose(self, timeout_s: float) -> None:
        """Take no more, write what is pending for as long as this, and settle the rest as lost."""
        self._is_closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._queue.join()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        while not self._queue.empty():
            self._settle(self._queue.get_nowait(), "the router ended")

    async def _work(self) -> None:
        while True:
            write = await self._queue.get()
            lost: str | None = "the router ended"
            # In a task of its own: a write that nobody foresaw to fail is lost, and the writer lives on.
            attempts = asyncio.create_task(self._until_written(write))
            try:
                await asyncio.wait((attempts,))
                fault = attempts.exception()
                lost = attempts.result() if fault is None else type(fault).__name__
            finally:
                attempts.cancel()
                self._settle(write, lost)

    async def _until_written(self, write: Write) -> str | None:
        """Try until it is committed: None; or until there is no use in it: the reason."""
        if write.first is not None:
            await write.first()
        clock = asyncio.get_running_loop().time
        give_up = clock() + self._give_up_s
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._database.write(write.step)
            except Refused as problem:
                return problem.detail
            except Problem as problem:
                if clock() + pause > give_up:
                    return problem.detail
            else:
                return None
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _settle(self, write: Write, lost: str | None) -> None:
        self.pending -= 1
        self._held_bytes -= write.size
        self._queue.task_done()
        write.settled(lost)
