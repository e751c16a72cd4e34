"""A value that expires and has to be fetched again: one fetch at a time, however many wait for it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from trunkline.core.problem import Kind, Problem, Retry, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

RENEW_S: Final = 300.0
"""How long before its end a value is fetched again, while it still serves."""

SPARE_S: Final = 10.0
"""How long before its end a value stops to serve: what is made with it has to arrive in time."""

AGAIN_S: Final = 5.0
"""How long a value that still serves is left alone after it could not be renewed."""


class ShortLived(Generic[T]):
    """Holds one value and owns the one fetch that runs. `name` is the provider's label, for people.

    A value near its end is still given while the next one is fetched. The margins shrink with values that live
    for less than their multiple. Whoever waits gets what the fetch gives, or its Problem.
    """

    def __init__(self, name: str, *, wait_s: float) -> None:
        self._name = name
        self._wait_s = wait_s
        self._value: T | None = None
        self._fresh_until = -math.inf
        self._good_until = -math.inf
        self._running: asyncio.Task[T] | None = None

    async def get(self, fetch: Callable[[], Awaitable[tuple[T, float]]], deadline: float) -> T:
        """The value. `fetch` gives one and for how many seconds it is good; it raises Problem.

        `deadline` is in the loop's time: TimeoutError when it passes. Problem TIMED_OUT after `wait_s`. Cancelling
        one who waits does not cancel the fetch.
        """
        now = asyncio.get_running_loop().time()
        if self._value is not None and now < self._fresh_until:
            return self._value
        if self._running is None:
            self._running = asyncio.create_task(self._fetch(fetch))
            self._running.add_done_callback(self._ended)
        running = self._running
        if self._value is not None and now < self._good_until:
            return self._value
        await asyncio.wait({running}, timeout=max(0.0, min(self._wait_s, deadline - now)))
        if not running.done():
            raise TimeoutError if deadline - now <= self._wait_s else self._late()
        if running.cancelled():
            raise Problem(Kind.DRAINING, "The router is shutting down.")
        return running.result()

    async def aclose(self) -> None:
        """End the fetch that runs, if one does. What its thread does by itself has its own timers."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _fetch(self, fetch: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        value, lifetime_s = await fetch()
        now = asyncio.get_running_loop().time()
        self._value = value
        self._fresh_until = now + lifetime_s - min(RENEW_S, lifetime_s / 2)
        self._good_until = now + lifetime_s - min(SPARE_S, lifetime_s / 10)
        return value

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._running = None
        if not task.cancelled() and task.exception() is not None:
            self._fresh_until = min(task.get_loop().time() + AGAIN_S, self._good_until)

    def _late(self) -> Problem:
        return Problem(
            Kind.TIMED_OUT,
            f"What proves to {self._name} who asks did not come within {self._wait_s:g} s.",
            source=Source.NETWORK,
            retry=Retry.ELSEWHERE,
        )
