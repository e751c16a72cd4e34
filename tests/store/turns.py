"""A turn in a line, as the gateway makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.core.record import Transcript

if TYPE_CHECKING:
    from trunkline.core.reply import Usage
    from trunkline.store.history import History, Turn

USER = "ada"


async def begin(
    history: History, message: str = "Hello", *, session: str | None = None, user: str = USER, request: str = "r-1"
) -> Turn:
    """Begin a turn."""
    return await history.begin(
        user=user,
        session_id=session,
        message=message,
        request_id=request,
        model="asked/model",
        temperature=0.7,
        max_tokens=100,
    )


def finish(
    history: History,
    turn: Turn,
    text: str = "Hi!",
    *,
    status: str = "complete",
    usage: Usage | None = None,
    user: str = USER,
) -> None:
    """End it with this answer."""
    history.finish(
        Transcript(
            record_id="r-1",
            session_id=turn.session_id,
            user=user,
            text=text,
            status=status,
            model="served-model",
            usage=usage,
        )
    )


async def say(
    history: History,
    message: str,
    answer: str,
    *,
    session: str | None = None,
    user: str = USER,
    status: str = "complete",
) -> str:
    """A whole turn; its session."""
    turn = await begin(history, message, session=session, user=user)
    finish(history, turn, answer, status=status, user=user)
    return turn.session_id


def texts(turn: Turn) -> list[str]:
    """What was said before it."""
    return [message.text for message in turn.earlier]
