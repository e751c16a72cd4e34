"""How long an upstream asks us to wait, in all the forms in which upstreams say it."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RETRY_AFTER_S: Final = 24 * 3600.0


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now, from `retry-after-ms` or `Retry-After` (delta-seconds, decimals, or an HTTP-date).

    None where nothing is said, or nonsense. A date is measured against the answer's own `Date` header, so that
    no clock is needed here and a wrong one does not matter; a date in the past gives 0.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return clamp(milliseconds / 1000)
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return clamp(seconds)
    try:
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers["date"])
        return clamp((until - now).total_seconds())
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def clamp(seconds: float) -> float:
    """From 0 to a day."""
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S)


def _number(value: str | None) -> float | None:
    if value is None or len(value) > 32:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
