"""Migrations: from nothing to this release's tables, once, whoever runs them and how often."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

import trunkline.store.migrate
from store.databases import Place, opened
from trunkline.core.caller import Secret
from trunkline.core.problem import Problem
from trunkline.store.migrate import NotMigrated, check_migrated, migrate
from trunkline.store.schema import CHAT_REVISION, METADATA

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection


async def test_a_migration_says_what_it_did_and_again_that_there_is_nothing_to_do(nowhere: Place) -> None:
    first = await migrate(Secret(nowhere.url))
    again = await migrate(Secret(nowhere.url))
    assert first == ["Created the tables chat_sessions and chat_messages. (Revision chat_0001.)"]
    assert again == ["Nothing to do: the tables of chat history are at revision chat_0001."]
    async with opened(nowhere.url) as database:
        await check_migrated(database)


async def test_of_two_migrations_at_once_one_does_it(nowhere: Place) -> None:
    both = await asyncio.gather(migrate(Secret(nowhere.url)), migrate(Secret(nowhere.url)))
    assert sorted(sentences[0][:7] for sentences in both) == ["Created", "Nothing"]


async def test_of_two_processes_that_migrate_at_once_one_does_it(nowhere: Place) -> None:
    program = (
        "import asyncio, sys; from trunkline.core.caller import Secret; from trunkline.store.migrate import migrate;"
        " print(asyncio.run(migrate(Secret(sys.argv[1])))[0][:7])"
    )
    running = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, nowhere.url, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    said = [(await each.communicate())[0].decode().strip() for each in running]
    assert sorted(said) == ["Created", "Nothing"]


async def test_a_database_without_tables_is_not_used_and_the_command_is_named(nowhere: Place) -> None:
    async with opened(nowhere.url) as database:
        with pytest.raises(NotMigrated, match="trunkline migrate"):
            await check_migrated(database)


async def test_a_database_of_another_release_is_not_used_and_the_command_is_named(nowhere: Place) -> None:
    await migrate(Secret(nowhere.url))
    async with opened(nowhere.url) as database:

        async def age(connection: AsyncConnection) -> None:
            await connection.execute(sa.text("UPDATE alembic_version_chat SET version_num = 'chat_0000'"))

        await database.write(age)
        with pytest.raises(NotMigrated, match=r"chat_0000.*chat_0001.*trunkline migrate"):
            await check_migrated(database)


async def test_tables_of_that_name_that_somebody_else_made_are_left_alone(nowhere: Place) -> None:
    await migrate(Secret(nowhere.url))
    async with opened(nowhere.url) as database:

        async def forget(connection: AsyncConnection) -> None:
            await connection.execute(sa.text("DROP TABLE alembic_version_chat"))

        await database.write(forget)
    with pytest.raises(Problem, match="did not make"):
        await migrate(Secret(nowhere.url))
    assert await nowhere.count("chat_sessions") == 0


async def test_the_tables_are_those_that_the_statements_use(nowhere: Place) -> None:
    await migrate(Secret(nowhere.url))

    def look(connection: Connection) -> dict[str, dict[str, bool]]:
        inspector = sa.inspect(connection)
        return {
            name: {column["name"]: bool(column["nullable"]) for column in inspector.get_columns(name)}
            for name in METADATA.tables
        }

    async with opened(nowhere.url) as database:
        found = await database.read(lambda connection: connection.run_sync(look))
    assert found == {
        name: {column.name: bool(column.nullable) for column in table.columns}
        for name, table in METADATA.tables.items()
    }


async def test_sqlite_in_a_directory_that_is_not_there_gets_one(tmp_path: Path) -> None:
    await migrate(Secret(f"sqlite:///{tmp_path}/new/deep/chat.sqlite3"))
    assert (tmp_path / "new/deep/chat.sqlite3").is_file()


async def test_a_database_that_does_not_answer_is_told_and_not_a_traceback(unused_port: int) -> None:
    with pytest.raises(Problem):
        await migrate(Secret(f"postgresql://u:secret@127.0.0.1:{unused_port}/d"))


def test_this_release_is_written_for_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(trunkline.store.migrate.__file__).parent / "migrations"))
    head = ScriptDirectory.from_config(config).get_revision("chat@head")
    assert head is not None
    assert head.revision == CHAT_REVISION


def test_serving_does_not_load_alembic() -> None:
    program = (
        "import sys, trunkline.store.history, trunkline.store.migrate;"
        " sys.exit(' '.join({'alembic', 'mako', 'asyncpg', 'aiosqlite'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
