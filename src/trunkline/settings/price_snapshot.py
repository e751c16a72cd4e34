"""From genai-prices to price lists of our own, printed as JSON: `python -m trunkline.settings.price_snapshot`.

A process of its own, so that neither the package nor what it imports (an HTTP client, pydantic) is ever loaded by one
that serves requests. Only the data that ships with the package are read; nothing is asked over the network.

What is not exact: tokens of audio and pictures that have a price of their own count as text; what is kept in a cache
counts as kept for five minutes; where a price depends on the time of day, the dearest of the day counts; fees for
searches and prices of other tiers of service are left out. A model that has no price by tokens has none here.
Source: https://github.com/pydantic/genai-prices (MIT licence), read on 2026-11-25.
"""

from __future__ import annotations

import re
import sys
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from trunkline.core.price import MAX_DOLLARS, NANO, Price
from trunkline.core.price_list import PriceList, Rest, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider


class DatedList(msgspec.Struct, frozen=True, kw_only=True):
    """A price list with what it was and will be. Each of `prices` has its prices from a day on, the earliest first.

    A day that is None is the beginning of time; `names` and `rules` are those of a PriceList.
    """

    prices: tuple[tuple[tuple[date | None, Price | None], ...], ...]
    names: dict[str, int]
    rules: tuple[Rule, ...]

    def on(self, day: date) -> PriceList:
        """The list of that day."""
        prices = tuple([price for since, price in dated if since is None or since <= day][-1] for dated in self.prices)
        return PriceList(prices=prices, names=self.names, rules=self.rules)


FREE: Final = ":free"
"""How aggregators mark a model that costs nothing; its row in genai-prices is empty."""

_DATED: Final = re.compile(
    r"\^([\w/@-]|\\\.)+?(?P<sign>-|\[-@\])(?P<digits>\\d\{8\}|\\d\{4\}-\\d\{2\}-\\d\{2\})\$", re.ASCII
)
_NUMBERED: Final = re.compile(r"\^([\w/@-]|\\\.)+\\d", re.ASCII)
_SPOKEN: Final = r"^(?!.*-[tT][tT][sS](?:$|-))"
"""The one pattern that says what a name does not have."""


def snapshot(vendors: list[Provider]) -> dict[str, DatedList]:
    """A list for each vendor, by its name in genai-prices. What cannot be read is left out, and so is not known."""
    return {vendor.id: _list_of(vendor, vendors) for vendor in vendors}


def _list_of(vendor: Provider, vendors: list[Provider]) -> DatedList:
    behind = [one for name in vendor.fallback_model_providers or () for one in vendors if one.id == name]
    models = [model for one in (vendor, *behind) for model in one.models]
    numbers = {id(model): number for number, model in enumerate(models)}
    names: dict[str, int] = {}
    rules: list[Rule] = []
    for number, model in enumerate(models):
        for name in dict.fromkeys((model.id.lower(), *_exact_names(model.match))):
            meant = vendor.find_model(name, all_providers=vendors)
            if meant is not None:
                names[name] = numbers[id(meant)]
        rules += [msgspec.structs.replace(rule, number=number) for rule in rules_of(model.match)]
    return DatedList(prices=tuple(_dated(model) for model in models), names=names, rules=tuple(rules))


def _exact_names(clause: Any) -> Iterator[str]:
    """Every name that a clause spells out."""
    if (name := getattr(clause, "equals", None)) is not None:
        yield name.lower()
    for inner in getattr(clause, "or_", ()):
        yield from _exact_names(inner)


def rules_of(clause: Any) -> list[Rule]:
    """The rules that a clause comes to, less what it spells out; none where it cannot be told exactly."""
    said = cast("dict[str, Any]", vars(clause))
    rules: list[Rule] = []
    for kind, value in said.items():
        match kind:
            case "starts_with":
                rules.append(Rule(number=0, begins=value.lower()))
            case "ends_with":
                rules.append(Rule(number=0, ends=value.lower()))
            case "contains":
                rules.append(Rule(number=0, has=(value.lower(),)))
            case "regex":
                rules += _rules_of_pattern(value)
            case "or_":
                rules += [rule for inner in value for rule in rules_of(inner)]
            case "and_":
                rules += _all_of([rules_of(inner) for inner in value])
            case _:
                pass
    return rules


def _rules_of_pattern(pattern: str) -> list[Rule]:
    if pattern == _SPOKEN:
        return [Rule(number=0, lacks=("-tts",))]
    if (found := _DATED.fullmatch(pattern)) is not None:
        return [Rule(number=0, begins=_literal(pattern[1 : found.start("sign")]), rest=Rest.DATE)]
    if _NUMBERED.fullmatch(pattern) is not None:
        return [Rule(number=0, begins=_literal(pattern[1:-2]), rest=Rest.NUMBER)]
    return []


