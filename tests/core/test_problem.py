"""A problem says what failed, whose fault it is and what its status is."""

from __future__ import annotations

import pytest

from trunkline.core.problem import STATUS, Kind, Problem, Retry, Source, invalid


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_status_that_is_an_error(kind: Kind) -> None:
    assert Problem(kind, "m").status == STATUS[kind]
    assert 400 <= STATUS[kind] <= 599


def test_an_upstreams_refusal_of_our_key_is_not_the_callers() -> None:
    assert STATUS[Kind.KEY_REFUSED] == 502
    assert STATUS[Kind.UNAUTHENTICATED] == 401


def test_a_problem_is_ours_and_final_unless_it_says_otherwise() -> None:
    problem = Problem(Kind.INTERNAL, "The router failed.")
    assert (problem.source, problem.retry, problem.retry_after_s) == (Source.ROUTER, Retry.NEVER, None)


def test_a_callers_problem_names_the_field() -> None:
    problem = invalid("`message` is missing.", param="message")
    assert (problem.kind, problem.source, problem.param) == (Kind.INVALID_REQUEST, Source.CALLER, "message")
    assert str(problem) == "`message` is missing."


def test_a_problem_shows_its_message_and_not_its_detail() -> None:
    shown = repr(Problem(Kind.TRUNCATED, "It broke.", detail="for the log"))
    assert shown == "Problem(truncated, 'It broke.', source=router, retry=never)"
