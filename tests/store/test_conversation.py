"""The rules for ids, titles, texts and cursors."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.problem import Kind, Problem
from trunkline.store.conversation import (
    SessionCursor,
    read_position,
    session_key,
    storable,
    title_from,
    write_position,
)

anything = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("Hello", "Hello"),
        ("  two\nlines\tand   spaces ", "two lines and spaces"),
        ("word " * 40, "word word word word word word word word word word word word word word word word…"[:80]),
        ("x" * 100, "x" * 79 + "…"),
        (" \n ", None),
        ("a\0b", "a\ufffdb"),
    ],
)
def test_a_title_is_the_beginning_of_the_message_on_one_line(message: str, title: str | None) -> None:
    made = title_from(message)
    if message.startswith("word"):
        assert made is not None
        assert made.endswith("word…")
    else:
        assert made == title


@given(anything)
def test_a_title_is_short_and_both_databases_can_hold_it(message: str) -> None:
    title = title_from(message)
    assert title is None or (0 < len(title) <= 80 and "\0" not in title and title.encode())


@given(anything)
def test_a_stored_text_differs_only_where_a_database_cannot_hold_it(text: str) -> None:
    stored = storable(text)
    assert len(stored) == len(text)
    for before, after in zip(text, stored, strict=True):
        assert after == ("\ufffd" if before == "\0" or "\ud800" <= before <= "\udfff" else before)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)), st.uuids())  # noqa: DTZ001 - strategies want naive bounds
def test_a_cursor_comes_back_as_it_was(at: datetime, key: UUID) -> None:
    cursor = SessionCursor(at.replace(tzinfo=UTC), key)
    assert SessionCursor.read(cursor.write()) == cursor


@given(st.integers(0, 2**31 - 1))
def test_a_position_comes_back_as_it_was(position: int) -> None:
    assert read_position(write_position(position)) == position


@given(anything)
def test_any_other_text_is_no_cursor(text: str) -> None:
    def again(of_sessions: bool) -> str:
        return SessionCursor.read(text).write() if of_sessions else write_position(read_position(text))

    for of_sessions in (True, False):
        with suppress(Problem):
            assert again(of_sessions) == text


@pytest.mark.parametrize("text", ["", "A", "\0", "é", "_____w", "A" * 31, "A" * 33, "f" * 32, "=" * 32, "A" * 1_000])
def test_a_bad_cursor_is_named(text: str) -> None:
    for read in (SessionCursor.read, read_position):
        with pytest.raises(Problem) as caught:
            read(text)
        assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "cursor")


@given(anything)
def test_no_text_but_an_id_names_a_session(text: str) -> None:
    with pytest.raises(Problem) as caught:
        session_key(text)
    assert caught.value.kind is Kind.NOT_FOUND


def test_an_id_names_a_session_in_either_case() -> None:
    key = uuid4()
    assert session_key(str(key)) == session_key(str(key).upper()) == key
