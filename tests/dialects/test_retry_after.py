"""How long to wait is read in every form in which upstreams say it, and nonsense is nothing (T12)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.dialects.retry_after import MAX_RETRY_AFTER_S, read_reset, read_retry_after

NOW = "Tue, 24 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1.0),
        ("1.5", 1.5),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1e9", MAX_RETRY_AFTER_S),
        ("99999999999999999999", MAX_RETRY_AFTER_S),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("1s", None),
        ("9" * 10_000, None),
        ("Tue, 24 Nov 2026 10:00:40 GMT", 40.0),
        ("Tue, 24 Nov 2026 12:00:40 +0200", 40.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0.0),
        ("Tue, 24 Nov 2099 10:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Tue, 24 Nov 2026 10:00:40", None),
        ("Tue, 99 Nov 2026 10:00:40 GMT", None),
        ("Fri, 31 Dec 99999 10:00:40 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert read_retry_after({"retry-after": value, "date": NOW}) == seconds


def test_without_a_header_nothing_is_known() -> None:
    assert read_retry_after({}) is None


def test_a_date_means_nothing_without_the_answers_own_date() -> None:
    assert read_retry_after({"retry-after": "Tue, 24 Nov 2026 10:00:40 GMT"}) is None
    assert read_retry_after({"retry-after": "Tue, 24 Nov 2026 10:00:40 GMT", "date": "today"}) is None


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [("250", 0.25), ("1500.5", 1.5005), ("1e12", MAX_RETRY_AFTER_S), ("junk", 3.0), ("-1", 3.0), ("", 3.0)],
)
def test_milliseconds_go_first_where_they_are_a_number(milliseconds: str, seconds: float) -> None:
    assert read_retry_after({"retry-after-ms": milliseconds, "retry-after": "3"}) == seconds


@given(value=st.text(max_size=60), date=st.text(max_size=40) | st.just(NOW))
@settings(deadline=None, max_examples=300)
def test_any_header_gives_a_time_within_a_day_or_nothing(value: str, date: str) -> None:
    seconds = read_retry_after({"retry-after": value, "retry-after-ms": date, "date": date})
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400.0),
        ("7.66s", 7.66),
        ("30", 30.0),
        ("2026-11-24T10:00:40Z", 40.0),
        ("2026-11-24T12:00:40+02:00", 40.0),
        ("2026-11-24T09:00:00Z", 0.0),
        ("1795514440", 40.0),
        ("1795514440000", 40.0),
        ("2026-11-24T10:00:40", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("9" * 10_000, None),
    ],
)
@pytest.mark.parametrize(
    "name", ["x-ratelimit-reset", "x-ratelimit-reset-tokens", "anthropic-ratelimit-input-tokens-reset"]
)
def test_a_reset_is_a_span_or_a_moment(name: str, value: str, seconds: float | None) -> None:
    assert read_reset({name: value, "date": NOW}) == seconds


def test_the_limit_that_was_reached_is_the_one_with_nothing_left() -> None:
    headers = {
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-requests": "7",
        "x-ratelimit-reset-tokens": "40s",
        "x-ratelimit-remaining-tokens": "0",
    }
    assert read_reset(headers) == 40
    assert read_reset({**headers, "x-ratelimit-remaining-requests": "0"}) == 40
    assert read_reset({**headers, "x-ratelimit-remaining-tokens": "9"}) is None
    assert read_reset({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "40s"}) == 1


def test_a_moment_means_nothing_without_the_answers_own_date() -> None:
    assert read_reset({"x-ratelimit-reset": "1795514440"}) is None
    assert read_reset({"anthropic-ratelimit-requests-reset": "2026-11-24T10:00:40Z"}) is None


@given(value=st.text(max_size=60), date=st.text(max_size=40) | st.just(NOW))
@settings(deadline=None, max_examples=300)
def test_any_reset_gives_a_time_within_a_day_or_nothing(value: str, date: str) -> None:
    seconds = read_reset({"x-ratelimit-reset-requests": value, "date": date})
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S
