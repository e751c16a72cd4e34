"""The one bound on retries, for all requests of a process together: when everything fails, load must not multiply.

Shaped after Finagle's: each request earns a part of a retry, what is earned is forgotten after a while, and a small
reserve lets a quiet router retry at all. Source: https://finagle.github.io/blog/2016/02/08/retry-budgets/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trunkline.core.resilience import RetryLimits


_SLOTS: Final = 10
"""Parts of the window, each forgotten as a whole."""


class RetryBudget:
    """Owns the count of what was earned in each part of the window, and of the reserve."""

    def __init__(self, limits: RetryLimits, now: float) -> None:
        self._limits = limits
        self._earned = [0.0] * _SLOTS
        self._slot = self._slot_of(now)
        self._next_slot_at = now
        self._reserve = float(limits.concurrent)
        self._filled_at = now

    def earn(self, now: float) -> None:
        """A client's request has come."""
        if now >= self._next_slot_at:
            self._turn(now)
        self._earned[self._slot % _SLOTS] += self._limits.share

    def has(self, now: float) -> bool:
        """Whether `spend` would give one."""
        self._turn(now)
        return sum(self._earned) >= 1 or self._reserve >= 1

    def spend(self, now: float) -> bool:
        """Take one retry, if there is one: what was earned first, then the reserve."""
        self._turn(now)
        if sum(self._earned) >= 1:
            left = 1.0
            for back in range(_SLOTS):  # the oldest first
                at = (self._slot + 1 + back) % _SLOTS
                taken = min(left, self._earned[at])
                self._earned[at] -= taken
                left -= taken
            return True
        if self._reserve >= 1:
            self._reserve -= 1
            return True
        return False

    def _turn(self, now: float) -> None:
        slot = self._slot_of(now)
        for gone in range(self._slot + 1, min(slot, self._slot + _SLOTS) + 1):
            self._earned[gone % _SLOTS] = 0.0
        self._slot = max(slot, self._slot)
        self._next_slot_at = (self._slot + 1) / _SLOTS * self._limits.window_s
        limits = self._limits
        grown = max(0.0, now - self._filled_at) * limits.reserve_per_s
        self._reserve = min(float(limits.concurrent), self._reserve + grown)
        self._filled_at = max(now, self._filled_at)

    def _slot_of(self, now: float) -> int:
        return int(now / self._limits.window_s * _SLOTS)
