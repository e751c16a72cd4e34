"""`[models.NAME]`: names that are routes over several targets, as they are written, checked, and compiled."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Need
from trunkline.core.catalog import Catalog, Leg, Policy, Resume, Route, Target, Timeouts
from trunkline.core.price import MAX_DOLLARS, NANO
from trunkline.core.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class LegRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A target as it is written in a table. `max_price` is in dollars for a million tokens of output."""

    target: str
    weight: float = 1.0
    needs: frozenset[Need] = frozenset()
    max_price: float | str | None = None
    region: str | None = None
    caller: str | None = None
    canary: float | None = None
    tier: int | None = None


class RouteRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A route as it is written. A target is a string or a table; `resume` is true, false or `instruct`."""

    targets: tuple[str | LegRow, ...]
    policy: str | tuple[str, ...] = Policy.PRIORITY.value
    hedge: bool = False
    resume: bool | str = False
    timeouts: dict[str, float] = {}

    @property
    def legs(self) -> tuple[LegRow, ...]:
        """The targets, each as a table."""
        return tuple(LegRow(target=one) if isinstance(one, str) else one for one in self.targets)

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies, also where one is written alone."""
        return (self.policy,) if isinstance(self.policy, str) else self.policy


_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(RouteRow)}
_NOT_BUILT: Final = ("cache_ttl_s", "single_flight")

LOCAL: Final = "local/"
"""How a target on this machine is named: its row comes when the model has started."""


def read_route(name: str, table: Mapping[str, Any], tell: Callable[[str], None]) -> RouteRow | None:
    """A route's row. Every mistake in it is told, as a sentence; None where there is one."""
    where = f"trunkline.toml: models.{name}"
    fields: dict[str, Any] = {}
    for key, value in table.items():
        if key in _NOT_BUILT:
            tell(f"{where}.{key} is not built yet: leave it out.")
        elif key not in _FIELDS:
            tell(f"{where}.{key} is not a setting.")
        else:
            try:
                fields[key] = msgspec.convert(value, _FIELDS[key].type)
            except msgspec.ValidationError as error:
                tell(f"{where}.{key}: {error}.")
    if not table.get("targets"):
        tell(f"{where}.targets must name at least one target, such as `groq/llama-3.3-70b-versatile`.")
    if len(fields) < len(table) or not fields.get("targets"):
        return None
    row = RouteRow(**fields)
    told = list(_mistakes(row))
    for mistake in told:
        tell(f"{where}.{mistake}.")
    return None if told else row


def _mistakes(row: RouteRow) -> list[str]:
    found = [
        f"policy must be of {', '.join(Policy)}; {one!r} is none" for one in row.policies if one not in set(Policy)
    ]
    if not row.policies:
        found.append("policy must name at least one")
    if isinstance(row.resume, str) and row.resume != Resume.INSTRUCT.value:
        found.append("resume must be true, false or `instruct`")
    known = {field.name for field in msgspec.structs.fields(Timeouts)}
    found += [f"timeouts.{one} is not a setting" for one in sorted(set(row.timeouts) - known)]
    found += [
        f"timeouts.{one} must be a number that is not negative"
        for one, seconds in row.timeouts.items()
        if not 0 <= seconds < math.inf
    ]
    for place, leg in enumerate(row.legs):
        at = f"targets[{place}]"
        if not 0 < leg.weight < math.inf:
            found.append(f"{at}.weight must be above 0")
        if leg.canary is not None and not 0 <= leg.canary <= 1:
            found.append(f"{at}.canary must be from 0 to 1: the share of conversations that try it first")
        if leg.max_price is not None and _nano(leg.max_price) is None:
            found.append(f"{at}.max_price must be a number of dollars for a million tokens")
    return found


def check_targets(routes: Mapping[str, RouteRow], catalog: Catalog, tell: Callable[[str], None]) -> None:
    """Tell of every target that nobody serves, or that is itself a route."""
    for name, row in routes.items():
        for place, leg in enumerate(row.legs):
            where = f"trunkline.toml: models.{name}.targets[{place}]"
            if leg.target in routes:
                tell(f"{where}: {leg.target!r} is a route itself: name its targets.")
            elif not leg.target.startswith(LOCAL):
                try:
                    catalog.resolve(leg.target)
                except Problem as problem:
                    tell(f"{where}: {problem.message} Is its provider on?")


def compile_routes(routes: Mapping[str, RouteRow], catalog: Catalog) -> tuple[Route, ...]:
    """The routes over this catalogue; a target on this machine only where its model runs."""
    local = any(f"{provider.name}/" == LOCAL for provider in catalog.providers)
    made: list[Route] = []
    for name, row in routes.items():
        legs = tuple(_leg(leg, row, catalog) for leg in row.legs if local or not leg.target.startswith(LOCAL))
        if legs:
            resume = Resume.INSTRUCT if isinstance(row.resume, str) else Resume.PREFILL if row.resume else None
            policy = tuple(Policy(one) for one in row.policies)
            made.append(Route(name=name, legs=legs, policy=policy, hedge=row.hedge, resume=resume))
    return tuple(made)


def _leg(row: LegRow, route: RouteRow, catalog: Catalog) -> Leg:
    target = catalog.resolve(row.target)
    if route.timeouts:
        timeouts = msgspec.structs.replace(target.provider.timeouts, **route.timeouts)
        target = Target(msgspec.structs.replace(target.provider, timeouts=timeouts), target.model)
    return Leg(
        target=target,
        weight=row.weight,
        needs=row.needs,
        max_price_nano=None if row.max_price is None else _nano(row.max_price),
        region=row.region,
        caller=row.caller,
        canary=row.canary,
        tier=row.tier,
    )


def _nano(dollars: float | str) -> int | None:
    """Dollars as nano-dollars, exactly; None for what is no price."""
    try:
        exact = Decimal(str(dollars))
    except InvalidOperation:
        return None
    return int(exact * NANO) if exact.is_finite() and 0 <= exact <= MAX_DOLLARS else None
