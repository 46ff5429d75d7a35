"""Offsets of clients that count their own lines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    def count(name: str) -> sa.Column[int]:
        return sa.Column(name, sa.BigInteger(), nullable=False)

    def tail(name: str) -> sa.Column[str]:
        return sa.Column(name, sa.Text(), nullable=False)

    op.create_table(
        "line_streams",
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
                  sa.ForeignKey("runs.number"), primary_key=True),
        sa.Column("client", sa.Text(), primary_key=True),
        sa.Column("generation", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        count("history"),
        count("events"),
        count("console"),
        count("posted_at"),
        count("last_seq"),
        tail("tail"),
        tail("events_tail"),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("line_streams")
