"""The sum of what workers counted, for those that are gone: a counter that fell would read as a restart."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, cast

GAUGES = "gauges"
"""The key of a snapshot whose numbers are of the moment: they end with their worker."""


def counted(snapshot: dict[str, Any]) -> dict[str, Any]:
    """What of a snapshot outlives its worker: all but the gauges."""
    return {key: value for key, value in snapshot.items() if key != GAUGES}


def added(one: Any, other: Any) -> Any:
    """The sum of two JSON values of one shape: numbers are added, objects by key, arrays by place; null is nothing."""
    match one, other:
        case None, _:
            return other
        case _, None:
            return one
        case dict(), dict():
            left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
            return {key: added(left.get(key), right.get(key)) for key in left | right}
        case list(), list():
            return [added(a, b) for a, b in zip_longest(cast("list[Any]", one), cast("list[Any]", other))]
        case _:
            return one + other
