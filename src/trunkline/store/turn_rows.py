"""The statements of one turn: take the session, store the question, store the answer, or take it all back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa

from trunkline.core.call import Message, Role, Text
from trunkline.core.record import Transcript
from trunkline.store.conversation import storable, title_from
from trunkline.store.schema import MAX_INT64, messages, sessions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

MAX_CONTEXT_MESSAGES: Final = 2_000
MAX_CONTEXT_CHARACTERS: Final = 8_000_000
"""What is read of a long session, from its end: more than any model's context holds."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says in this turn. `mark` is how the turn names itself on the session's row."""

    id: UUID
    session: UUID
    user: str
    mark: str
    text: str
    request_id: str
    model: str | None
    temperature: float | None
    max_tokens: int | None
    at: datetime


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was streamed in answer to a question."""

    id: UUID
    question: Question
    transcript: Transcript
    at: datetime


class Held(msgspec.Struct, frozen=True):
    """Another turn has the session, under this mark."""

    mark: str


def owned(user: str, session: UUID) -> sa.ColumnElement[bool]:
    """The one place that says which row a user may touch: their own, and not one that they deleted."""
    return sa.and_(sessions.c.id == session, sessions.c.user_id == user, sessions.c.deleted_at.is_(None))


async def open_session(connection: AsyncConnection, question: Question, until: datetime) -> tuple[Message, ...]:
    """Make a session for this question, and store it. There is nothing earlier."""
    await connection.execute(
        sessions.insert().values(
            id=question.session,
            user_id=question.user,
            title=title_from(question.text),
            model=question.model,
            created_at=question.at,
            updated_at=question.at,
            last_message_at=question.at,
            message_count=1,
            is_archived=False,
            turn=question.mark,
            turn_expires_at=until,
        )
    )
    await _add_question(connection, question)
    return ()


async def take_session(
    connection: AsyncConnection, question: Question, until: datetime, stale_mark: str | None
) -> tuple[Message, ...] | Held | None:
    """Take the session for this turn, store the question, and return what was said before.

    Held where another turn has it (one marked `stale_mark` does not count); None where the user has no such session.
    """
    row = sessions.c
    is_free = sa.or_(row.turn.is_(None), row.turn_expires_at < question.at, row.turn == stale_mark)
    taken = await connection.execute(
        sessions.update()
        .where(owned(question.user, question.session), is_free)
        .values(
            turn=question.mark,
            turn_expires_at=until,
            title=sa.func.coalesce(row.title, title_from(question.text)),
            model=sa.func.coalesce(row.model, question.model),
            message_count=row.message_count + 1,
            last_message_at=question.at,
            updated_at=question.at,
        )
    )
    if not taken.rowcount:
        held = (await connection.execute(sa.select(row.turn).where(owned(question.user, question.session)))).first()
        return None if held is None else Held(held.turn or "")
    earlier = await said(connection, question.user, question.session)
    await _add_question(connection, question)
    asked = Message(Role.USER, (Text(storable(question.text)),))
    return earlier[:-1] if earlier[-1:] == (asked,) else earlier


async def said(connection: AsyncConnection, user: str, session: UUID) -> tuple[Message, ...]:
    """What was said in a session, oldest first: every message that has text, as far back as a model could use.

    A question that was tried again because no answer came is said once.
    """
    row = messages.c
    newest = (
        sa.select(
            row.position,
            row.role,
            row.content,
            sa.func.sum(sa.func.length(row.content)).over(order_by=row.position.desc()).label("characters"),
        )
        .where(row.session_id == session, row.user_id == user, row.content != "")
        .order_by(row.position.desc())
        .limit(MAX_CONTEXT_MESSAGES)
        .subquery()
    )
    found = await connection.execute(
        sa.select(newest.c.role, newest.c.content)
        .where(newest.c.characters <= MAX_CONTEXT_CHARACTERS)
        .order_by(newest.c.position)
    )
    earlier: list[Message] = []
    for role, content in found:
        message = Message(Role(role), (Text(content),))
        if message.role is not Role.USER or earlier[-1:] != [message]:
            earlier.append(message)
    return tuple(earlier)


