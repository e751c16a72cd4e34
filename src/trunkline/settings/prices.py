"""`[prices."provider/model"]`: what a model costs by the operator's own word, before any price list."""

from __future__ import annotations

from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from trunkline.core.price import MAX_DOLLARS, NANO, Price

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


class PriceRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price as it is written: dollars for a million tokens, and for a `request`."""

    input: float | str
    output: float | str
    cached: float | str | None = None
    cache_write: float | str | None = None
    reasoning: float | str | None = None
    request: float | str = 0.0


_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(PriceRow)}


def nano_of(dollars: float | str) -> int | None:
    """Dollars as nano-dollars, exactly; None for what is no price."""
    try:
        exact = Decimal(str(dollars)) * NANO
    except DecimalException:
        return None
    is_price = exact.is_finite() and 0 <= exact <= MAX_DOLLARS * NANO and exact == int(exact)
    return int(exact) if is_price else None


def read_prices(
    written: Mapping[str, Any], providers: Collection[str], tell: Callable[[str], None]
) -> dict[str, Price]:
    """The prices by `provider/model`. Every mistake in them is told, as a sentence."""
    prices: dict[str, Price] = {}
    for name, row in written.items():
        where = f'trunkline.toml: prices."{name}"'
        provider, _, model = name.partition("/")
        if not model or provider not in providers:
            tell(f"{where} must be `provider/model`, with the name of a provider.")
        elif not isinstance(row, dict):
            tell(f"{where} must be a table, such as {{ input = 2.5, output = 10 }}.")
        elif (price := _read_price(cast("dict[str, Any]", row), where, tell)) is not None:
            prices[name] = price
    return prices


def _read_price(row: Mapping[str, Any], where: str, tell: Callable[[str], None]) -> Price | None:
    told: list[str] = []
    nano: dict[str, Any] = {}
    for key, value in row.items():
        if key not in _FIELDS:
            told.append(f"{where}.{key} is not a setting.")
        elif isinstance(value, bool) or not isinstance(value, int | float | str) or (found := nano_of(value)) is None:
            told.append(
                f"{where}.{key} must be dollars, from 0 to {MAX_DOLLARS:,}, with at most nine digits after the point."
            )
        else:
            nano[f"{key}_nano"] = found
    told += [f"{where} needs `{key}`, 0 where nothing is charged." for key in ("input", "output") if key not in row]
    for mistake in told:
        tell(mistake)
    return None if told else Price(**nano)
