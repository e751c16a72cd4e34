"""The database away or slow: streams do not feel it, answers are written when it is back, losses are counted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from store.databases import Clock, Outage, Place, migrated_postgresql, opened, postgresql, running
from store.tcp_proxy import TcpProxy
from store.turns import USER, begin, finish, say, texts
from trunkline.core.problem import Kind, Problem
from trunkline.store.history import History

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trunkline.store.db import Database

SLACK = 4


async def until(is_so: Callable[[], bool], timeout_s: float = 20) -> None:
    """Return when it is so."""
    async with asyncio.timeout(timeout_s):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.02)


async def test_while_the_database_is_silent_a_turn_ends_at_once_and_is_stored_later(
    somewhere: Place, outage: Outage, clock: Clock
) -> None:
    async with opened(outage.url) as database, running(History(database, clock=clock)) as history:
        turn = await begin(history)
        outage.begin()
        before = time.perf_counter()
        finish(history, turn, "Streamed while the database was away")
        assert time.perf_counter() - before < 0.05
        await asyncio.sleep(0.3)
        assert (history.pending, history.lost) == (1, 0)
        await outage.end()
        await until(lambda: not history.pending)
    assert history.lost == 0
    rows = await somewhere.rows("SELECT content FROM chat_messages WHERE role = 'assistant'")
    assert rows == [("Streamed while the database was away",)]
    assert await somewhere.rows("SELECT message_count FROM chat_sessions") == [(2,)]


async def test_while_the_database_is_silent_no_turn_begins_without_its_context(outage: Outage, clock: Clock) -> None:
    async with opened(outage.url) as database, running(History(database, clock=clock)) as history:
        session = await say(history, "One?", "1")
        await history.owned_by(USER).read(UUID(session))
        outage.begin()
        before = time.perf_counter()
        began = await asyncio.gather(
            begin(history, "Two?", session=session), begin(history, "A new one"), return_exceptions=True
        )
        assert time.perf_counter() - before < 2 * SLACK
        assert [each.kind for each in began if isinstance(each, Problem)] == [Kind.UNAVAILABLE] * 2
        await outage.end()


async def test_a_turn_that_did_not_begin_leaves_nothing_even_if_its_writes_arrive_late(
    somewhere: Place, outage: Outage, clock: Clock
) -> None:
    async with opened(outage.url) as database, running(History(database, clock=clock, begin_s=0.6)) as history:
        session = await say(history, "One?", "1")
        await history.owned_by(USER).read(UUID(session))
        outage.begin()
        began = await asyncio.gather(
            begin(history, "Two?", session=session), begin(history, "A new one"), return_exceptions=True
        )
        assert all(isinstance(each, Problem) for each in began)
        await outage.end()
        async with asyncio.timeout(20):
            while True:
                try:
                    turn = await begin(history, "Three?", session=session)
                    break
                except Problem:
                    await asyncio.sleep(0.1)
        assert texts(turn) == ["One?", "1"]
        finish(history, turn)
    assert await somewhere.rows("SELECT message_count FROM chat_sessions") == [(4,)]
    assert await somewhere.count("chat_messages") == 4


@pytest.fixture
async def proxied() -> AsyncGenerator[tuple[TcpProxy, Place, str]]:
    """A PostgreSQL database behind a network that can fail at any word."""
    there = await migrated_postgresql()
    socket = f"{postgresql().socket_dir}/.s.PGSQL.5432"
    async with TcpProxy(lambda: asyncio.open_unix_connection(socket)) as proxy:
        yield proxy, there, f"postgresql://postgres@127.0.0.1:{proxy.port}/{there.name}"


async def test_a_commit_that_nobody_heard_of_is_not_repeated(proxied: tuple[TcpProxy, Place, str]) -> None:
    proxy, there, url = proxied
    async with opened(url, transaction_s=0.5) as database, running(History(database)) as history:
        turn = await begin(history)
        proxy.hang_after(b"COMMIT")
        finish(history, turn)
        await asyncio.sleep(1)
        assert history.pending == 1
        await proxy.restore()
        await until(lambda: not history.pending)
        assert texts(await begin(history, "Next", session=turn.session_id)) == ["Hello", "Hi!"]
    assert history.lost == 0
    assert await there.rows("SELECT message_count FROM chat_sessions") == [(3,)]


@pytest.mark.parametrize("is_opening", [True, False])
async def test_a_turn_whose_commit_nobody_heard_of_is_taken_back(
    proxied: tuple[TcpProxy, Place, str], is_opening: bool
) -> None:
    proxy, there, url = proxied
    async with opened(url) as database, running(History(database, begin_s=0.5)) as history:
        session = await say(history, "One?", "1")
        await history.owned_by(USER).read(UUID(session))
        proxy.hang_after(b"COMMIT")
        with pytest.raises(Problem) as caught:
            await begin(history, "Two?", session=None if is_opening else session)
        assert caught.value.kind is Kind.UNAVAILABLE
        assert await there.count("chat_messages") == 3
        await proxy.restore()
        await history.aclose(20)
        assert await there.count("chat_messages") == 2
        assert texts(await begin(history, "Three?", session=session)) == ["One?", "1"]
    assert await there.rows("SELECT message_count FROM chat_sessions") == [(3,)]


async def test_an_answer_still_unwritten_holds_up_the_next_turn_of_its_session_only(
    outage: Outage, clock: Clock
) -> None:
    async with opened(outage.url) as database, running(History(database, clock=clock, begin_s=0.6)) as history:
        turn = await begin(history)
        outage.begin()
        finish(history, turn)
        with pytest.raises(Problem) as caught:
            await begin(history, session=turn.session_id)
        assert caught.value.kind is Kind.UNAVAILABLE
        await outage.end()
        await until(lambda: not history.pending)
        assert texts(await begin(history, session=turn.session_id)) == ["Hello", "Hi!"]


async def test_what_is_over_the_bound_is_lost_counted_and_does_not_block_its_session(
    somewhere: Place, outage: Outage, clock: Clock
) -> None:
    async with opened(outage.url) as database, running(History(database, clock=clock, max_pending=2)) as history:
        turns = [await begin(history, f"No. {number}") for number in range(5)]
        outage.begin()
        for turn in turns:
            finish(history, turn)
        assert (history.pending, history.lost) == (2, 3)
        await outage.end()
        await until(lambda: not history.pending)
        again = await begin(history, "Once more", session=turns[-1].session_id)
        assert texts(again) == ["No. 4"]
    assert await somewhere.count("chat_messages") == 5 + 2 + 1


async def test_a_write_that_fails_for_too_long_is_lost_and_counted(outage: Outage, clock: Clock) -> None:
    async with (
        opened(outage.url, transaction_s=0.5) as database,
        running(History(database, clock=clock, give_up_s=0.5)) as history,
    ):
        turn = await begin(history)
        outage.begin()
        finish(history, turn)
        await until(lambda: history.lost == 1, timeout_s=20 * SLACK)
        assert history.pending == 0
        await outage.end()


async def test_ending_while_the_database_is_away_takes_a_bounded_time(outage: Outage, clock: Clock) -> None:
    async with opened(outage.url) as database:
        history = History(database, clock=clock)
        await history.start()
        turn = await begin(history)
        outage.begin()
        finish(history, turn)
        before = time.perf_counter()
        await history.aclose(0.5)
        assert time.perf_counter() - before < 2 * SLACK
        assert (history.pending, history.lost) == (0, 1)
        await outage.end()


async def test_ending_stores_what_is_pending(database: Database, somewhere: Place) -> None:
    history = History(database)
    await history.start()
    for _ in range(20):
        finish(history, await begin(history))
    await history.aclose(10)
    assert (history.pending, history.lost) == (0, 0)
    assert await somewhere.count("chat_messages") == 40


async def test_a_server_that_went_away_and_came_back_is_used_again(somewhere: Place, history: History) -> None:
    session = await say(history, "One?", "1")
    await history.owned_by(USER).read(UUID(session))
    if somewhere.kind == "postgresql":
        await somewhere.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await asyncio.sleep(0.05)
    assert texts(await begin(history, "Two?", session=session)) == ["One?", "1"]