def _literal(text: str) -> str:
    return text.replace("\\.", ".").lower()


def _all_of(conditions: list[list[Rule]]) -> list[Rule]:
    """One rule where each of the conditions is one, and at most one says how a name begins and one how it ends."""
    rules = [rule for condition in conditions for rule in condition]
    begins = [rule for rule in rules if rule.begins]
    ends = [rule.ends for rule in rules if rule.ends]
    if any(len(condition) != 1 for condition in conditions) or len(begins) > 1 or len(ends) > 1:
        return []
    return [
        Rule(
            number=0,
            begins=begins[0].begins if begins else "",
            rest=begins[0].rest if begins else Rest.ANYTHING,
            ends=ends[0] if ends else "",
            has=tuple(piece for rule in rules for piece in rule.has),
            lacks=tuple(piece for rule in rules for piece in rule.lacks),
        )
    ]


def _dated(model: ModelInfo) -> tuple[tuple[date | None, Price | None], ...]:
    """A model's price, and from which day on it is another one."""
    if not isinstance(model.prices, list):
        return ((None, _price([model.prices], model.id)),)
    if not model.prices:
        return ((None, None),)
    days = sorted({day for one in model.prices if (day := _since(one)) is not None})
    return tuple((day, _price(_holding(model.prices, day), model.id)) for day in (None, *days))


def _since(one: ConditionalPrice) -> date | None:
    return getattr(one.constraint, "start_date", None)


def _holding(prices: list[ConditionalPrice], day: date | None) -> list[ModelPrice]:
    """The prices that hold on some hour of this day: a later one takes the place of those before it."""
    holding: list[ModelPrice] = []
    for one in prices:
        since = _since(one)
        if since is not None and (day is None or since > day):
            continue
        is_for_hours = one.constraint is not None and since is None
        holding = [*holding, one.prices] if is_for_hours else [one.prices]
    # Where none holds yet, the first one counts; so it does in genai-prices.
    return holding or [prices[0].prices]


def _price(asked: list[ModelPrice], model_id: str) -> Price | None:
    """The dearest of these prices, kind by kind; None where one cannot be told by tokens."""
    listed = [{key: value for key, value in vars(one).items() if value is not None} for one in asked]
    if not any(listed):
        return Price(input_nano=0, output_nano=0) if model_id.lower().endswith(FREE) else None
    if any("input_mtok" not in prices or _is_otherwise_charged(prices) for prices in listed):
        return None
    above = sorted({tier.start for prices in listed for value in prices.values() for tier in _tiers(value)})
    try:
        plain = _price_at(listed, 0)
        tiers = tuple((start, _price_at(listed, start + 1)) for start in above)
    except ValueError:
        return None
    return msgspec.structs.replace(plain, tiers=tiers)


def _is_otherwise_charged(prices: dict[str, Any]) -> bool:
    """Whether its output has a price that is not one by tokens of text."""
    return "output_mtok" not in prices and any(key.startswith("output_") for key in prices)


def _tiers(value: Any) -> Iterable[Any]:
    return getattr(value, "tiers", ())


def _price_at(listed: list[dict[str, Any]], input_tokens: int) -> Price:
    """The dearest of these prices for requests of so many tokens of input."""

    def dearest(key: str, per: int = 1) -> int | None:
        values = [_value_at(prices[key], input_tokens) for prices in listed if key in prices]
        return max((_nano(value, per) for value in values), default=None)

    return Price(
        input_nano=dearest("input_mtok") or 0,
        # Embeddings and the like: nothing is charged for what comes out.
        output_nano=dearest("output_mtok") or 0,
        cached_nano=dearest("cache_read_mtok"),
        cache_write_nano=dearest("cache_write_mtok"),
        reasoning_nano=dearest("output_reasoning_mtok"),
        request_nano=dearest("requests_kcount", 1000) or 0,
    )


def _value_at(value: Any, input_tokens: int) -> Decimal:
    reached = [tier.price for tier in _tiers(value) if input_tokens > tier.start]
    plain = value if isinstance(value, Decimal) else value.base
    return reached[-1] if reached else plain


def _nano(dollars: Decimal, per: int) -> int:
    """Nano-dollars, rounded up. Raises ValueError for what is no price."""
    if not dollars.is_finite() or not 0 <= dollars <= MAX_DOLLARS:
        raise ValueError(str(dollars))
    return int((dollars * NANO / per).to_integral_value(ROUND_CEILING))


def main() -> None:
    """Print the lists."""
    from genai_prices.data import providers  # noqa: PLC0415 - heavy, and for this process alone

    sys.stdout.buffer.write(msgspec.json.encode(snapshot(providers)))


if __name__ == "__main__":
    main()
