"""One user's sessions, as the routes use them: SQL in, values out. Every statement is bound to the owner."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from trunkline.store.conversation import (
    MessagePage,
    Session,
    SessionCursor,
    SessionPage,
    StoredMessage,
    read_position,
    unknown_session,
    write_position,
)
from trunkline.store.schema import last_active, messages, sessions
from trunkline.store.turn_rows import owned, said

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.engine import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from trunkline.core.call import Message
    from trunkline.store.db import Database

T = TypeVar("T")

FOREIGN_WRITE_S: Final = 0.5
"""How long a reader waits for another process's turn: it may be all but written, or still stream for minutes."""

POLL_S: Final = 0.05

MAX_PAGE_CHARACTERS: Final = 4_000_000
"""What a page of messages holds at most, unless its first one alone is longer."""

TOMBSTONE_AGE: Final = timedelta(days=1)

_SESSION: Final = tuple(sessions.c[name] for name in Session.__struct_fields__)
_MESSAGE: Final = tuple(messages.c[name] for name in StoredMessage.__struct_fields__)


class OwnedSessions:
    """The sessions of `user`. A session that is not theirs is not there: Problem NOT_FOUND.

    `settled` returns when what this process has still to write for a session is written, or has taken too long;
    `is_foreign` tells the mark of another process's turn, whose write a reader waits for a moment. `deleted` is told
    of a session that is gone.
    """

    def __init__(
        self,
        database: Database,
        user: str,
        *,
        now: Callable[[], datetime],
        settled: Callable[[UUID], Awaitable[None]],
        is_foreign: Callable[[str], bool],
        deleted: Callable[[UUID], None],
    ) -> None:
        self._database = database
        self._user = user
        self._now = now
        self._settled = settled
        self._is_foreign = is_foreign
        self._deleted = deleted

    async def page(
        self, *, query: str | None = None, limit: int = 20, cursor: str | None = None, is_archived: bool = False
    ) -> SessionPage:
        """Sessions, the one active last first. `query` is looked for in titles and texts, whatever their case.

        (On SQLite: the case of ASCII letters.)
        """
        after = SessionCursor.read(cursor) if cursor is not None else None
        row = sessions.c
        wanted = sa.select(*_SESSION).where(
            row.user_id == self._user, row.deleted_at.is_(None), row.is_archived.is_(is_archived)
        )
        if after is not None:
            wanted = wanted.where(sa.or_(last_active < after.at, sa.and_(last_active == after.at, row.id < after.id)))
        if query:
            text = messages.c
            says = sa.exists().where(
                text.session_id == row.id, text.user_id == self._user, text.content.icontains(query, autoescape=True)
            )
            wanted = wanted.where(sa.or_(row.title.icontains(query, autoescape=True), says))
        wanted = wanted.order_by(last_active.desc(), row.id.desc()).limit(limit + 1)
        found = await self._database.read(partial(_all, wanted))
        page = [_session(each) for each in found[:limit]]
        has_more = len(found) > limit
        last = SessionCursor(page[-1].last_message_at or page[-1].created_at, page[-1].id) if has_more else None
        return SessionPage(sessions=page, next_cursor=last.write() if last else None)

    async def create(
        self, key: UUID, *, title: str | None, model: str | None, metadata: dict[str, Any] | None
    ) -> Session:
        """Make an empty session."""
        now = self._now()
        session = Session(
            id=key,
            title=title,
            model=model,
            created_at=now,
            updated_at=now,
            last_message_at=None,
            message_count=0,
            is_archived=False,
            metadata=metadata,
        )
        statement = sessions.insert().values(user_id=self._user, **msgspec.structs.asdict(session))
        await self._database.write(partial(_changed, statement))
        return session

    async def read(self, key: UUID) -> Session:
        """One session. Raises Problem NOT_FOUND."""
        return _only(await self._within(key, partial(_all, sa.select(*_SESSION).where(owned(self._user, key)))))

    async def update(self, key: UUID, changes: dict[str, Any]) -> Session:
        """Set these columns, and return the session as it is then. Raises Problem NOT_FOUND."""
        statement = (
            sessions.update()
            .where(owned(self._user, key))
            .values(updated_at=self._now(), **changes)
            .returning(*_SESSION)
        )
        return _only(await self._database.write(partial(_all, statement)))

    async def delete(self, key: UUID) -> None:
        """Delete a session and its messages. Raises Problem NOT_FOUND.

        A tombstone without content stays for a day, so that nothing is written for it any more.
        """

        async def bury(connection: AsyncConnection) -> int:
            gone = await _changed(
                sessions.update()
                .where(owned(self._user, key))
                .values(
                    deleted_at=self._now(),
                    title=None,
                    model=None,
                    metadata=None,
                    last_message_at=None,
                    message_count=0,
                    turn=None,
                    turn_expires_at=None,
                ),
                connection,
            )
            if gone:
                old = sessions.c.deleted_at < self._now() - TOMBSTONE_AGE
                await connection.execute(sessions.delete().where(sessions.c.user_id == self._user, old))
                await connection.execute(
                    messages.delete().where(messages.c.session_id == key, messages.c.user_id == self._user)
                )
            return gone

        if not await self._database.write(bury):
            raise unknown_session()
        self._deleted(key)

    async def messages(self, key: UUID, *, limit: int = 100, cursor: str | None = None) -> MessagePage:
        """The messages of a session, oldest first; fewer than `limit` where they are long. Raises Problem NOT_FOUND."""
        after = read_position(cursor) if cursor is not None else 0
        row = messages.c
        of_session = sa.and_(row.session_id == key, row.user_id == self._user)

        async def page(connection: AsyncConnection) -> MessagePage:
            sizes = (
                sa.select(row.position, sa.func.length(row.content).label("characters"))
                .where(of_session, row.position > after)
                .order_by(row.position)
                .limit(limit + 1)
            )
            sized = await _all(sizes, connection)
            count = _fitting([each["characters"] for each in sized[:limit]])
            last = sized[count - 1]["position"] if count else after
            wanted = sa.select(*_MESSAGE).where(of_session, row.position > after, row.position <= last)
            found = await _all(wanted.order_by(row.position), connection)
            return MessagePage(
                messages=[_message(each) for each in found],
                next_cursor=write_position(last) if len(sized) > count else None,
            )

        return await self._within(key, page)

    async def context(self, key: UUID) -> tuple[Message, ...]:
        """What would go upstream before the next question, oldest first. Raises Problem NOT_FOUND."""
        return await self._within(key, partial(said, user=self._user, session=key))

    async def _within(self, key: UUID, step: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Read something of a session, in one transaction with the look at whose it is."""
        await self._settled(key)
        row = sessions.c

        async def look(connection: AsyncConnection) -> tuple[T, str | None]:
            mark = sa.case((row.turn_expires_at >= self._now(), row.turn)).label("mark")
            held = await _all(sa.select(mark).where(owned(self._user, key)), connection)
            if not held:
                raise unknown_session()
            return await step(connection), held[0]["mark"]

        clock = asyncio.get_running_loop().time
        give_up = clock() + FOREIGN_WRITE_S
        while True:
            found, mark = await self._database.read(look)
            if mark is None or not self._is_foreign(mark) or clock() >= give_up:
                return found
            await asyncio.sleep(POLL_S)


async def _all(statement: sa.Executable, connection: AsyncConnection) -> list[RowMapping]:
    return list((await connection.execute(statement)).mappings())


async def _changed(statement: sa.UpdateBase, connection: AsyncConnection) -> int:
    return (await connection.execute(statement)).rowcount


def _fitting(sizes: list[int]) -> int:
    """How many of these messages make a page."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > MAX_PAGE_CHARACTERS:
            return count
    return len(sizes)


def _only(found: list[RowMapping]) -> Session:
    if not found:
        raise unknown_session()
    return _session(found[0])


def _session(row: RowMapping) -> Session:
    return Session(**{name: row[name] for name in Session.__struct_fields__})


def _message(row: RowMapping) -> StoredMessage:
    return StoredMessage(**{name: row[name] for name in StoredMessage.__struct_fields__})
