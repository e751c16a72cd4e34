"""One user's sessions: listed, searched, changed and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from store.turns import USER, begin, finish, say
from trunkline.core.problem import Kind, Problem

if TYPE_CHECKING:
    from store.databases import Clock, Place
    from trunkline.store.conversation import Session
    from trunkline.store.history import History
    from trunkline.store.owned_sessions import OwnedSessions


async def empty(mine: OwnedSessions, title: str) -> Session:
    return await mine.create(uuid4(), title=title, model=None, metadata=None)


async def walk(mine: OwnedSessions, limit: int) -> list[str]:
    """The titles of all pages."""
    titles: list[str] = []
    cursor: str | None = None
    while True:
        page = await mine.page(limit=limit, cursor=cursor)
        assert len(page.sessions) <= limit
        titles += [session.title or "" for session in page.sessions]
        cursor = page.next_cursor
        if cursor is None:
            return titles


async def test_sessions_come_newest_first_and_each_once(history: History, clock: Clock) -> None:
    mine = history.owned_by(USER)
    for number in range(7):
        clock.now += 1
        await empty(mine, str(number))
    for limit in (1, 2, 3, 7, 8):
        assert await walk(mine, limit) == ["6", "5", "4", "3", "2", "1", "0"]


async def test_sessions_of_the_same_moment_come_each_once(history: History) -> None:
    mine = history.owned_by(USER)
    for number in range(7):
        await empty(mine, str(number))
    assert sorted(await walk(mine, 2)) == [str(number) for number in range(7)]


async def test_a_page_goes_on_where_the_last_one_ended_whatever_happens_meanwhile(
    history: History, clock: Clock
) -> None:
    mine = history.owned_by(USER)
    made: list[Session] = []
    for number in range(6):
        clock.now += 1
        made.append(await empty(mine, str(number)))
    first = await mine.page(limit=3)
    clock.now += 1
    await empty(mine, "new")
    await mine.update(made[1].id, {"title": "1, renamed"})
    await mine.delete(made[3].id)
    second = await mine.page(limit=3, cursor=first.next_cursor)
    assert [session.title for session in second.sessions] == ["2", "1, renamed", "0"]
    assert second.next_cursor is None


async def test_a_new_message_brings_its_session_to_the_top(history: History, clock: Clock) -> None:
    old = await say(history, "Old", "1")
    clock.now += 1
    await say(history, "New", "2")
    clock.now += 1
    await history.owned_by(USER).read(UUID(old))
    await say(history, "More", "3", session=old)
    assert [session.title for session in (await history.owned_by(USER).page()).sessions] == ["Old", "New"]


async def test_archived_sessions_are_listed_apart(history: History) -> None:
    mine = history.owned_by(USER)
    await empty(mine, "here")
    away = await empty(mine, "away")
    await mine.update(away.id, {"is_archived": True})
    assert [session.title for session in (await mine.page()).sessions] == ["here"]
    assert [session.title for session in (await mine.page(is_archived=True)).sessions] == ["away"]


SEARCHES: tuple[tuple[str, set[str]], ...] = (
    ("trunk", {"Trunk lines"}),
    ("LINES", {"Trunk lines"}),
    ("hidden in an answer", {"Other"}),
    ("%", {"100% sure_"}),
    ("_", {"100% sure_"}),
    ("\\", set()),
    ("' OR 1=1 --", set()),
    ("nowhere", set()),
)


async def test_a_search_finds_titles_and_texts(history: History) -> None:
    mine = history.owned_by(USER)
    await say(history, "Trunk lines", "An answer")
    await say(history, "Other", "Well Hidden in an ANSWER")
    await empty(mine, "100% sure_")
    await say(history, "Trunk lines of somebody else, hidden in an answer %_", "x", user="mallory")
    await history.aclose(5)
    for query, found in SEARCHES:
        page = await mine.page(query=query)
        assert {session.title for session in page.sessions} == found, query


async def test_messages_come_in_order_and_each_once(history: History) -> None:
    session = await say(history, "Q0", "A0")
    for number in range(1, 4):
        turn = await begin(history, f"Q{number}", session=session)
        finish(history, turn, f"A{number}")
    mine = history.owned_by(USER)
    for limit in (1, 3, 8, 9):
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await mine.messages(UUID(session), limit=limit, cursor=cursor)
            seen += [message.content for message in page.messages]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == ["Q0", "A0", "Q1", "A1", "Q2", "A2", "Q3", "A3"]


async def test_changes_are_there_and_touch_nothing_else(history: History, clock: Clock) -> None:
    mine = history.owned_by(USER)
    made = await mine.create(uuid4(), title="Before", model="m", metadata={"a": [1, {"b": None}], "c": "é\0"})
    clock.now += 5
    changed = await mine.update(made.id, {"title": "After"})
    assert changed == await mine.read(made.id)
    assert (changed.title, changed.model, changed.metadata) == ("After", "m", {"a": [1, {"b": None}], "c": "é\0"})
    assert changed.created_at == made.created_at
    assert (changed.updated_at - made.updated_at).total_seconds() == 5
    assert (await mine.update(made.id, {"metadata": None})).metadata is None


async def test_what_stays_of_a_deleted_session_goes_after_a_day(
    history: History, clock: Clock, somewhere: Place
) -> None:
    mine = history.owned_by(USER)
    for days in (0, 0, 2):
        clock.now += days * 86_400
        await mine.delete((await empty(mine, "short-lived")).id)
    assert await somewhere.count("chat_sessions") == 1


async def test_a_deleted_session_leaves_no_text_behind(history: History, somewhere: Place) -> None:
    session = await say(history, "Secret question", "Secret answer")
    mine = history.owned_by(USER)
    await mine.read(UUID(session))
    await mine.delete(UUID(session))
    with pytest.raises(Problem) as caught:
        await mine.read(UUID(session))
    assert caught.value.kind is Kind.NOT_FOUND
    with pytest.raises(Problem):
        await mine.delete(UUID(session))
    assert await somewhere.count("chat_messages") == 0
    assert await somewhere.rows("SELECT title, model, message_count FROM chat_sessions") == [(None, None, 0)]


async def test_a_page_of_long_messages_is_shorter(history: History) -> None:
    mine = history.owned_by(USER)
    long = "x" * 1_500_000
    session = await say(history, long, "Short")
    session = await say(history, long, 3 * long, session=session)
    counts: list[int] = []
    cursor: str | None = None
    while not counts or cursor is not None:
        page = await mine.messages(UUID(session), cursor=cursor)
        counts.append(len(page.messages))
        cursor = page.next_cursor
    assert counts == [3, 1]
