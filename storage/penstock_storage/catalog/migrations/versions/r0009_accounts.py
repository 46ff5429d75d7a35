"""Sessions of the page are stored, so that a logout ends them; API keys expire and record their last use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0009"
down_revision = "0008"

_TIMES = ("expires_at", "last_used_at")


def upgrade() -> None:
    for name in _TIMES:
        op.add_column(
            "api_keys", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("sessions_by_key", "sessions", ["key"])


def downgrade() -> None:
    op.drop_table("sessions")
    for name in _TIMES:
        op.drop_column("api_keys", name)
