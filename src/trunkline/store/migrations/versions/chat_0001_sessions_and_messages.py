"""Created the tables chat_sessions and chat_messages."""

import sqlalchemy as sa
from alembic import op

revision = "chat_0001"
down_revision = None
branch_labels = ("chat",)
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "chat_sessions",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("last_message_at", moment),
        sa.Column("message_count", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("is_archived", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("metadata", sa.JSON()),
        sa.Column("turn", sa.Text()),
        sa.Column("turn_expires_at", moment),
        sa.Column("deleted_at", moment),
    )
    op.create_index(
        "chat_sessions_by_owner", "chat_sessions", ["user_id", sa.text("coalesce(last_message_at, created_at)"), "id"]
    )
    op.create_table(
        "chat_messages",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("session_id", sa.Uuid(), sa.ForeignKey("chat_sessions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Uuid()),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("parts", sa.JSON()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("tokens_used", sa.BigInteger()),
        sa.Column("cost_nano", sa.BigInteger()),
        sa.Column("temperature", sa.Double[float]()),
        sa.Column("max_tokens", sa.BigInteger()),
        sa.Column("request_id", sa.Text()),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("metadata", sa.JSON()),
        sa.UniqueConstraint("session_id", "position", name="chat_messages_in_order"),
    )
