"""Which targets a request may go to, in order, and why the others were left out. Pure: facts in, values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from trunkline.core.call import BYTES_PER_TOKEN, Envelope, Facts, Need, Operation
from trunkline.core.caller import Caller
from trunkline.core.catalog import Catalog, Leg, Policy, Resume, Route, Target
from trunkline.core.problem import Kind, Problem, Retry, Source, invalid
from trunkline.routing.breaker import State
from trunkline.routing.difficulty import Difficulty, difficulty
from trunkline.routing.health import Standing
from trunkline.routing.policies import Asked, Candidate, fraction, ordered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.core.call import Preferences
    from trunkline.routing.health import Verdict

Offers = Mapping[str, frozenset[Need]]

USUAL_OUTPUT_TOKENS = 500
"""What an answer is taken to have where the request sets no limit, when targets are compared by cost."""


class Wanted(msgspec.Struct, frozen=True):
    """What is planned for. `dialect` is the client's, `size` its body's in bytes.

    `facts` scans the request, only where somebody needs to know. `conversation` is the same for all turns of one.
    `policy` is the caller's own choice of one. `tags` are the caller's, for legs that want one. `explains`: somebody
    wants to read the plan, so that every fact counts, also those by which nothing is chosen.
    """

    envelope: Envelope
    dialect: str
    caller: Caller
    catalog: Catalog
    facts: Callable[[], Facts]
    size: int = 0
    conversation: Callable[[], bytes] = bytes
    policy: tuple[Policy, ...] | None = None
    tags: frozenset[str] = frozenset()
    explains: bool = False


class Rules(msgspec.Struct, frozen=True):
    """What holds for every plan. `offers` says what each dialect has a place for; `standing` is a target's health now.

    `chance` gives a number from 0 to 1, a new one each time. `panic_share` is that of `BreakerLimits`.
    """

    offers: Offers
    standing: Callable[[Target], Standing]
    chance: Callable[[], float]
    panic_share: float = 0.5


class PassedOver(msgspec.Struct, frozen=True):
    """A target that the request does not go to. `reason` goes on after its name.

    `is_foreign`: it is for other callers, and this one is not told its name.
    """

    target: Target
    reason: str
    is_foreign: bool = False


class Step(msgspec.Struct, frozen=True):
    """A target of a plan with the facts by which it stands where it does. `why` goes on after its name.

    `candidate` and `asked` are what the policies have ranked it by.
    """

    target: Target
    standing: Standing
    cost_nano: int | None
    why: str
    candidate: Candidate | None = None
    asked: Asked = Asked()


class Plan(msgspec.Struct, frozen=True):
    """The targets to attempt, best first; never empty. `consumed` are the providers that the caller's wishes named.

    `hedge`: a second target may be asked while the first is slow. `resume`: how an answer that breaks may go on.
    """

    steps: tuple[Step, ...]
    passed_over: tuple[PassedOver, ...] = ()
    consumed: frozenset[str] = frozenset()
    route: str = ""
    policy: tuple[Policy, ...] = (Policy.PRIORITY,)
    hedge: bool = False
    resume: Resume | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets alone."""
        return tuple([step.target for step in self.steps])


def plan(wanted: Wanted, rules: Rules) -> Plan:
    """The plan for this request.

    Raises Problem NOT_FOUND for a model that nobody serves, FORBIDDEN for one that the caller may not use,
    INVALID_REQUEST or CONTEXT_TOO_LONG where no target can do what the request needs, and RATE_LIMITED, KEY_REFUSED or
    UNAVAILABLE, with the time to wait, where none of those that could may be asked now.
    """
    only = _only(wanted, rules)
    if only is not None:
        return only
    routes = _routes(wanted)
    passed: list[PassedOver] = []
    steps: list[Step] = []
    consumed: frozenset[str] = frozenset()
    preferences = wanted.envelope.preferences
    if preferences is not None:
        consumed = _consumed(preferences, (leg.target for route in routes for leg in route.legs))
    for route in routes:
        steps += _steps(route, wanted, rules, passed, consumed)
    if len(steps) > 1:
        steps = _each_once(steps)
    if preferences is not None:
        steps = _preferred(preferences, steps, passed)
    if not steps:
        raise _nobody(passed)
    steps = _asked_now(steps, rules, passed)
    first = routes[0]
    return Plan(tuple(steps), tuple(passed), consumed, first.name, _policies(first, wanted), first.hedge, first.resume)


