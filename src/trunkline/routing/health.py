"""What is known of each target from the traffic itself: routing's only mutable state, one for each process.

A target is a (provider, model, credential): one bad model never cools a provider, one bad key never the others.
Virtual time: whoever tells or asks says what time it is; chance comes from the one source given here.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.problem import Kind, Source
from trunkline.core.resilience import HealthLimits
from trunkline.routing.breaker import Breaker, State

if TYPE_CHECKING:
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.resilience import BreakerLimits

Key = tuple[str, str, str]


class Verdict(msgspec.Struct, frozen=True):
    """Whether a target may be asked. `why` is the reason where not; `wait_s` is until it may be asked again.

    `kind` is what a client hears of it. `bars`: it holds even where too few targets are left.
    """

    state: State
    why: str = ""
    wait_s: float = 0.0
    kind: Kind = Kind.UNAVAILABLE
    bars: bool = False


class Standing(msgspec.Struct, frozen=True):
    """A target's facts at one moment: what policies look at. None means unknown; seconds, tokens a second."""

    verdict: Verdict
    share: float = 1.0
    in_flight: int = 0
    first_token_s: float | None = None
    tokens_per_s: float | None = None


WELL: Final = Verdict(State.CLOSED)
"""The verdict on a target that nothing is wrong with."""

FRESH: Final = Standing(WELL)
"""The standing of a target that nobody has asked yet."""

MAX_TARGETS: Final = 10_000
"""An aggregator serves any name that a client makes up: what was asked longest ago is forgotten."""

MAX_FIRST_TOKENS: Final = 128

DOUBTFUL: Final = 3
"""So many refusals in a row are the key's fault even where one of them (402, 403) may be about the request: too large
for the credit that is left, or against a guardrail."""


class _Average:
    """An average that forgets: what came `half_life_s` ago counts half as much as what comes now."""

    __slots__ = ("_at", "_sum", "_weight")

    def __init__(self) -> None:
        self._sum = self._weight = 0.0
        self._at = 0.0

    def add(self, value: float, now: float, half_life_s: float) -> None:
        if now > self._at:
            kept = 0.5 ** ((now - self._at) / half_life_s)
            self._sum *= kept
            self._weight *= kept
            self._at = now
        self._sum += value
        self._weight += 1.0

    @property
    def value(self) -> float | None:
        return self._sum / self._weight if self._weight else None


class _Target:
    """What is known of one target."""

    __slots__ = (
        "barred_until",
        "breaker",
        "cool_until",
        "first_token",
        "first_tokens",
        "in_flight",
        "pace",
        "refused",
        "refused_until",
    )

    def __init__(self, limits: BreakerLimits) -> None:
        self.breaker = Breaker(limits)
        self.cool_until = -math.inf
        self.barred_until = -math.inf
        self.refused_until = -math.inf
        self.refused = 0
        self.in_flight = 0
        self.first_token = _Average()
        self.first_tokens: deque[float] = deque(maxlen=MAX_FIRST_TOKENS)
        self.pace = _Average()


class Health:
    """Owns what is known of every target. `chance` gives a number from 0 to 1, a new one each time."""

    def __init__(self, limits: HealthLimits, breaker_limits: BreakerLimits, *, chance: Callable[[], float]) -> None:
        self._limits = limits
        self._breaker_limits = breaker_limits
        self._chance = chance
        self._targets: OrderedDict[Key, _Target] = OrderedDict()

    def __len__(self) -> int:
        return len(self._targets)

    def standing(self, target: Target, now: float) -> Standing:
        """What is known of this target now."""
        known = self._targets.get(key_of(target))
        if known is None:
            return FRESH
        return Standing(
            _verdict(known, now),
            known.breaker.share(now),
            known.in_flight,
            known.first_token.value,
            known.pace.value,
        )

    def slow_first_token_s(self, target: Target, least: int = 20) -> float | None:
        """The time to the first token that 95 of 100 answers kept to; None where fewer than `least` are known."""
        known = self._targets.get(key_of(target))
        if known is None or len(known.first_tokens) < least:
            return None
        return sorted(known.first_tokens)[math.ceil(0.95 * len(known.first_tokens)) - 1]

    def begin(self, target: Target, now: float) -> Watch:
        """An attempt begins. Exactly one ending of the Watch must follow."""
        known = self._known(target)
        is_probe = known.breaker.state(now) is State.HALF_OPEN
        if is_probe:
            known.breaker.probe(now)
        known.in_flight += 1
        return Watch(known, self._limits, self._chance, is_probe)

    def _known(self, target: Target) -> _Target:
        key = key_of(target)
        known = self._targets.get(key)
        if known is None:
            while len(self._targets) >= MAX_TARGETS and self._forget_one():
                pass
            known = self._targets[key] = _Target(self._breaker_limits)
        self._targets.move_to_end(key)
        return known

    def _forget_one(self) -> bool:
        """Forget the target that was asked longest ago and is not being asked now; False where all are."""
        idle = next((key for key, known in self._targets.items() if not known.in_flight), None)
        if idle is not None:
            del self._targets[idle]
        return idle is not None


