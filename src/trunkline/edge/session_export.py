"""A whole session as one file, written page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trunkline.store.conversation import MessagePage, Session, StoredMessage
    from trunkline.store.owned_sessions import OwnedSessions

PAGE: Final = 100

_SPEAKERS: Final = {"user": "User", "assistant": "Assistant", "system": "System"}
_ENDINGS: Final = {
    "cut": "*The answer broke here.*",
    "cancelled": "*Stopped here by the reader.*",
    "error": "*No answer came.*",
}


async def pages(mine: OwnedSessions, session: Session, first: MessagePage) -> AsyncGenerator[MessagePage]:
    """All messages, from `first` on."""
    page = first
    yield page
    while page.next_cursor is not None:
        page = await mine.messages(session.id, limit=PAGE, cursor=page.next_cursor)
        yield page


async def as_json(session: Session, found: AsyncGenerator[MessagePage]) -> AsyncGenerator[bytes]:
    """`{"session": ..., "messages": [...]}`, as the other routes write the two."""
    yield b'{"session":' + msgspec.json.encode(session) + b',"messages":['
    separator = b""
    async for page in found:
        for message in page.messages:
            yield separator + msgspec.json.encode(message)
            separator = b","
    yield b"]}"


async def as_markdown(session: Session, found: AsyncGenerator[MessagePage]) -> AsyncGenerator[bytes]:
    """A page for people: the title, then who says what."""
    yield f"# {session.title or 'Untitled'}\n\n{session.created_at:%Y-%m-%d %H:%M} UTC\n".encode()
    async for page in found:
        for message in page.messages:
            yield _paragraph(message).encode()


def _paragraph(message: StoredMessage) -> str:
    speaker = _SPEAKERS.get(message.role, message.role)
    if message.role == "assistant" and message.model:
        speaker += f" ({message.model})"
    parts = [f"\n## {speaker}"]
    if message.content:
        parts.append(message.content)
    if message.status in _ENDINGS:
        parts.append(_ENDINGS[message.status])
    return "\n\n".join(parts) + "\n"
