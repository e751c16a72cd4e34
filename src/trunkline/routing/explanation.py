"""Why a request goes where it goes: a plan in words and numbers, for people and for the Record. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.catalog import Policy
from trunkline.core.price import dollars
from trunkline.core.record import Considered
from trunkline.routing.policies import RANKS

if TYPE_CHECKING:
    from trunkline.routing.plan import Plan, Step
    from trunkline.routing.policies import Asked, Candidate


ONLY: Final = "is the only target"


class Standpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A target of the plan, and the facts by which it stands where it does. None means unknown.

    `why` goes on after the target's name. `credential` is which of its provider's keys would be used, where there are
    several. `state` is its breaker's, `state_why` and `wait_s` what is wrong and for how long; `share` of its traffic
    it gets back. `estimated_cost` is in dollars, for this request. `ranks` is what each policy gave it: the lowest
    is first.
    """

    target: str
    provider: str
    model: str
    why: str
    state: str
    state_why: str = ""
    wait_s: float = 0.0
    share: float = 1.0
    in_flight: int = 0
    first_token_s: float | None = None
    tokens_per_s: float | None = None
    estimated_cost: str | None = None
    credential: str | None = None
    ranks: dict[str, float] = {}


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A target that the request cannot go to. `why` goes on after its name."""

    target: str
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A plan: the targets in the order in which they would be asked, and those that were passed over."""

    route: str
    policy: tuple[str, ...]
    hedge: bool
    resume: str | None
    targets: tuple[Standpoint, ...]
    passed_over: tuple[Left, ...]


def explained(plan: Plan) -> Explanation:
    """The plan with every fact."""
    return Explanation(
        route=plan.route,
        policy=names(plan.policy),
        hedge=plan.hedge,
        resume=plan.resume.value if plan.resume is not None else None,
        targets=tuple(_standpoint(step, plan) for step in plan.steps),
        passed_over=tuple(Left(target=one.target.name, why=one.reason) for one in plan.passed_over),
    )


def considered(plan: Plan) -> tuple[Considered, ...]:
    """The plan as the Record keeps it."""
    if len(plan.steps) == 1 and not (plan.passed_over or plan.steps[0].why):
        return _alone(plan.steps[0].target.name)
    asked = [Considered(target=step.target.name, why=_why(step, plan)) for step in plan.steps]
    passed = [
        Considered(target=one.target.name, why=one.reason, passed_over=True, foreign=one.is_foreign)
        for one in plan.passed_over
    ]
    return (*asked, *passed)


@lru_cache(128)
def _alone(target: str) -> tuple[Considered, ...]:
    """What is considered in nearly every plan."""
    return (Considered(target=target, why=ONLY),)


@lru_cache(128)
def names(policies: tuple[Policy, ...]) -> tuple[str, ...]:
    """The policies as people write them; the same few come again and again."""
    return tuple(policy.value for policy in policies)


def _standpoint(step: Step, plan: Plan) -> Standpoint:
    target, standing, candidate = step.target, step.standing, step.candidate
    return Standpoint(
        target=target.name,
        provider=target.provider.name,
        model=target.model.id,
        why=_why(step, plan),
        state=standing.verdict.state.value,
        state_why=standing.verdict.why,
        wait_s=round(standing.verdict.wait_s, 3),
        share=round(standing.share, 3),
        in_flight=standing.in_flight,
        first_token_s=standing.first_token_s,
        tokens_per_s=standing.tokens_per_s,
        estimated_cost=dollars(step.cost_nano) if step.cost_nano is not None else None,
        credential=target.provider.account or None,
        ranks={policy.value: RANKS[policy](candidate, step.asked) for policy in plan.policy} if candidate else {},
    )


def _why(step: Step, plan: Plan) -> str:
    if step.why:
        return step.why
    candidate = step.candidate
    if len(plan.steps) + len(plan.passed_over) == 1 or candidate is None:
        return ONLY
    words = [_by(policy, candidate, step.asked) for policy in plan.policy]
    canary = candidate.leg.canary
    return "; ".join(words if canary is None else [f"is a canary for {canary:.1%} of conversations", *words])


def _by(policy: Policy, candidate: Candidate, asked: Asked) -> str:
    """What this policy saw in it."""
    leg, standing = candidate.leg, candidate.standing
    match policy:
        case Policy.PRIORITY:
            says = f"is number {candidate.place + 1} of its route"
        case Policy.WEIGHTED:
            says = f"was drawn by chance, with the weight {leg.weight:g}"
        case Policy.FASTEST if standing.first_token_s is None:
            says = "has not been seen yet"
        case Policy.FASTEST:
            pace = f", then {standing.tokens_per_s:.0f} tokens a second" if standing.tokens_per_s else ""
            says = f"gave its first token after {standing.first_token_s:.2f} s lately{pace}"
        case Policy.CHEAPEST if candidate.cost_nano is None:
            says = "has no known price"
        case Policy.CHEAPEST:
            says = f"would cost about ${dollars(candidate.cost_nano or 0)}"
        case Policy.LEAST_BUSY:
            says = f"has {standing.in_flight} requests under way"
        case Policy.STICKY:
            says = "is where the conversation's hash puts it"
        case Policy.AUTO:
            price = "no known price" if candidate.cost_nano is None else f"about ${dollars(candidate.cost_nano)}"
            tier, signs = asked.difficulty
            seen = f" ({', '.join(sign.replace('_', ' ') for sign in signs)})" if signs else ""
            says = f"is of tier {leg.tier or 0} for a request of tier {tier}{seen}, at {price}"
    return says