def _only(wanted: Wanted, rules: Rules) -> Plan | None:
    """The plan where there is nothing to choose: one target with one key, in health; as for nearly every request."""
    envelope = wanted.envelope
    if envelope.fallbacks or envelope.preferences is not None or wanted.explains:
        return None
    route = _route(envelope.model, wanted)
    target = route.only
    if target is None or _lacking(target, wanted, rules) or _short(target, wanted):
        return None
    standing = rules.standing(target)
    if standing.verdict.state is not State.CLOSED or standing.share < 1:
        return None
    policy = route.policy if wanted.policy is None else wanted.policy
    return Plan((Step(target, standing, None, ""),), route=route.name, policy=policy)


def _routes(wanted: Wanted) -> list[Route]:
    """The routes of every name that the request holds, each once."""
    envelope = wanted.envelope
    if not envelope.fallbacks:
        return [_route(envelope.model, wanted)]
    named: dict[str, Route] = {}
    for name in (envelope.model, *envelope.fallbacks):
        route = _route(name, wanted)
        named.setdefault(route.name, route)
    return list(named.values())


def _route(name: str | None, wanted: Wanted) -> Route:
    route = wanted.catalog.route(name)
    if wanted.caller.models is not None and not wanted.caller.may_use(*(() if name is None else (name,)), route.name):
        message = f"This key may not use the model {(name or route.name)[:200]!r}."
        raise invalid(message, param="model", kind=Kind.FORBIDDEN)
    return route


def _steps(
    route: Route, wanted: Wanted, rules: Rules, passed: list[PassedOver], consumed: frozenset[str]
) -> list[Step]:
    """The route's targets that can serve the request, in the order of its policy."""
    policies = _policies(route, wanted)
    legs = [(place, leg) for place, leg in enumerate(route.legs) if _may_serve(leg, wanted, rules, passed, consumed)]
    is_choosing = len(legs) > 1
    asks_cost = wanted.explains or (is_choosing and {Policy.CHEAPEST, Policy.AUTO}.intersection(policies))
    asked = Asked(
        wanted.conversation() if is_choosing and _asks_conversation(route, policies) else b"",
        difficulty(wanted.facts(), wanted.catalog.scale) if is_choosing and Policy.AUTO in policies else Difficulty(),
    )
    candidates = [
        Candidate(
            leg,
            rules.standing(leg.target),
            place,
            _cost_nano(leg, wanted) if asks_cost else None,
            rules.chance() if is_choosing else 0.5,
        )
        for place, leg in legs
    ]
    steps: list[Step] = []
    if is_choosing:
        candidates = _with_canaries(ordered(candidates, policies, asked), asked)
    for candidate in candidates:
        steps += _accounts(candidate, asked, rules)
    return steps


def _policies(route: Route, wanted: Wanted) -> tuple[Policy, ...]:
    """The caller's own choice, in a header of ours or by OpenRouter's `provider.sort`; else the route's."""
    preferences = wanted.envelope.preferences
    if wanted.policy is not None:
        return wanted.policy
    if preferences is not None and preferences.sort is not None:
        return (Policy.CHEAPEST if preferences.sort == "price" else Policy.FASTEST,)
    return route.policy


def _asks_conversation(route: Route, policies: Iterable[Policy]) -> bool:
    return Policy.STICKY in policies or any(leg.canary is not None for leg in route.legs)


def _with_canaries(candidates: list[Candidate], asked: Asked) -> list[Candidate]:
    """A canary goes first for its share of the conversations, and last for all others."""
    first = [one for one in candidates if one.leg.canary is not None and _is_chosen(one, one.leg.canary, asked)]
    last = [one for one in candidates if one.leg.canary is not None and one not in first]
    return [*first, *(one for one in candidates if one.leg.canary is None), *last]


def _is_chosen(candidate: Candidate, share: float, asked: Asked) -> bool:
    return fraction(b"canary\0" + candidate.leg.target.name.encode(), asked.conversation) < share


def _accounts(candidate: Candidate, asked: Asked, rules: Rules) -> list[Step]:
    """The target with each of its provider's credentials: those that may be asked first, then the least busy."""
    target = candidate.leg.target
    variants = target.provider.variants()
    if len(variants) == 1:
        return [Step(target, candidate.standing, candidate.cost_nano, "", candidate, asked)]
    steps = [
        Step(one, rules.standing(one), candidate.cost_nano, "", candidate, asked)
        for one in (Target(variant, target.model) for variant in variants)
    ]
    draws = {step.target.provider.account: rules.chance() for step in steps}
    return sorted(
        steps,
        key=lambda step: (
            step.standing.verdict.state is State.OPEN,
            step.standing.in_flight,
            draws[step.target.provider.account],
        ),
    )


