"""Answers that are kept for `Idempotency-Key`, and the claims of those under way: a SQLite file of all workers."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from trunkline.core.caller import Secret
from trunkline.core.problem import Kind, Problem, Source, invalid
from trunkline.core.saved_answer import SavedAnswer
from trunkline.store.db import Database, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

LEASE_S: Final = 45.0
"""How long a claim stands whose process is gone. Those that live say so three times as often."""

MAX_ANSWERS: Final = 100_000
MAX_BYTES: Final = 1024 * 1024 * 1024
LEASES_AT_ONCE: Final = 500

OVERWRITES: Final = "PRAGMA secure_delete = ON"
"""What is deleted is content."""

METADATA: Final = sa.MetaData()

answers: Final = sa.Table(
    "answers",
    METADATA,
    # Digests, both: of the owner with the key, and of the request.
    sa.Column("name", sa.LargeBinary(), primary_key=True),
    sa.Column("request", sa.LargeBinary(), nullable=False),
    # Set while the request is under way; unique, so that a process finds its own.
    sa.Column("claim", sa.Text(), unique=True),
    # Until when the claim stands, or the answer is kept: seconds of the wall's clock.
    sa.Column("expires_at", sa.Double[float](), nullable=False),
    sa.Column("size", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("status", sa.Integer()),
    sa.Column("headers", sa.LargeBinary()),
    sa.Column("body", sa.LargeBinary()),
    sa.Index("answers_by_age", "expires_at", "size"),
)

_HEADERS: Final = msgspec.json.Decoder(tuple[tuple[str, str], ...])


class SavedAnswers:
    """The file. Owns its connections; `aclose` closes them.

    `keep_s` is how long an answer is kept. `clock` gives the wall time in seconds; the workers share a machine's.
    """

    def __init__(
        self,
        file: Path,
        *,
        keep_s: float,
        clock: Callable[[], float] = time.time,
        lease_s: float = LEASE_S,
        max_answers: int = MAX_ANSWERS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._database = Database(Secret(f"sqlite:///{file}"))
        self._keep_s = keep_s
        self._clock = clock
        self._lease_s = lease_s
        self._max_answers = max_answers
        self._max_bytes = max_bytes

    async def prepare(self) -> None:
        """Make the table, where there is none. Raises Unavailable."""

        async def make(connection: AsyncConnection) -> None:
            await connection.run_sync(METADATA.create_all)

        await self._database.write(make)

    async def claim(self, name: bytes, request: bytes, claim: str) -> SavedAnswer | None:
        """The answer that was saved under this name; None: there is none, and whoever asks has the name now.

        Raises Problem CONFLICT while another has it, UNPROCESSABLE where it is another request's, Unavailable.
        """

        async def take(connection: AsyncConnection) -> SavedAnswer | None:
            now = self._clock()
            found = (await connection.execute(sa.select(answers).where(answers.c.name == name))).first()
            if found is not None and found.expires_at > now:
                return _answer_of(found, request)
            if found is not None:
                await connection.exec_driver_sql(OVERWRITES)
                await connection.execute(answers.delete().where(answers.c.name == name))
            await connection.execute(
                answers.insert().values(name=name, request=request, claim=claim, expires_at=now + self._lease_s)
            )
            return None

        return await self._database.write(take)

    async def renew(self, claims: Collection[str]) -> None:
        """Say that these claims live. Raises Unavailable."""
        names = list(claims)

        async def prolong(connection: AsyncConnection) -> None:
            expires_at = self._clock() + self._lease_s
            for begin in range(0, len(names), LEASES_AT_ONCE):
                some = names[begin : begin + LEASES_AT_ONCE]
                await connection.execute(
                    answers.update().where(answers.c.claim.in_(some)).values(expires_at=expires_at)
                )

        await self._database.write(prolong)

    async def save(self, claim: str, answer: SavedAnswer) -> bool:
        """Keep this answer in place of the claim. Whether it still stood. Raises Unavailable."""

        async def keep(connection: AsyncConnection) -> bool:
            saved = await connection.execute(
                answers.update()
                .where(answers.c.claim == claim)
                .values(
                    claim=None,
                    expires_at=self._clock() + self._keep_s,
                    size=len(answer.body),
                    status=answer.status,
                    headers=msgspec.json.encode(answer.headers),
                    body=answer.body,
                )
            )
            return bool(saved.rowcount)

        return await self._database.write(keep)

    async def release(self, claim: str) -> None:
        """Give the name free. Raises Unavailable."""

        async def give_free(connection: AsyncConnection) -> None:
            await connection.execute(answers.delete().where(answers.c.claim == claim))

        await self._database.write(give_free)

    async def prune(self) -> int:
        """Forget what has expired, and the oldest beyond the bounds; how many of these. Raises Unavailable."""

        async def forget(connection: AsyncConnection) -> int:
            await connection.exec_driver_sql(OVERWRITES)
            row = answers.c
            await connection.execute(answers.delete().where(row.expires_at <= self._clock()))
            held = (
                await connection.execute(sa.select(sa.func.count(), sa.func.sum(row.size)).select_from(answers))
            ).one()
            if held[0] <= self._max_answers and (held[1] or 0) <= self._max_bytes:
                return 0
            newest = row.expires_at.desc()
            ranked = (
                sa.select(
                    row.name,
                    sa.func.sum(row.size).over(order_by=(newest, row.name)).label("bytes"),
                    sa.func.row_number().over(order_by=(newest, row.name)).label("number"),
                )
                .where(row.claim.is_(None))
                .subquery()
            )
            beyond = sa.select(ranked.c.name).where(
                sa.or_(ranked.c.bytes > self._max_bytes, ranked.c.number > self._max_answers)
            )
            return (await connection.execute(answers.delete().where(row.name.in_(beyond)))).rowcount

        return await self._database.write(forget)

    async def aclose(self) -> None:
        """Close the file."""
        await self._database.aclose()


def make_file(file: Path) -> None:
    """Make this file, for nobody else to read, where it is missing. Raises Unavailable."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise Unavailable(f"{type(error).__name__} {error.errno}", has_begun=False) from error


def _answer_of(found: sa.Row[tuple[object, ...]], request: bytes) -> SavedAnswer:
    if found.request != request:
        raise invalid(
            "This Idempotency-Key was used for another request. Use a new key, or send the same method, path and body.",
            kind=Kind.UNPROCESSABLE,
            param="idempotency-key",
        )
    if found.status is None:
        raise Problem(
            Kind.CONFLICT,
            "A request with this Idempotency-Key is under way. Try again in a moment.",
            source=Source.CALLER,
            retry_after_s=1,
            param="idempotency-key",
        )
    return SavedAnswer(found.status, _HEADERS.decode(found.headers), found.body)
