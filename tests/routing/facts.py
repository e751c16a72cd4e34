"""Targets, and what is known of them, for tests of routing."""

from __future__ import annotations

from typing import Any

from trunkline.core.catalog import Leg, Model, Origin, Provider, Target
from trunkline.routing.breaker import State
from trunkline.routing.health import Standing, Verdict
from trunkline.routing.policies import Candidate


def target(name: str, account: str = "") -> Target:
    """A model of the provider of this name."""
    origin = Origin("https", f"{name}.test", 443)
    provider = Provider(
        name=name, label=name.title(), dialect="openai_chat", origin=origin, path="/v1", account=account
    )
    return Target(provider, Model(id="m"))


def standing(**known: Any) -> Standing:
    """The facts of a target that may be asked."""
    return Standing(Verdict(State.CLOSED), **known)


def candidate(
    name: str, place: int = 0, *, cost_nano: int | None = None, chance: float = 0.5, leg: Any = None, **known: Any
) -> Candidate:
    """A leg with its facts. `leg` has more fields of the leg, `known` those of its standing."""
    made = Leg(target=target(name), **(leg or {}))
    return Candidate(made, standing(**known), place, cost_nano, chance)
