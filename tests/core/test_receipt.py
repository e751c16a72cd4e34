"""What a client is told of its own request, and what it is not."""

from __future__ import annotations

import msgspec

from trunkline.core.receipt import receipt
from trunkline.core.record import Attempted, Considered, Outcome, Record
from trunkline.core.reply import Usage

RECORD = Record(
    request_id="r-1",
    route="/v1/chat/completions",
    user="alice",
    outcome=Outcome.COMPLETE,
    status=200,
    total_ms=12.3456,
    cost_nano=12_000,
    candidates=(
        Considered(target="a/m", why="is number 1 of its route"),
        Considered(target="b/m", why="does not take images", passed_over=True),
        Considered(target="secret/m", why="is for callers with the tag `gold`", passed_over=True, foreign=True),
    ),
    attempts=(
        Attempted(
            provider="a",
            model="m",
            begun_ms=0.04,
            ended_ms=9.0,
            charged=True,
            problem="upstream_failed",
            detail="10.0.0.1",
        ),
    ),
    detail="10.0.0.1",
)


def test_what_is_for_other_callers_is_counted_and_not_named() -> None:
    told = receipt(RECORD, for_admin=False)
    assert [(one.target, one.passed_over) for one in told.candidates] == [("a/m", False), ("b/m", True)]
    assert told.hidden == 1


def test_a_kind_of_tokens_that_is_unknown_is_not_there() -> None:
    told = receipt(msgspec.structs.replace(RECORD, usage=Usage(input_tokens=9, output_tokens=0)), for_admin=False)
    assert told.usage == {"input_tokens": 9, "output_tokens": 0}


def test_the_administrator_sees_all() -> None:
    told = receipt(RECORD, for_admin=True)
    assert [one.target for one in told.candidates] == ["a/m", "b/m", "secret/m"]
    assert (told.hidden, told.detail, told.attempts[0].detail) == (0, "10.0.0.1", "10.0.0.1")


def test_details_are_the_operators() -> None:
    told = receipt(RECORD, for_admin=False)
    assert (told.detail, told.attempts[0].detail) == (None, None)


def test_costs_are_dollars_to_the_last_digit_and_unknown_is_not_zero() -> None:
    told = receipt(RECORD, for_admin=False)
    assert (told.cost, told.attempts[0].cost) == ("0.000012000", None)
