"""A session and its messages as values: what the tables hold and the routes show, and the rules for their texts."""

from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from trunkline.core.problem import Kind, Problem, invalid

TITLE_CHARACTERS: Final = 80
"""How much of its first message becomes a session's title."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


class Session(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A conversation. `lastMessageAt` is null as long as it is empty."""

    id: UUID
    title: str | None
    model: str | None
    created_at: datetime
    updated_at: datetime
    last_message_at: datetime | None
    message_count: int
    is_archived: bool
    metadata: dict[str, Any] | None


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message. `content` is the text of its `parts`; `costNano` is in nano-dollars; null means unknown.

    `status`: complete; cut, where the answer broke; cancelled, where the client left; error, where none came.
    """

    id: UUID
    session_id: UUID
    parent_id: UUID | None
    role: str
    content: str
    parts: list[dict[str, Any]] | None
    status: str
    model: str | None
    tokens_used: int | None
    cost_nano: int | None
    temperature: float | None
    max_tokens: int | None
    request_id: str | None
    created_at: datetime
    metadata: dict[str, Any] | None


class SessionPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Some sessions, and where the next ones begin: null after the last."""

    sessions: list[Session]
    next_cursor: str | None


class MessagePage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Some messages, and where the next ones begin: null after the last."""

    messages: list[StoredMessage]
    next_cursor: str | None


def unknown_session() -> Problem:
    """Told alike for a session that is not there and for somebody else's."""
    return invalid(
        "There is no session with this `sessionId`. GET /api/chat/sessions lists yours.",
        param="sessionId",
        kind=Kind.NOT_FOUND,
    )


def session_key(text: str) -> UUID:
    """The id that this text is, in its one canonical form. Raises Problem NOT_FOUND: no other text names a session."""
    try:
        key = UUID(text)
    except ValueError:
        raise unknown_session() from None
    if str(key) != text.lower():
        raise unknown_session()
    return key


def storable(text: str) -> str:
    """The text as both databases can hold it: what PostgreSQL cannot (NUL, lone surrogates) becomes U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def title_from(message: str) -> str | None:
    """The beginning of a message as a title: one line, cut between words where that leaves enough."""
    line = " ".join(storable(message[: 10 * TITLE_CHARACTERS]).split())
    if len(line) > TITLE_CHARACTERS:
        cut = line[: TITLE_CHARACTERS - 1]
        space = cut.rfind(" ")
        line = (cut[:space] if space > TITLE_CHARACTERS // 2 else cut) + "…"
    return line or None


class SessionCursor(msgspec.Struct, frozen=True):
    """The place in a list after this session: when it was last active, and its id."""

    at: datetime
    id: UUID

    def write(self) -> str:
        """The cursor as a client carries it: opaque to it."""
        return _to_text(struct.pack(">q16s", (self.at - EPOCH) // MICROSECOND, self.id.bytes))

    @classmethod
    def read(cls, text: str) -> SessionCursor:
        """What `write` wrote. Raises Problem INVALID_REQUEST for anything else."""
        try:
            microseconds, key = struct.unpack(">q16s", _to_bytes(text))
            return cls(EPOCH + timedelta(microseconds=microseconds), UUID(bytes=key))
        except (ValueError, struct.error, OverflowError):
            raise _bad_cursor() from None


def write_position(position: int) -> str:
    """The place in a session after this message, as a client carries it."""
    return _to_text(struct.pack(">I", position))


def read_position(text: str) -> int:
    """What `write_position` wrote. Raises Problem INVALID_REQUEST for anything else."""
    try:
        (position,) = struct.unpack(">i", _to_bytes(text))
    except (ValueError, struct.error):
        raise _bad_cursor() from None
    if position < 0:
        raise _bad_cursor()
    return position


def _bad_cursor() -> Problem:
    return invalid("`cursor` must be a `nextCursor` that this route gave.", param="cursor")


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _to_bytes(text: str) -> bytes:
    """Raises ValueError."""
    if len(text) > 64 or not text.isascii():
        raise ValueError
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _to_text(data) != text:
        raise ValueError
    return data
