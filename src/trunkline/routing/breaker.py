"""One circuit breaker: closed while a target works, open while it does not, half open for one real request.

Virtual time: whoever asks says what time it is, and chance comes in as a number from 0 to 1.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trunkline.core.resilience import BreakerLimits


class State(StrEnum):
    """What a target may be asked now."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """It may be asked once, to see; whoever does so must `probe` first."""


MAX_REMEMBERED: Final = 4096
"""Outcomes that one breaker remembers, whatever the traffic."""

MAX_DOUBLINGS: Final = 16
"""More of them say nothing: the wait has its bound long before."""


class Breaker:
    """Owns when it answered and failed within the last window, and since when it is open."""

    __slots__ = (
        "_answers",
        "_closed_at",
        "_consecutive",
        "_doublings",
        "_failures",
        "_limits",
        "_probed_at",
        "_until",
    )

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._answers: deque[float] = deque(maxlen=MAX_REMEMBERED)
        """When it answered, well or not. What is older than the window is forgotten at the next failure."""
        self._failures: deque[float] = deque(maxlen=MAX_REMEMBERED)
        """When it failed."""
        self._consecutive = 0
        self._doublings = 0
        self._until: float | None = None
        self._closed_at: float | None = None
        self._probed_at: float | None = None

    def state(self, now: float) -> State:
        """What the target may be asked now."""
        if self._until is None:
            return State.CLOSED
        if now < self._until or self._probed_at is not None:
            return State.OPEN
        return State.HALF_OPEN

    def opens_in(self, now: float) -> float:
        """Seconds until it may be asked again; 0 where it may."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def share(self, now: float) -> float:
        """Which share of its usual traffic it should have, from 0 to 1: less than all just after it has closed."""
        if self._closed_at is None:
            return 1.0
        limits = self._limits
        grown = (now - self._closed_at) / limits.slow_start_s if limits.slow_start_s else 1.0
        if grown >= 1:
            self._closed_at = None
            return 1.0
        return max(limits.slow_start_share, grown)

    def probe(self, now: float) -> None:
        """One request is sent to see whether it works again. Its outcome, or `give_up`, must follow."""
        self._probed_at = now

    def give_up(self) -> None:
        """That request ended without an answer to the question, such as by its client leaving."""
        self._probed_at = None

    def succeed(self, now: float) -> None:
        """It has answered."""
        self._consecutive = 0
        if self._until is not None:
            if self._probed_at is None:
                return  # asked before it opened, or in panic: it says nothing of now
            self._probed_at = None
            self._until = None
            self._doublings = 0
            self._closed_at = now
            self._answers.clear()
            self._failures.clear()
        self._answers.append(now)

    def fail(self, now: float, chance: float) -> None:
        """It has failed by a fault of its own. `chance`, from 0 to 1, spreads the moment at which it is tried again."""
        if self._until is not None:
            if self._probed_at is not None:
                is_quick = now - self._probed_at <= self._limits.quick_s
                self._probed_at = None
                # Whoever finds out soon has lost nothing: there is no reason to ask less often.
                self._doublings = 0 if is_quick else self._doublings + 1
                self._open(now, chance)
            return
        self._consecutive += 1
        self._answers.append(now)
        self._failures.append(now)
        if self._consecutive >= self._limits.consecutive or self._fails_often(now):
            self._open(now, chance)

    def _open(self, now: float, chance: float) -> None:
        limits = self._limits
        lasts = min(limits.longest_s, limits.open_s * 2 ** min(self._doublings, MAX_DOUBLINGS))
        self._until = now + lasts * (1 - limits.jitter * chance)
        self._closed_at = None

    def _fails_often(self, now: float) -> bool:
        """Whether too many of the window's answers are failures; it has failed just now."""
        answers, failures, limits = self._answers, self._failures, self._limits
        while answers[0] < now - limits.window_s:
            answers.popleft()
        while failures and failures[0] < answers[0]:
            failures.popleft()
        return len(answers) >= limits.least and len(failures) >= limits.share * len(answers)