class Watch(msgspec.Struct, eq=False):
    """One attempt under way, and the only way to tell how it ended."""

    _target: _Target
    _limits: HealthLimits
    _chance: Callable[[], float]
    _is_probe: bool
    _is_over: bool = False

    def first_token(self, seconds: float, now: float) -> None:
        """The first content has come, so long after the attempt began: the target works."""
        self._target.first_token.add(seconds, now, self._limits.half_life_s)
        self._target.first_tokens.append(seconds)

    def succeed(self, now: float, *, tokens: int | None = None, seconds: float = 0.0) -> None:
        """It ended well: so many tokens, in so many seconds after the first."""
        if self._end():
            self._target.refused = 0
            if self._speaks_of(now):
                self._target.breaker.succeed(now)
            if tokens and seconds > 0:
                self._target.pace.add(tokens / seconds, now, self._limits.half_life_s)

    def give_up(self) -> None:
        """It ended without saying anything of the target: its client left, or another attempt won."""
        if self._end() and self._is_probe:
            self._target.breaker.give_up()

    def fail(self, problem: Problem, now: float) -> None:
        """It ended with this problem. Whose fault that is decides what becomes of the target (failure mode F24)."""
        if not self._end():
            return
        known, limits = self._target, self._limits
        match problem.kind:
            case Kind.RATE_LIMITED:
                said = problem.retry_after_s
                until = now + (limits.cool_s if said is None else min(said, limits.longest_cool_s))
                # A longer wait extends an earlier one; a shorter never shortens it.
                known.cool_until = max(known.cool_until, until)
                if said is not None:
                    known.barred_until = max(known.barred_until, until)
                self._spare_breaker()
            case Kind.KEY_REFUSED:
                known.refused += 1
                doubt = 1 if problem.upstream_status == 401 else DOUBTFUL
                if known.refused >= doubt:
                    lasts = limits.refused_s * 2 ** min(known.refused - doubt, 16)
                    known.refused_until = now + min(limits.longest_refused_s, lasts)
                self._spare_breaker()
            case _ if problem.source in {Source.UPSTREAM, Source.NETWORK}:
                if self._speaks_of(now):
                    known.breaker.fail(now, self._chance())
            case _:
                self._spare_breaker()

    def _speaks_of(self, now: float) -> bool:
        """Whether its end counts: where the breaker is not closed, only that of the one who was sent to see does."""
        return self._is_probe or self._target.breaker.state(now) is State.CLOSED

    def _spare_breaker(self) -> None:
        """It answered, so it is up; but not well, so nothing has been proven."""
        if self._is_probe:
            self._target.breaker.give_up()

    def _end(self) -> bool:
        """Whether this is the first ending."""
        if self._is_over:
            return False
        self._is_over = True
        self._target.in_flight -= 1
        return True


def key_of(target: Target) -> Key:
    """What health is kept by."""
    return (target.provider.name, target.model.id, target.provider.account)


def _verdict(known: _Target, now: float) -> Verdict:
    if now < known.refused_until:
        return Verdict(State.OPEN, "its key was refused", known.refused_until - now, Kind.KEY_REFUSED, bars=True)
    if now < known.cool_until:
        # Where it did not say for how long, it is spared while there are others, and asked where there are none.
        is_barred = now < known.barred_until
        wait_s = (known.barred_until if is_barred else known.cool_until) - now
        return Verdict(State.OPEN, "it limits how often it may be asked", wait_s, Kind.RATE_LIMITED, bars=is_barred)
    state = known.breaker.state(now)
    return WELL if state is State.CLOSED else Verdict(state, "it has failed too often", known.breaker.opens_in(now))
