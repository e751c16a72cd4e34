"""Which targets a request may go to, in order, and why the others were left out. Pure: facts in, values out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from trunkline.core.call import Envelope, Facts, Need, Operation
from trunkline.core.catalog import Target
from trunkline.core.problem import Kind, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trunkline.core.call import Preferences
    from trunkline.core.caller import Caller
    from trunkline.core.catalog import Catalog

    Offers = Mapping[str, frozenset[Need]]


class Wanted(NamedTuple):
    """What is planned for. `dialect` is the client's; `facts` scans the request, only where a target is choosy."""

    envelope: Envelope
    dialect: str
    caller: Caller
    catalog: Catalog
    facts: Callable[[], Facts]


class PassedOver(msgspec.Struct, frozen=True):
    """A target that the request does not go to. `reason` goes on after its name."""

    target: Target
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """The targets to attempt, best first; never empty. `consumed` are the providers that the caller's wishes named."""

    targets: tuple[Target, ...]
    passed_over: tuple[PassedOver, ...] = ()
    consumed: frozenset[str] = frozenset()


def plan(wanted: Wanted, offers: Offers) -> Plan:
    """The plan for this request. `offers` says what each dialect has a place for.

    Raises Problem NOT_FOUND for a model that nobody serves, FORBIDDEN for one that the caller may not use, and
    INVALID_REQUEST where no target can do what the request needs.
    """
    targets = _named(wanted)
    passed: list[PassedOver] = []
    consumed: frozenset[str] = frozenset()
    if (preferences := wanted.envelope.preferences) is not None:
        consumed = _consumed(preferences, targets)
        targets = _preferred(preferences, consumed, targets, passed)
    targets = [target for target in targets if _can_serve(target, wanted, offers, passed)]
    if not targets:
        first = passed[0]
        raise invalid(f"{first.target.name} {first.reason}.")
    return Plan(tuple(targets), tuple(passed), consumed)


def _named(wanted: Wanted) -> list[Target]:
    """The targets of every name that the request holds, each once."""
    envelope, catalog = wanted.envelope, wanted.catalog
    named: dict[str, Target] = {}
    for name in (envelope.model, *envelope.fallbacks):
        target = catalog.resolve(name)
        if not wanted.caller.may_use(*(() if name is None else (name,)), target.name):
            message = f"This key may not use the model {(name or target.name)[:200]!r}."
            raise invalid(message, param="model", kind=Kind.FORBIDDEN)
        named.setdefault(target.name, target)
    return list(named.values())


def _consumed(preferences: Preferences, targets: Iterable[Target]) -> frozenset[str]:
    """The names in the caller's wishes that are providers of this plan: the others are some provider's own."""
    ours = {target.provider.name for target in targets}
    return frozenset(ours.intersection(preferences.order + preferences.only + preferences.ignore))


def _preferred(
    preferences: Preferences, consumed: frozenset[str], targets: list[Target], passed: list[PassedOver]
) -> list[Target]:
    """The targets as the caller wants them. Those named in `order` come first; the order of the rest stays."""
    only = consumed.intersection(preferences.only)
    kept: list[Target] = []
    for target in targets:
        name = target.provider.name
        if name in preferences.ignore:
            passed.append(PassedOver(target, "is left out by `provider.ignore`"))
        elif only and name not in only:
            passed.append(PassedOver(target, "is not in `provider.only`"))
        else:
            kept.append(target)
    places = {name: place for place, name in enumerate(preferences.order)}
    kept.sort(key=lambda target: places.get(target.provider.name, len(places)))
    if not preferences.allow_fallbacks:
        passed += [PassedOver(target, "would be a fallback, and the request allows none") for target in kept[1:]]
        del kept[1:]
    return kept


def _can_serve(target: Target, wanted: Wanted, offers: Offers, passed: list[PassedOver]) -> bool:
    """Whether this target can do what the request needs, as far as anybody knows."""
    lacks = _lacks(target, wanted, offers)
    if lacks:
        passed.append(PassedOver(target, f"does not take {' or '.join(sorted(lacks))}"))
    return not lacks


def _lacks(target: Target, wanted: Wanted, offers: Offers) -> frozenset[Need]:
    dialect, known = target.provider.dialect, target.model.offers
    match wanted.envelope.operation:
        case Operation.COUNT:
            return frozenset()
        case Operation.EMBED:
            offered = offers[dialect] if known is None else offers[dialect] & known
            return frozenset({Need.EMBEDDINGS}) - offered
        case Operation.GENERATE:
            offered = frozenset(Need) if dialect == wanted.dialect else offers[dialect]
            offered = offered if known is None else offered & known
            if offered >= _ASKED:
                return frozenset()
            return wanted.facts().needs - offered


_ASKED = frozenset(Need) - {Need.EMBEDDINGS}
"""What a generation can need."""
