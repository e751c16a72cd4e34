"""The sum of what workers counted."""

from __future__ import annotations

from trunkline.supervisor.tally import added, counted


def test_numbers_add_up_by_key_and_by_place() -> None:
    one = {"counters": {"lost": 1}, "series": {"a": {"tokens": 2, "duration": [0, 1, 2]}}}
    other = {
        "counters": {"lost": 2, "kept": 1},
        "series": {"b": {"tokens": 1}, "a": {"tokens": 3, "duration": [1, 1, 1]}},
    }
    assert added(one, other) == {
        "counters": {"lost": 3, "kept": 1},
        "series": {"a": {"tokens": 5, "duration": [1, 2, 3]}, "b": {"tokens": 1}},
    }


def test_nothing_added_changes_nothing() -> None:
    assert added({}, {"counters": {"lost": 1}}) == {"counters": {"lost": 1}}
    assert added({"duration": [1]}, {}) == {"duration": [1]}


def test_what_is_of_the_moment_ends_with_its_worker() -> None:
    assert counted({"counters": {"lost": 1}, "gauges": {"in_flight": 3}}) == {"counters": {"lost": 1}}
