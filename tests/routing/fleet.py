"""Providers in virtual time: what a plan chooses and what health learns of it, without sockets and without a clock.

The walk is the failover's, in short: the plan's targets one after the other, each once.
"""

from __future__ import annotations

import heapq
import itertools
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from trunkline.core.call import Envelope, Facts
from trunkline.core.caller import Caller
from trunkline.core.catalog import Catalog, Leg, Model, Origin, Provider, Route, Target
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.core.resilience import BreakerLimits, HealthLimits
from trunkline.routing.breaker import State
from trunkline.routing.health import Health
from trunkline.routing.plan import Rules, Wanted, plan

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = Problem(Kind.UPSTREAM_FAILED, "busy", source=Source.UPSTREAM, retry=Retry.ELSEWHERE)


class Simulated(NamedTuple):
    """A provider: whether it works at a moment, and how many seconds it takes to answer or to fail."""

    name: str
    works: Callable[[float], bool]
    takes_s: float = 0.1


class Asked(NamedTuple):
    """One attempt: of which provider, when, as a probe or not, and whether it was answered."""

    provider: str
    at: float
    is_probe: bool
    is_answered: bool


class Fleet:
    """Runs requests against simulated providers, in order of time. Owns the clock and all that has happened."""

    def __init__(self, *providers: Simulated, limits: BreakerLimits | None = None, seed: int = 0) -> None:
        chance = Random(seed).random  # noqa: S311 - a simulation that is the same each time
        limits = limits or BreakerLimits()
        self.now = 0.0
        self.health = Health(HealthLimits(), limits, chance=chance)
        self.asked: list[Asked] = []
        self.answered = self.failed = 0
        self.most_probes = 0
        self._probes = dict.fromkeys((one.name for one in providers), 0)
        self._providers = {one.name: one for one in providers}
        self.targets = {one.name: _target(one.name) for one in providers}
        legs = tuple(Leg(target=target) for target in self.targets.values())
        self._catalog = Catalog(
            providers=tuple(target.provider for target in self.targets.values()), routes=(Route(name="r", legs=legs),)
        )
        self._rules = Rules(
            {"openai_chat": frozenset()},
            lambda target: self.health.standing(target, self.now),
            chance,
            panic_share=limits.panic_share,
        )
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def run(self, seconds: float, per_s: float) -> None:
        """So many seconds of evenly spaced requests, to the last one's end."""
        for number in range(int(seconds * per_s)):
            self._at(number / per_s, self._request)
        while self._events:
            self.now, _, happen = heapq.heappop(self._events)
            happen()

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))

    def _request(self) -> None:
        wanted = Wanted(Envelope(model="r"), "openai_chat", Caller(), self._catalog, Facts)
        try:
            targets = plan(wanted, self._rules).targets
        except Problem:
            self.failed += 1
            return
        self._attempt(list(targets))

    def _attempt(self, left: list[Target]) -> None:
        if not left:
            self.failed += 1
            return
        target = left.pop(0)
        name, begun = target.provider.name, self.now
        is_probe = self.health.standing(target, begun).verdict.state is State.HALF_OPEN
        watch = self.health.begin(target, begun)
        works = self._providers[name].works(begun)
        self.asked.append(Asked(name, begun, is_probe, works))
        self._probes[name] += is_probe
        self.most_probes = max(self.most_probes, self._probes[name])

        def end() -> None:
            self._probes[name] -= is_probe
            if works:
                watch.succeed(self.now)
                self.answered += 1
            else:
                watch.fail(FAILED, self.now)
                self._attempt(left)

        self._at(begun + self._providers[name].takes_s, end)


def _target(name: str) -> Target:
    model = Model(id="m")
    provider = Provider(
        name=name,
        label=name,
        dialect="openai_chat",
        origin=Origin("http", "127.0.0.1", 8080),
        path="/v1",
        default_model="m",
        models=(model,),
    )
    return Target(provider, model)
