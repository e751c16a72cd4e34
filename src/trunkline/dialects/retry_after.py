"""How long an upstream asks us to wait, in all the forms in which upstreams say it."""

from __future__ import annotations

import math
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_RETRY_AFTER_S: Final = 24 * 3600.0

_LONGEST: Final = 64
"""Characters of a header that may be a time; what is longer is none."""

_RESET: Final = re.compile(
    r"(?:x-ratelimit-reset(?:-(?P<kind>[a-z_-]{1,32}))?|anthropic-ratelimit-(?P<of>[a-z-]{1,32})-reset)"
)

_SPAN: Final = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
"""A span as Go writes it: `6m0s`, `1.5s`, `12ms`."""

_SECONDS: Final = (86_400.0, 3600.0, 60.0, 1.0, 0.001)

_EPOCH_S: Final = 1e9
"""A plain number from here on is a moment, in seconds since 1970; from a thousand times that on, in milliseconds."""


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
    until, now = _http_date(value), _http_date(headers.get("date"))
    return None if until is None or now is None else clamp(until - now)


def read_reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit that was reached is reset; None where nothing is said, or nonsense.

    For an answer that says that a limit was reached, and not for how long. Which one it was, `...-remaining` tells:
    of those with nothing left, the last to be reset; where none tells, the first to be. Spans (`6m0s`), seconds, and
    moments, which are measured against the answer's `Date`.
    Sources: https://platform.openai.com/docs/guides/rate-limits (x-ratelimit-reset-requests and -tokens),
    https://docs.anthropic.com/en/api/rate-limits (anthropic-ratelimit-requests-reset and others, RFC 3339),
    https://openrouter.ai/docs/api-reference/limits (X-RateLimit-Reset, milliseconds), read 2026-11-25.
    """
    used_up: list[float] = []
    unclear: list[float] = []
    for seconds, remaining in _resets(headers):
        if remaining == 0:
            used_up.append(seconds)
        elif remaining is None:
            unclear.append(seconds)
    if used_up:
        return clamp(max(used_up))
    return clamp(min(unclear)) if unclear else None


def clamp(seconds: float) -> float:
    """From 0 to a day."""
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S)


def _resets(headers: Mapping[str, str]) -> Iterator[tuple[float, float | None]]:
    """Each limit's seconds until its reset, and what remains of it where that is said."""
    now = _http_date(headers.get("date"))
    for name, value in headers.items():
        found = _RESET.fullmatch(name)
        if found is None:
            continue
        seconds = _until(value.strip(), now)
        if seconds is not None:
            yield seconds, _number(headers.get(name.replace("reset", "remaining")))


def _until(value: str, now: float | None) -> float | None:
    if len(value) > _LONGEST:
        return None
    number = _number(value)
    if number is None:
        span = _SPAN.fullmatch(value) if value else None
        if span is not None:
            return sum(float(part) * unit for part, unit in zip(span.groups(), _SECONDS, strict=True) if part)
        number = _timestamp(value)
    if number is None or number < _EPOCH_S:
        return number
    return None if now is None else (number / 1000 if number >= _EPOCH_S * 1000 else number) - now


def _timestamp(value: str) -> float | None:
    """RFC 3339 as seconds since 1970."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _http_date(value: str | None) -> float | None:
    """An HTTP-date as seconds since 1970."""
    if value is None or len(value) > _LONGEST:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, TypeError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    if value is None or len(value) > 32:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
