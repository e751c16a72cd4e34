"""`[models.NAME]`: names that are routes over several targets, as they are written, checked, and compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec

from trunkline.core.call import Need
from trunkline.core.catalog import Catalog, Leg, Policy, Resume, Route, Target, Timeouts
from trunkline.core.problem import Problem
from trunkline.settings.fields import read_fields
from trunkline.settings.prices import nano_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


MAX_TIER: Final = 2
"""What the hardest request asks for; see routing/difficulty.py."""


class LegRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A target as it is written in a table. `max_price` is in dollars for a million tokens of output."""

    target: str
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    needs: frozenset[Need] = frozenset()
    max_price: float | str | None = None
    region: str | None = None
    caller: str | None = None
    canary: Annotated[float, msgspec.Meta(le=1)] | None = None
    tier: Annotated[int, msgspec.Meta(le=MAX_TIER)] | None = None


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


_NOT_BUILT: Final = ("cache_ttl_s", "single_flight")
_DECIDES_ALL: Final = frozenset({Policy.PRIORITY, Policy.WEIGHTED})
"""Policies that hold no two targets for equal, so that what stands after them never counts."""

LOCAL: Final = "local"
"""The provider that this machine is: its row comes when the model has started."""


def read_route(name: str, table: Mapping[str, Any], tell: Callable[[str], None]) -> RouteRow | None:
    """A route's row. Every mistake in it is told, as a sentence; None where there is one."""
    told: list[str] = []
    where = f"models.{name}."
    at = f"trunkline.toml: {where}"
    told += [f"{at}{key} is not built yet: leave it out." for key in _NOT_BUILT if key in table]
    known = {key: value for key, value in table.items() if key not in {"targets", "timeouts", *_NOT_BUILT}}
    fields = read_fields(known, RouteRow, where, told.append)
    fields["targets"] = _read_targets(table.get("targets"), f"{where}targets", told.append)
    timeouts = table.get("timeouts", {})
    if isinstance(timeouts, dict):
        fields["timeouts"] = read_fields(cast("dict[str, Any]", timeouts), Timeouts, f"{where}timeouts.", told.append)
    else:
        told.append(f"{at}timeouts must be a table, such as {{ first_token_s = 10 }}.")
    told += [f"{at}policy {mistake}." for mistake in _mistakes_of_policy(RouteRow(**fields).policies)]
    if isinstance(resume := fields.get("resume"), str) and resume != Resume.INSTRUCT.value:
        told.append(f"{at}resume must be true, false or `instruct`.")
    for mistake in told:
        tell(mistake)
    return None if told else RouteRow(**fields)


def _read_targets(written: Any, where: str, tell: Callable[[str], None]) -> tuple[str | LegRow, ...]:
    if not isinstance(written, list) or not written:
        tell(f"trunkline.toml: {where} must name at least one target, such as `groq/llama-3.3-70b-versatile`.")
        return ()
    read: list[str | LegRow] = []
    for place, one in enumerate(cast("list[Any]", written)):
        at = f"{where}[{place}]"
        if isinstance(one, str):
            read.append(one)
        elif isinstance(one, dict):
            fields = read_fields(cast("dict[str, Any]", one), LegRow, f"{at}.", tell)
            if "target" not in one:
                tell(f"trunkline.toml: {at} has no `target`, such as `groq/llama-3.3-70b-versatile`.")
            if (dollars := fields.get("max_price")) is not None and nano_of(dollars) is None:
                tell(f"trunkline.toml: {at}.max_price must be a number of dollars for a million tokens.")
            fields.setdefault("target", "")
            read.append(LegRow(**fields))
        else:
            tell(f"trunkline.toml: {at} must be a string, or a table with a `target`.")
    return tuple(read)


def _mistakes_of_policy(policies: tuple[str, ...]) -> list[str]:
    found = [f"must be of {', '.join(Policy)}; {one!r} is none" for one in policies if one not in set(Policy)]
    if not policies:
        found.append("must name at least one")
    found += [f"names {one!r} more than once" for one in dict.fromkeys(policies) if policies.count(one) > 1]
    found += [
        f"has something after {one!r}, which leaves nothing to decide" for one in policies[:-1] if one in _DECIDES_ALL
    ]
    return found


def check_targets(routes: Mapping[str, RouteRow], catalog: Catalog, tell: Callable[[str], None]) -> None:
    """Tell of every target that nobody serves, or that is itself a route."""
    aliases = dict(catalog.aliases)
    for name, row in routes.items():
        for place, leg in enumerate(row.legs):
            where = f"trunkline.toml: models.{name}.targets[{place}]"
            if aliases.get(leg.target, leg.target) in routes:
                tell(f"{where}: {leg.target!r} is a route itself: name its targets.")
            elif not _is_local(leg):
                try:
                    catalog.resolve(leg.target)
                except Problem as problem:
                    tell(f"{where}: {problem.message} Is its provider on?")


def compile_routes(routes: Mapping[str, RouteRow], catalog: Catalog) -> tuple[Route, ...]:
    """The routes over this catalogue; a target on this machine only where its model runs."""
    has_local = any(provider.name == LOCAL for provider in catalog.providers)
    made: list[Route] = []
    for name, row in routes.items():
        legs = tuple(_leg(leg, row, catalog) for leg in row.legs if has_local or not _is_local(leg))
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
        max_price_nano=None if row.max_price is None else nano_of(row.max_price),
        region=row.region,
        caller=row.caller,
        canary=row.canary,
        tier=row.tier,
    )


def _is_local(leg: LegRow) -> bool:
    return leg.target.startswith(f"{LOCAL}/")
