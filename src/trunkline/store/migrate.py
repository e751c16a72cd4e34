"""Migrations: run by `trunkline migrate`, checked when the router starts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from trunkline.core.problem import Kind, Problem
from trunkline.store.db import Database
from trunkline.store.schema import CHAT_REVISION, CHAT_VERSION_TABLE

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from trunkline.core.caller import Secret

MIGRATION_S: Final = 600.0
LOCK: Final = 0x7472756E6B6C6E65
"""The advisory lock of a migration, until its transaction ends. Any number will do that nobody else takes."""


class NotMigrated(Problem):
    """The database lacks its tables, or has those of another release."""

    def __init__(self, what: str) -> None:
        super().__init__(Kind.UNAVAILABLE, f"{what} Run `trunkline migrate`.")


async def check_migrated(database: Database) -> None:
    """Return if the database is at the revision of this release. Raises NotMigrated, or Unavailable."""
    label, file = database.address.label, database.address.file
    if file is not None and not await asyncio.to_thread(file.exists):
        raise NotMigrated(f"Chat history has no database yet: {label} is not there.")
    revision = await database.read(_revision)
    if revision is None:
        raise NotMigrated(f"Chat history has no tables yet in {label}.")
    if revision != CHAT_REVISION:
        raise NotMigrated(
            f"The tables of chat history in {label} are at revision {revision[:50]!r};"
            f" this release needs {CHAT_REVISION!r}."
        )


async def migrate(url: Secret) -> list[str]:
    """Bring the tables of chat history to this release's revision; what was done, in sentences.

    One transaction: all of it, or nothing. Of several at once one does it, and the others find it done; but not for
    two databases at once in one process, of which alembic keeps one state. Raises Problem where it is not possible.
    """
    database = Database(url, may_create=True, command_s=MIGRATION_S)
    try:
        file = database.address.file
        if file is not None:
            await asyncio.to_thread(_make_room, file)
        return await database.write(_upgrade, timeout_s=MIGRATION_S)
    finally:
        await database.aclose()


async def _revision(connection: AsyncConnection) -> str | None:
    if not await connection.run_sync(_has_table, CHAT_VERSION_TABLE):
        return None
    versions = sa.table(CHAT_VERSION_TABLE, sa.column("version_num", sa.Text()))
    return (await connection.execute(sa.select(versions.c.version_num))).scalar_one_or_none()


def _has_table(connection: Connection, name: str) -> bool:
    return sa.inspect(connection).has_table(name)


def _make_room(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(Kind.UNAVAILABLE, f"The directory {file.parent} cannot be made: {error.strerror}.") from error


async def _upgrade(connection: AsyncConnection) -> list[str]:
    if connection.dialect.name == "postgresql":
        # Held by the transaction, not by the session: poolers hand sessions around.
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    before = await _revision(connection)
    if before is None and await connection.run_sync(_has_table, "chat_sessions"):
        raise Problem(
            Kind.UNAVAILABLE,
            "There is a table chat_sessions already that Trunkline did not make. Rename it, or use another database.",
        )
    done: list[str] = []
    await connection.run_sync(_run_alembic, done)
    return done or [f"Nothing to do: the tables of chat history are at revision {before}."]


def _run_alembic(connection: Connection, done: list[str]) -> None:
    # Read only when it is needed: serving requests does not pay for it.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    def applied(*, step: Any, **_: Any) -> None:
        done.append(f"{step.up_revision.doc} (Revision {step.up_revision_id}.)")

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=CHAT_VERSION_TABLE, on_version_apply=applied)
    command.upgrade(config, "chat@head")