def _each_once(steps: Iterable[Step]) -> list[Step]:
    """Each target at its first place."""
    once: dict[tuple[str, str], Step] = {}
    for step in steps:
        once.setdefault((step.target.name, step.target.provider.account), step)
    return list(once.values())


def _consumed(preferences: Preferences, targets: Iterable[Target]) -> frozenset[str]:
    """The names in the caller's wishes that are providers of this plan: the others are some provider's own."""
    ours = {target.provider.name for target in targets}
    return frozenset(ours.intersection(preferences.order + preferences.only + preferences.ignore))


def _preferred(preferences: Preferences, steps: list[Step], passed: list[PassedOver]) -> list[Step]:
    """The steps as the caller wants them. Those named in `order` come first; the order of the rest stays."""
    places = {name: place for place, name in enumerate(preferences.order)}
    steps = [
        msgspec.structs.replace(step, why="is where `provider.order` puts it")
        if step.target.provider.name in places
        else step
        for step in sorted(steps, key=lambda step: places.get(step.target.provider.name, len(places)))
    ]
    if preferences.allow_fallbacks or not steps:
        return steps
    first = steps[0].target.name
    passed += [
        PassedOver(step.target, "would be a fallback, and the request allows none")
        for step in steps
        if step.target.name != first
    ]
    return [step for step in steps if step.target.name == first]


def _may_serve(leg: Leg, wanted: Wanted, rules: Rules, passed: list[PassedOver], consumed: frozenset[str]) -> bool:
    """Whether this leg can do what the request needs, as far as anybody knows, and wants to."""
    reason = _against(leg, wanted, rules, consumed)
    if reason:
        passed.append(PassedOver(leg.target, reason, is_foreign=_is_foreign(leg, wanted)))
    return not reason


def _against(leg: Leg, wanted: Wanted, rules: Rules, consumed: frozenset[str]) -> str:
    """Why this leg is not for this request; empty where it is."""
    return (
        _unwanted(leg, wanted, consumed)
        or _unmet(leg, wanted)
        or _lacking(leg.target, wanted, rules)
        or _short(leg.target, wanted)
    )


def _is_foreign(leg: Leg, wanted: Wanted) -> bool:
    return leg.caller is not None and leg.caller not in wanted.tags


def _unwanted(leg: Leg, wanted: Wanted, consumed: frozenset[str]) -> str:
    """Why the caller does not want it."""
    preferences, name = wanted.envelope.preferences, leg.target.provider.name
    if preferences is None:
        return ""
    if name in preferences.ignore:
        return "is left out by `provider.ignore`"
    only = consumed.intersection(preferences.only)
    if only and name not in only:
        return "is not in `provider.only`"
    return "costs more than `provider.max_price` allows" if _is_too_dear(leg.target, preferences) else ""


def _is_too_dear(target: Target, preferences: Preferences) -> bool:
    """Whether it costs more than the caller allows. An unknown price is no reason; an aggregator sees to it itself."""
    price = target.model.price
    if price is None:
        return False
    most_input, most_output = preferences.max_input_nano, preferences.max_output_nano
    return (most_input is not None and price.input_nano > most_input) or (
        most_output is not None and price.output_nano > most_output
    )


def _unmet(leg: Leg, wanted: Wanted) -> str:
    """Which condition of the leg does not hold."""
    if _is_foreign(leg, wanted):
        return f"is for callers with the tag `{leg.caller}`"
    if leg.region is not None and leg.region not in wanted.tags:
        return f"is for the region `{leg.region}`"
    price = leg.target.model.price
    if leg.max_price_nano is not None and (price is None or price.output_nano > leg.max_price_nano):
        return (
            "costs more than its route allows" if price is not None else "has no known price, and its route has a limit"
        )
    if leg.needs and not leg.needs.intersection(wanted.facts().needs):
        return f"is only for requests with {' or '.join(sorted(leg.needs))}"
    return ""


def _lacking(target: Target, wanted: Wanted, rules: Rules) -> str:
    """What of the request the target, or its dialect, has no place for."""
    offers = rules.offers
    dialect, known = target.provider.dialect, target.model.offers
    match wanted.envelope.operation:
        case Operation.COUNT:
            return ""
        case Operation.EMBED:
            is_known_not_to = known is not None and Need.EMBEDDINGS not in known
            lacks = wanted.facts().needs | {Need.EMBEDDINGS}
            lacks -= frozenset() if is_known_not_to else offers[dialect]
        case Operation.GENERATE:
            if known is None and dialect == wanted.dialect:
                return ""  # nearly every request: nothing is translated, and nothing is known against it
            offered = _ALL if dialect == wanted.dialect else offers[dialect]
            offered = offered if known is None else offered & known
            lacks = frozenset[Need]() if offered >= _ASKED else wanted.facts().needs - offered
    if Need.EMBEDDINGS in lacks:
        return "gives no embeddings"
    return f"does not take {' or '.join(sorted(lacks))}" if lacks else ""


