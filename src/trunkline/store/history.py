"""Chat history: what was said is read, and the question stored, before the walk; the answer is written behind."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec
import structlog

from trunkline.core.call import Message
from trunkline.core.problem import Kind, Problem, invalid
from trunkline.store.conversation import session_key, storable, unknown_session
from trunkline.store.db import Unavailable
from trunkline.store.owned_sessions import OwnedSessions
from trunkline.store.turn_rows import (
    Answer,
    Held,
    Question,
    open_session,
    renew,
    take_back,
    take_session,
    write_answer,
)
from trunkline.store.write_behind import Write, WriteBehind

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from trunkline.core.record import Transcript
    from trunkline.store.db import Database

BEGIN_S: Final = 2.0
"""How long a turn may take to begin: its context read, its question stored."""

SETTLE_S: Final = 2.0
"""How long reading a session waits for what is still to be written for it."""

END_OF_TURN_S: Final = 0.5
"""A client that has the end of an answer may send its next question before the answer is settled here."""

LEASE_S: Final = 45.0
"""How long a session stays taken by a turn whose process is gone. Live turns say so three times as often."""

POLL_S: Final = 0.1
LONGEST_ABANDONED_S: Final = 10.0
LEASES_AT_ONCE: Final = 500

MAX_PENDING: Final = 1_000
MAX_PENDING_BYTES: Final = 128 * 1024 * 1024
GIVE_UP_S: Final = 300.0


class Turn(msgspec.Struct, frozen=True):
    """A turn that has begun: its session, and what was said in it before, oldest first."""

    session_id: str
    earlier: tuple[Message, ...]


class _Live:
    """A turn of this process, from its begin until its answer is stored or lost."""

    __slots__ = ("is_deleted", "question", "settled", "streamed")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.streamed = asyncio.Event()
        """The answer has ended; it is being written."""
        self.settled = asyncio.Event()
        """The answer is stored, or never will be."""
        self.is_deleted = False
        """The session was deleted meanwhile."""


class History:
    """Sessions and their turns. Owns the turns that live in this process, and the writes behind them.

    A session has one turn at a time. Within the process that is known here; across processes a mark in the session's
    row says so, with a lease that this process renews. `clock` gives the wall time in seconds; processes that share a
    database are expected to agree on it within half of `lease_s`.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        begin_s: float = BEGIN_S,
        lease_s: float = LEASE_S,
        give_up_s: float = GIVE_UP_S,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._database = database
        self._clock = clock
        self._begin_s = begin_s
        self._lease_s = lease_s
        self._log = structlog.get_logger("trunkline.history")
        self._name = uuid4().hex
        """Begins the marks of this process: one that is not in `_marks` was left by a turn that is over."""
        self._marks: set[str] = set()
        self._live: dict[str, _Live] = {}
        """By session. Each was found to be its user's own."""
        self._answers = WriteBehind(
            database,
            # A far PostgreSQL answers slowly but many at once; SQLite takes one writer at a time.
            writers=4,
            max_pending=max_pending,
            max_bytes=MAX_PENDING_BYTES,
            give_up_s=give_up_s,
        )
        self._reversals = WriteBehind(
            database, writers=1, max_pending=100, max_bytes=MAX_PENDING_BYTES, give_up_s=lease_s
        )
        self._keeper: asyncio.Task[None] | None = None
        self.lost = 0
        """Answers that were streamed and could not be stored."""

    @property
    def pending(self) -> int:
        """Answers that are still to be stored."""
        return self._answers.pending

    async def start(self) -> None:
        """Begin to write behind, and to renew the leases of live turns."""
        self._answers.start()
        self._reversals.start()
        self._keeper = asyncio.create_task(self._keep())

    async def aclose(self, timeout_s: float) -> None:
        """Write what is pending for as long as this; what is left is lost, counted and logged."""
        await asyncio.gather(self._answers.aclose(timeout_s), self._reversals.aclose(timeout_s))
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
            self._keeper = None

    def owned_by(self, user: str) -> OwnedSessions:
        """The sessions of this user."""
        return OwnedSessions(
            self._database,
            user,
            now=self._now,
            settled=self._settled_here,
            is_foreign=lambda mark: not mark.startswith(self._name),
            deleted=self._deleted_here,
        )

    async def begin(
        self,
        *,
        user: str,
        session_id: str | None,
        message: str,
        request_id: str,
        model: str | None,
        temperature: float | None,
        max_tokens: int | None,
    ) -> Turn:
        """Take the session, read what was said in it, and store the user's message; without a session, make one.

        All of that within `begin_s`. Raises Problem NOT_FOUND for a session that is not this user's, CONFLICT while
        another turn has it, UNAVAILABLE where the database does not answer: there is no answer without its context.
        """
        deadline = asyncio.get_running_loop().time() + self._begin_s
        session = uuid4() if session_id is None else session_key(session_id)
        question = Question(
            id=uuid4(),
            session=session,
            user=user,
            mark=f"{self._name}/{uuid4().hex}",
            text=message,
            request_id=request_id,
            model=None if model is None else storable(model),
            temperature=temperature,
            max_tokens=max_tokens,
            at=self._now(),
        )
        is_opening = session_id is None
        self._marks.add(question.mark)
        try:
            earlier = await self._take(question, deadline, is_opening=is_opening)
        except Unavailable as error:
            self._reverse(question, is_opening=is_opening, is_needed=error.has_begun)
            raise _no_context(error.detail) from error
        except asyncio.CancelledError:
            self._reverse(question, is_opening=is_opening, is_needed=True)
            raise
        except Problem:
            self._marks.discard(question.mark)
            raise
        self._live[str(session)] = _Live(question)
        return Turn(str(session), earlier)

    def finish(self, transcript: Transcript) -> None:
        """Have this answer stored; for each turn that has begun, once. Does not block and does not raise."""
        live = self._live.get(transcript.session_id)
        if live is None or live.streamed.is_set():
            self._count_loss(transcript, "no turn of this session is live")
            return
        live.streamed.set()
        if live.is_deleted:
            self._end(live)
            return
        answer = Answer(id=uuid4(), question=live.question, transcript=transcript, at=self._now())

        def settled(lost: str | None) -> None:
            self._end(live)
            if lost is not None:
                self._count_loss(transcript, lost)

        size = 4 * len(transcript.text) + 1024
        if not self._answers.put(Write(partial(write_answer, answer=answer), size, settled)):
            settled("too many writes are pending")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    async def _take(self, question: Question, deadline: float, *, is_opening: bool) -> tuple[Message, ...]:
        clock = asyncio.get_running_loop().time
        until = question.at + timedelta(seconds=self._lease_s)
        if is_opening:
            return await self._database.write(
                partial(open_session, question=question, until=until), timeout_s=deadline - clock()
            )
        stale_mark: str | None = None
        while True:
            await self._ended_here(question, deadline)
            taken = await self._database.write(
                partial(take_session, question=question, until=until, stale_mark=stale_mark),
                timeout_s=max(0.0, deadline - clock()),
            )
            match taken:
                case None:
                    raise unknown_session()
                case Held(mark=mark) if mark.startswith(self._name) and mark not in self._marks:
                    stale_mark = mark  # its turn is over; only its write was lost
                case Held():
                    if clock() >= deadline - self._begin_s / 4:
                        raise _busy()  # what is left is for the database to answer in
                    await asyncio.sleep(POLL_S)
                case tuple():
                    return taken

    async def _ended_here(self, question: Question, deadline: float) -> None:
        """Return when no turn of this process has the session. Raises Problem like `begin`."""
        live = self._live.get(str(question.session))
        if live is None:
            return
        if live.question.user != question.user or live.is_deleted:
            raise unknown_session()
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(min(deadline, clock() + END_OF_TURN_S)):
                await live.streamed.wait()
        except TimeoutError:
            raise _busy() from None
        try:
            async with asyncio.timeout_at(deadline):
                await live.settled.wait()
        except TimeoutError:
            raise _no_context("the answer before is not stored yet") from None

    async def _settled_here(self, session: UUID) -> None:
        live = self._live.get(str(session))
        if live is not None and live.streamed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await live.settled.wait()

    def _deleted_here(self, session: UUID) -> None:
        live = self._live.get(str(session))
        if live is not None:
            live.is_deleted = True

    def _reverse(self, question: Question, *, is_opening: bool, is_needed: bool) -> None:
        """Take back what a turn that did not begin may have written, or may yet write."""
        undo = partial(take_back, question=question, is_opening=is_opening)

        def settled(_: str | None) -> None:
            self._marks.discard(question.mark)

        # What it undoes may still be on its way to the database.
        first = partial(self._database.abandoned, LONGEST_ABANDONED_S)
        if not (is_needed and self._reversals.put(Write(undo, 1024, settled, first))):
            settled(None)

    def _end(self, live: _Live) -> None:
        live.settled.set()
        self._marks.discard(live.question.mark)
        session = str(live.question.session)
        if self._live.get(session) is live:
            del self._live[session]

    def _count_loss(self, transcript: Transcript, reason: str) -> None:
        self.lost += 1
        self._log.error(
            "an answer was not stored",
            session=transcript.session_id,
            id=transcript.record_id,
            characters=len(transcript.text),
            reason=reason,
        )

    async def _keep(self) -> None:
        """Renew the leases of live turns. A turn shorter than a third of a lease costs nothing here."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            marks = {each.question.session: each.question.mark for each in self._live.values()}
            until = self._now() + timedelta(seconds=self._lease_s)
            for start in range(0, len(marks), LEASES_AT_ONCE):
                some = dict(list(marks.items())[start : start + LEASES_AT_ONCE])
                try:
                    await self._database.write(partial(renew, live=some, until=until))
                except Problem as problem:
                    self._log.warning("live turns could not be renewed", turns=len(some), reason=problem.detail)


def _busy() -> Problem:
    return invalid(
        "This session is still being answered. Wait for the end of that answer, or use another session.",
        param="sessionId",
        kind=Kind.CONFLICT,
    )


def _no_context(detail: str | None) -> Problem:
    return Problem(
        Kind.UNAVAILABLE,
        "Chat history did not answer in time, and without it this session's context is unknown. Try again in a moment.",
        retry_after_s=5,
        detail=detail,
    )
