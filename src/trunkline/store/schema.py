"""The tables of chat history, as statements are written against them; `migrations/` makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

CHAT_REVISION: Final = "chat_0001"
"""The revision that this code is written for; the newest of the branch `chat`."""

CHAT_VERSION_TABLE: Final = "alembic_version_chat"

MAX_INT32: Final = 2**31 - 1
MAX_INT64: Final = 2**63 - 1


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment, in UTC. SQLite keeps no zone, so it is written as UTC and read back as such."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the name is SQLAlchemy's
        """The moment, as the driver takes it."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the same
        """The moment, with its zone."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA: Final = sa.MetaData()

sessions: Final = sa.Table(
    "chat_sessions",
    METADATA,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("user_id", sa.Text(), nullable=False),
    sa.Column("title", sa.Text()),
    sa.Column("model", sa.Text()),
    sa.Column("created_at", UtcTime(), nullable=False),
    sa.Column("updated_at", UtcTime(), nullable=False),
    sa.Column("last_message_at", UtcTime()),
    sa.Column("message_count", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("is_archived", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("metadata", sa.JSON(none_as_null=True)),
    # The turn that has the session, and until when it has it unless it says that it still lives.
    sa.Column("turn", sa.Text()),
    sa.Column("turn_expires_at", UtcTime()),
    # Set: a tombstone. The session is gone for its owner, and what is still to be written for it is dropped.
    sa.Column("deleted_at", UtcTime()),
)

messages: Final = sa.Table(
    "chat_messages",
    METADATA,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("session_id", sa.Uuid(), sa.ForeignKey("chat_sessions.id", ondelete="CASCADE"), nullable=False),
    sa.Column("user_id", sa.Text(), nullable=False),
    sa.Column("position", sa.Integer(), nullable=False),
    sa.Column("parent_id", sa.Uuid()),
    sa.Column("role", sa.Text(), nullable=False),
    sa.Column("content", sa.Text(), nullable=False),
    sa.Column("parts", sa.JSON(none_as_null=True)),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("model", sa.Text()),
    sa.Column("tokens_used", sa.BigInteger()),
    sa.Column("cost_nano", sa.BigInteger()),
    sa.Column("temperature", sa.Double[float]()),
    sa.Column("max_tokens", sa.BigInteger()),
    sa.Column("request_id", sa.Text()),
    sa.Column("created_at", UtcTime(), nullable=False),
    sa.Column("metadata", sa.JSON(none_as_null=True)),
    sa.UniqueConstraint("session_id", "position", name="chat_messages_in_order"),
)

last_active: Final = sa.func.coalesce(sessions.c.last_message_at, sessions.c.created_at)
"""What sessions are listed by. Renaming one does not move it."""
