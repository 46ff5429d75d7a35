"""Sweeps, their agents, and their trials.

Existing tables do not change: code of earlier revisions keeps working.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0006"
down_revision = "0005"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("project", _NUMBER, sa.ForeignKey("projects.number"), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("sweep", "name")),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("goal", sa.String(16), nullable=False),
        *map(_big, ("drawn", "created_at", "updated_at", "heartbeat_at")),
        sa.UniqueConstraint("project", "sweep"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sweep_agents",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("agent", sa.String(64), nullable=False, unique=True),
        sa.Column("sweep", _NUMBER, sa.ForeignKey("sweeps.number"), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        *map(_big, ("created_at", "heartbeat_at")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sweep_agents_sweep", "sweep_agents", ["sweep"])
    op.create_table(
        "trials",
        sa.Column("sweep", _NUMBER, sa.ForeignKey("sweeps.number"), primary_key=True),
        sa.Column("index", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("agent", _NUMBER, sa.ForeignKey("sweep_agents.number"), nullable=False),
        sa.Column("handed", sa.Integer(), nullable=False),
        _big("lease_until"),
        sa.Column("stop", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("parameters", "point")),
        sa.Column("value", sa.Float(53), nullable=True),
        sa.Column("rungs", sa.Text(), nullable=False),
        _big("ended_at"),
        sa.UniqueConstraint("sweep", "run"),
    )
    op.create_index("trials_by_agent", "trials", ["agent", "state"])
    op.create_index("trials_by_lease", "trials", ["sweep", "state", "lease_until"])
    op.create_index("trials_by_value", "trials", ["sweep", "value"])


def downgrade() -> None:
    for table in ("trials", "sweep_agents", "sweeps"):
        op.drop_table(table)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)