_ALL = frozenset(Need)
_ASKED = _ALL - {Need.EMBEDDINGS, Need.TOKENS}
"""What a generation can need."""

TOO_LONG = "has a context that is too short for it"


def _short(target: Target, wanted: Wanted) -> str:
    """Whether the conversation is surely longer than the model's context: a token is hardly ever more than 4 bytes."""
    context, is_many = target.model.context_tokens, wanted.envelope.operation is Operation.EMBED
    if context is None or is_many or wanted.envelope.is_kept or wanted.size <= context * BYTES_PER_TOKEN:
        return ""
    return TOO_LONG if wanted.facts().text_bytes > context * BYTES_PER_TOKEN else ""


def _cost_nano(leg: Leg, wanted: Wanted) -> int | None:
    price = leg.target.model.price
    if price is None:
        return None
    output = wanted.envelope.max_tokens or USUAL_OUTPUT_TOKENS
    return price.estimate_nano(wanted.facts().text_bytes // BYTES_PER_TOKEN, output)


def _asked_now(steps: list[Step], rules: Rules, passed: list[PassedOver]) -> list[Step]:
    """The steps that may be asked now, those that have just come back after the others for most requests.

    A breaker is not believed where too few are left (panic); a limit on the rate and a refused key always are.
    """
    if all(step.standing.verdict.state is State.CLOSED and step.standing.share >= 1 for step in steps):
        return steps
    able = [step for step in steps if not _is_barred(step)]
    closed = [step for step in able if step.standing.verdict.state is not State.OPEN]
    if able and len(closed) < rules.panic_share * len(able):
        kept = [_because(step, _panic(step)) for step in able]
    else:
        kept = closed
    passed += [
        PassedOver(step.target, _resting(step.standing.verdict))
        for step in steps
        if step not in kept and not any(one.target is step.target for one in kept)
    ]
    if not kept:
        raise _nobody_now(steps)
    fresh = [step for step in kept if step.standing.share < 1 and rules.chance() >= step.standing.share]
    if len(fresh) == len(kept):
        return kept
    late = [_because(step, "has just come back, and gets a part of its traffic") for step in fresh]
    return [step for step in kept if step not in fresh] + late


def _because(step: Step, why: str) -> Step:
    return msgspec.structs.replace(step, why=why)


def _resting(verdict: Verdict) -> str:
    lasts = f", for {verdict.wait_s:.0f} s more" if verdict.wait_s >= 0.5 else ""
    return f"is not asked now: {verdict.why}{lasts}"


def _panic(step: Step) -> str:
    is_open = step.standing.verdict.state is State.OPEN
    return "is asked although it has failed: too few others are left" if is_open else step.why


def _is_barred(step: Step) -> bool:
    return step.standing.verdict.state is State.OPEN and step.standing.verdict.bars


def _nobody(passed: list[PassedOver]) -> Problem:
    """No target can serve this request: the reason of the first one that the caller may know of."""
    told = [one for one in passed if not one.is_foreign]
    if not told:
        return invalid("Every target of this model is for other callers.", param="model")
    first = told[0]
    if all(one.reason == TOO_LONG for one in told):
        text = f"The conversation is longer than {first.target.name} can take."
        return invalid(text, kind=Kind.CONTEXT_TOO_LONG)
    return invalid(f"{first.target.name} {first.reason}.")


def _nobody_now(steps: list[Step]) -> Problem:
    """Every target that could serve this request is given up on for the moment."""
    verdicts = [step.standing.verdict for step in steps]
    soonest = min(verdicts, key=lambda verdict: verdict.wait_s)
    label = steps[0].target.provider.label
    if soonest.kind is Kind.RATE_LIMITED:
        message = f"{label} limits how often {steps[0].target.model.id} may be asked. Wait a little and try again."
    elif soonest.kind is Kind.KEY_REFUSED:
        message = (
            f"The router's key for {label} was refused. Whoever runs the router must check it (`trunkline doctor`)."
        )
    else:
        message = f"{label} has failed too often in a row. Try again in a moment, or try another model."
    return Problem(
        soonest.kind,
        message,
        source=Source.UPSTREAM if soonest.kind is not Kind.KEY_REFUSED else Source.ROUTER,
        retry=Retry.ELSEWHERE,
        retry_after_s=max(1.0, soonest.wait_s),
    )
