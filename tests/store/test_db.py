"""A database's transactions: bounded, all or nothing, quiet about what people wrote."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from collector import left_to_the_collector
from store.databases import Outage, Place, opened, postgresql
from store.tcp_proxy import TcpProxy
from trunkline.core.caller import Secret
from trunkline.core.problem import Kind, Problem
from trunkline.store.db import Database, Refused, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

INSERT = (
    "INSERT INTO chat_sessions (id, user_id, created_at, updated_at) "
    "VALUES ('00000000000000000000000000000001', 'u', '2026-01-01', '2026-01-01')"
)


async def run(connection: AsyncConnection, statement: str) -> list[tuple[object, ...]]:
    found = await connection.execute(sa.text(statement))
    return [tuple(row) for row in found] if found.returns_rows else []


async def test_a_write_is_committed_whole(database: Database, somewhere: Place) -> None:
    await database.write(partial(run, statement=INSERT))
    assert await somewhere.count("chat_sessions") == 1


async def test_a_write_that_fails_leaves_nothing(database: Database, somewhere: Place) -> None:
    async def half(connection: AsyncConnection) -> None:
        await run(connection, INSERT)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        await database.write(half)
    assert await somewhere.count("chat_sessions") == 0


async def test_a_constraint_that_refuses_is_told_as_refused_without_the_values(database: Database) -> None:
    async def insert(connection: AsyncConnection) -> None:
        await connection.execute(sa.text("INSERT INTO chat_sessions (user_id) VALUES (:who)"), {"who": "canary-name"})

    with pytest.raises(Refused) as caught:
        await database.write(insert)
    told: BaseException | None = caught.value
    while told is not None:
        assert "canary-name" not in str(told)
        told = told.__cause__
    assert "canary-name" not in str(caught.value.detail)


async def test_waiting_for_a_transaction_is_bounded_and_says_whether_it_had_begun(outage: Outage) -> None:
    async with opened(outage.url) as database:
        await database.write(partial(run, statement="SELECT 1"))
        outage.begin()
        before = time.perf_counter()
        with pytest.raises(Unavailable) as caught:
            await database.write(partial(run, statement=INSERT), timeout_s=0.3)
        assert caught.value.has_begun
        assert time.perf_counter() - before < 0.3 + 2
        await outage.end()


async def test_a_transaction_that_fails_leaves_nothing_that_waits_for_the_collector(tmp_path: Path) -> None:
    database = Database(Secret(f"sqlite:///{tmp_path / 'missing' / 'file.sqlite3'}"))
    with left_to_the_collector(Problem) as left:
        with pytest.raises(Unavailable):
            await database.write(partial(run, statement="SELECT 1"))
        await asyncio.sleep(0)
    assert left == []


async def test_a_caller_who_stops_waiting_is_let_go_at_once(outage: Outage) -> None:
    async with opened(outage.url) as database:
        await database.write(partial(run, statement="SELECT 1"))
        outage.begin()
        waiting = asyncio.create_task(database.write(partial(run, statement=INSERT)))
        await asyncio.sleep(0.1)
        before = time.perf_counter()
        waiting.cancel()
        await asyncio.wait((waiting,))
        assert time.perf_counter() - before < 1
        await outage.end()


async def test_a_write_that_nobody_waits_for_never_leaves_the_file_locked(tmp_path: Path) -> None:
    """Wherever it is torn: what a cancelled statement left behind once kept SQLite's lock."""

    async def several(connection: AsyncConnection) -> None:
        for _ in range(4):
            await run(connection, "DELETE FROM t WHERE n < 0")
            await run(connection, "SELECT count(*) FROM t")

    for number in range(100):
        file = tmp_path / f"torn-{number}.sqlite3"
        database = Database(Secret(f"sqlite:///{file}"), may_create=True)
        await database.write(partial(run, statement="CREATE TABLE t (n INTEGER)"))
        waiting = asyncio.create_task(database.write(several))
        await asyncio.sleep(number * 40e-6)
        waiting.cancel()
        await asyncio.wait((waiting,))
        await database.aclose()
        with closing(sqlite3.connect(file, timeout=0.3, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")


async def test_closing_does_not_wait_for_a_server_that_is_silent(outage: Outage) -> None:
    async with opened(outage.url) as database:
        await database.read(partial(run, statement="SELECT 1"))
        outage.begin()
        before = time.perf_counter()
        await database.aclose()
        assert time.perf_counter() - before < 2


async def test_a_database_that_is_not_there_is_unavailable_and_nothing_has_begun(
    tmp_path: Path, unused_port: int
) -> None:
    for url in (f"sqlite:///{tmp_path}/missing.sqlite3", f"postgresql://u@127.0.0.1:{unused_port}/d"):
        async with opened(url) as database:
            with pytest.raises(Unavailable) as caught:
                await database.read(partial(run, statement="SELECT 1"))
            assert caught.value.kind is Kind.UNAVAILABLE
            assert not caught.value.has_begun
    assert list(tmp_path.iterdir()) == []


async def test_a_server_that_never_answers_a_login_is_unavailable_in_time() -> None:
    async def silent() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(f"{postgresql().socket_dir}/.s.PGSQL.5432")

    async with TcpProxy(silent) as proxy:
        proxy.hang()
        async with opened(f"postgresql://u@127.0.0.1:{proxy.port}/d?sslmode=disable") as database:
            with pytest.raises(Unavailable):
                await database.read(partial(run, statement="SELECT 1"), timeout_s=0.3)


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite://", "sqlite:///:memory:", "postgresql://h/d?nonsense=1"])
async def test_a_url_that_cannot_be_used_is_told_when_it_is_used(url: str) -> None:
    async with opened(url) as database:
        with pytest.raises(Problem) as caught:
            await database.read(partial(run, statement="SELECT 1"))
        assert caught.value.kind is Kind.UNAVAILABLE


async def test_sqlite_is_durable_strict_and_patient(tmp_path: Path) -> None:
    database = Database(Secret(f"sqlite:///{tmp_path}/new.sqlite3"), may_create=True)
    found = {
        name: (await database.read(partial(run, statement=f"PRAGMA {name}")))[0][0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    }
    await database.aclose()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 2000}


async def test_nothing_prepared_stays_on_a_postgresql_connection() -> None:
    async with opened(postgresql().url("migrated_template")) as database:
        for _ in range(3):
            assert (
                await database.read(partial(run, statement="SELECT name FROM pg_prepared_statements WHERE name <> ''"))
                == []
            )


async def test_writers_of_one_process_take_turns_in_order(database: Database) -> None:
    order: list[int] = []

    async def step(_: AsyncConnection, number: int) -> None:
        order.append(number)

    await database.write(partial(step, number=-1))
    order.clear()
    await asyncio.gather(*(database.write(partial(step, number=number)) for number in range(20)))
    assert sorted(order) == list(range(20))
    if database.is_sqlite:
        assert order == list(range(20))