async def write_answer(connection: AsyncConnection, answer: Answer) -> None:
    """Store what was streamed, and give the session free.

    Where the session was deleted meanwhile, nothing is stored. Doing it again changes nothing.
    """
    question, transcript, usage = answer.question, answer.transcript, answer.transcript.usage
    row = sessions.c
    # The session's row comes first in every transaction: whoever changes it waits here for the others.
    kept = await connection.execute(
        sessions.update()
        .where(owned(question.user, question.session))
        .values(
            message_count=row.message_count + 1,
            last_message_at=answer.at,
            updated_at=answer.at,
            **_free(question.mark),
        )
    )
    if not kept.rowcount:
        return
    if (await connection.execute(sa.select(messages.c.id).where(messages.c.id == answer.id))).first():
        # An earlier attempt was committed, although nobody heard of it.
        await connection.rollback()
        return
    tokens = None
    if usage is not None and usage.input_tokens is not None and usage.output_tokens is not None:
        tokens = usage.input_tokens + usage.output_tokens
    await _add(
        connection,
        answer.id,
        question,
        text=transcript.text,
        role=Role.ASSISTANT,
        parent_id=question.id,
        status=transcript.status,
        model=transcript.model,
        tokens_used=_count(tokens),
        cost_nano=_count(usage.cost_nano if usage else None),
        created_at=answer.at,
    )


async def take_back(connection: AsyncConnection, question: Question, *, is_opening: bool) -> None:
    """Undo a turn that never began for its client: the question, the mark, and the session that it opened."""
    row = sessions.c
    its_own = sa.and_(row.id == question.session, row.user_id == question.user)
    await connection.execute(sa.select(row.id).where(its_own).with_for_update())
    removed = await connection.execute(messages.delete().where(messages.c.id == question.id))
    if is_opening:
        await connection.execute(sessions.delete().where(its_own, row.turn == question.mark))
        return
    if removed.rowcount:
        latest = sa.select(sa.func.max(messages.c.created_at)).where(messages.c.session_id == question.session)
        await connection.execute(
            sessions.update()
            .where(its_own)
            .values(
                message_count=row.message_count - 1,
                last_message_at=latest.scalar_subquery(),
                **_free(question.mark),
            )
        )


async def renew(connection: AsyncConnection, live: Mapping[UUID, str], until: datetime) -> None:
    """Say of these sessions' turns that they still live."""
    row = sessions.c
    await connection.execute(
        sessions.update().where(row.id.in_(live.keys()), row.turn.in_(live.values())).values(turn_expires_at=until)
    )


async def _add_question(connection: AsyncConnection, question: Question) -> None:
    row = messages.c
    latest = (
        sa.select(row.id)
        .where(row.session_id == question.session)
        .order_by(row.position.desc())
        .limit(1)
        .scalar_subquery()
    )
    await _add(
        connection,
        question.id,
        question,
        text=question.text,
        role=Role.USER,
        parent_id=latest,
        status="complete",
        model=question.model,
        temperature=question.temperature,
        max_tokens=_count(question.max_tokens),
        created_at=question.at,
    )


async def _add(
    connection: AsyncConnection, key: UUID, question: Question, *, text: str, role: Role, **values: object
) -> None:
    """Add a message at the end of its session, whose row is locked."""
    content = storable(text)
    row = messages.c
    last = sa.select(sa.func.coalesce(sa.func.max(row.position), 0)).where(row.session_id == question.session)
    await connection.execute(
        messages.insert().values(
            id=key,
            session_id=question.session,
            user_id=question.user,
            position=last.scalar_subquery() + 1,
            role=role.value,
            content=content,
            parts=[{"type": "text", "text": content}] if content else [],
            request_id=question.request_id,
            **values,
        )
    )


def _free(mark: str) -> dict[str, sa.ColumnElement[Any]]:
    """Values that take this mark off a session's row, and leave another turn's where it is."""
    row = sessions.c
    is_ours = row.turn == mark
    return {
        "turn": sa.case((is_ours, sa.null()), else_=row.turn),
        "turn_expires_at": sa.case((is_ours, sa.null()), else_=row.turn_expires_at),
    }


def _count(number: int | None) -> int | None:
    """A number as a column can hold it; None, unknown, for one that it cannot."""
    return number if number is not None and 0 <= number <= MAX_INT64 else None
