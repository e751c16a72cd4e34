"""A database: its engine, its transactions, and a bound on every wait for it. SQLite or PostgreSQL, by URL."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

import msgspec
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from trunkline.core.problem import Kind, Problem
from trunkline.store.database_url import Address, translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from trunkline.core.caller import Secret

T = TypeVar("T")

TRANSACTION_S: Final = 5.0
CONNECT_S: Final = 5.0
COMMAND_S: Final = 10.0
CLOSE_S: Final = 3.0
BUSY_S: Final = 2.0
"""How long SQLite waits for another process's transaction."""

POOL_SIZE: Final = 8
RECYCLE_S: Final = 240
"""Serverless PostgreSQL and the networks before it drop connections that idle for five minutes."""

REFUSALS: Final = ("22", "23", "42")
"""Classes of SQLSTATE that trying again does not mend: data, constraints, the statement itself.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""


class Unavailable(Problem):
    """The database did not answer, or not in time. `has_begun`: a transaction had begun, and may yet take place."""

    def __init__(self, detail: str, *, has_begun: bool) -> None:
        super().__init__(
            Kind.UNAVAILABLE,
            "The database of this router is not available right now. Try again in a moment.",
            retry_after_s=5,
            detail=detail,
        )
        self.has_begun = has_begun


class Refused(Problem):
    """The database answered, and refused a statement: a fault of ours."""

    def __init__(self, detail: str) -> None:
        super().__init__(Kind.INTERNAL, "The router failed: its database refused a statement.", detail=detail)


class _Progress:
    """How far a transaction came, and whether nobody waits for it any more."""

    __slots__ = ("has_begun", "is_abandoned")

    def __init__(self) -> None:
        self.has_begun = False
        self.is_abandoned = False


class Database:
    """One database. Owns its connections and every transaction under way.

    A transaction runs in a task of its own: whoever waits for it may stop waiting at any moment, whatever state the
    connection is in. The task is then cancelled, and ends by itself or in `aclose`. SQLite's are not, as a connection
    whose statement is torn may keep the file locked: they come to their end, and are rolled back.
    """

    def __init__(
        self,
        url: Secret,
        *,
        may_create: bool = False,
        transaction_s: float = TRANSACTION_S,
        command_s: float = COMMAND_S,
    ) -> None:
        self._url = url
        self._may_create = may_create
        self._transaction_s = transaction_s
        self._command_s = command_s
        self._address: Address | None = None
        self._engine: AsyncEngine | None = None
        self._under_way: dict[asyncio.Task[Any], _Progress] = {}
        self._servers: WeakSet[Any] = WeakSet()
        """The open connections to a server, as the driver has them. Closing one politely would wait for its answer."""
        # SQLite has one writer at a time; here they queue in order, where its own lock would let some starve.
        self._writer = asyncio.Lock()

    @property
    def address(self) -> Address:
        """Where it is. Raises Problem UNAVAILABLE for a URL that cannot be used."""
        if self._address is None:
            self._address = translate(self._url.reveal(), may_create=self._may_create)
        return self._address

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self.address.file is not None

    async def read(self, step: Callable[[AsyncConnection], Awaitable[T]], *, timeout_s: float | None = None) -> T:
        """What `step` returns, run in a transaction that changes nothing. Raises Unavailable, Refused."""
        return await self._bounded(step, self._transaction_s if timeout_s is None else timeout_s, is_write=False)

    async def write(self, step: Callable[[AsyncConnection], Awaitable[T]], *, timeout_s: float | None = None) -> T:
        """What `step` returns, once its changes are committed. Raises Unavailable, Refused.

        After Unavailable with `has_begun` they may be there, or come to be there, all the same.
        """
        return await self._bounded(step, self._transaction_s if timeout_s is None else timeout_s, is_write=True)

    async def abandoned(self, timeout_s: float) -> None:
        """Return when every transaction that is under way now has ended, or after this time."""
        if self._under_way:
            await asyncio.wait(tuple(self._under_way), timeout=timeout_s)

    async def aclose(self, timeout_s: float = CLOSE_S) -> None:
        """End what is under way and close all connections, whether or not the other side still answers."""
        for task, progress in self._under_way.items():
            self._abandon(task, progress)
        for connection in self._servers:
            connection.terminate()
        await self.abandoned(timeout_s)
        for task in self._under_way:
            _cancel(task)
        if self._engine is not None:
            await self._engine.dispose()

    async def _bounded(self, step: Callable[[AsyncConnection], Awaitable[T]], timeout_s: float, *, is_write: bool) -> T:
        progress = _Progress()
        task = asyncio.create_task(self._transaction(step, progress, is_write=is_write))
        self._under_way[task] = progress
        task.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait((task,), timeout=timeout_s)
        except asyncio.CancelledError:
            self._abandon(task, progress)
            raise
        if not done:
            self._abandon(task, progress)
            raise Unavailable(f"no answer within {timeout_s:.1f} s", has_begun=progress.has_begun)
        try:
            return task.result()
        finally:
            del task, done  # what it raises holds this frame: a circle

    def _abandon(self, task: asyncio.Task[Any], progress: _Progress) -> None:
        progress.is_abandoned = True
        if self._address is None or not self.is_sqlite:
            _cancel(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.pop(task, None)
        if not task.cancelled():
            task.exception()  # whoever waited for it may be gone

    async def _transaction(
        self, step: Callable[[AsyncConnection], Awaitable[T]], progress: _Progress, *, is_write: bool
    ) -> T:
        try:
            engine = await self._open()
            if is_write:
                engine = engine.execution_options(begin="BEGIN IMMEDIATE")
            async with AsyncExitStack() as stack:
                if is_write and self.is_sqlite:
                    await stack.enter_async_context(self._writer)
                if progress.is_abandoned:
                    raise asyncio.CancelledError
                connection = await stack.enter_async_context(engine.connect())
                progress.has_begun = True
                result = await step(connection)
                if progress.is_abandoned:
                    raise asyncio.CancelledError
                await connection.commit()
                return result
        except (exc.SQLAlchemyError, sqlite3.Error, OSError, EOFError, OverflowError, UnicodeError) as error:
            # Without the driver's error: its words hold what people wrote, and a traceback would print them.
            raise _told(error, has_begun=progress.has_begun) from None

    async def _open(self) -> AsyncEngine:
        address = self.address
        if self._engine is None and address.file is not None:
            # Tried once without the driver, whose threads do not end cleanly on a file that cannot be opened.
            await asyncio.to_thread(_try_file, address)
        if self._engine is None:
            connect_args = dict(address.connect_args)
            if not self.is_sqlite:
                connect_args |= {"timeout": CONNECT_S, "command_timeout": self._command_s}
            self._engine = create_async_engine(
                address.engine_url,
                connect_args=connect_args,
                hide_parameters=True,  # they are what people wrote: not for logs
                json_serializer=_json,
                json_deserializer=msgspec.json.decode,
                pool_size=POOL_SIZE,
                max_overflow=0,
                pool_timeout=self._transaction_s,
                pool_recycle=-1 if self.is_sqlite else RECYCLE_S,
                pool_use_lifo=True,
            )
            if self.is_sqlite:
                event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
                event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
            else:
                event.listen(self._engine.sync_engine, "connect", self._connected)
                event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        return self._engine

    def _connected(self, connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        self._servers.add(connection.driver_connection)


def _cancel(task: asyncio.Task[Any]) -> None:
    """Cancel it, once: a second time would tear the closing of its connection, which then may never end."""
    if not task.cancelling():
        task.cancel()


def _try_file(address: Address) -> None:
    """Open the file once. Raises sqlite3.Error where it is missing, out of reach or no database."""
    uri = f"{address.engine_url.database}?mode={address.engine_url.query['mode']}"
    give_up = time.monotonic() + BUSY_S
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                # The first change of the mode does not wait for others who make it.
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
            else:
                return


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {int(BUSY_S * 1000)}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def _refuse_closed(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Take another connection where the server has closed this one meanwhile. Costs no round trip."""
    driver: Any = connection.driver_connection
    if driver.is_closed():
        raise exc.DisconnectionError


def _told(error: Exception, *, has_begun: bool) -> Problem:
    """What a driver's error means."""
    detail = type(error).__name__
    match error:
        case exc.DBAPIError():
            code = str(getattr(error.orig, "sqlstate", None) or "")
            detail = " ".join(word for word in (type(error.driver_exception).__name__, code) if word)
            is_refusal = (
                isinstance(error, exc.IntegrityError | exc.ProgrammingError | exc.DataError | exc.NotSupportedError)
                or code.startswith(REFUSALS)
                or isinstance(error.driver_exception, ValueError)
            )
        case exc.TimeoutError() | exc.DisconnectionError() | sqlite3.Error() | OSError() | EOFError():
            is_refusal = False
        case _:
            is_refusal = True
    return Refused(detail) if is_refusal else Unavailable(detail, has_begun=has_begun)
