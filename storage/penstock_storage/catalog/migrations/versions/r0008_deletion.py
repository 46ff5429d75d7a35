"""Deleted runs leave a tombstone, deleted projects are marked, and runs can move between projects.

Code of the previous revision does not know tombstones: it would treat batches of a deleted run as those
of a new one. So upgrade everything before the first run is deleted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0008"
down_revision = "0007"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _column(name: str, default: str = "0") -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default=default)


def upgrade() -> None:
    op.add_column("projects", _column("deleted_at"))
    op.create_table(
        "tombstones",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("project", _NUMBER, sa.ForeignKey("projects.number"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("writers", sa.Text(), nullable=False),
        sa.Column("digests", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        _column("swept_at"),
        sa.Column("settled", sa.Boolean(), nullable=False, server_default=sa.false()),
        _column("moved_to"),
        _column("tick"),
        sa.UniqueConstraint("run"),
        sqlite_autoincrement=True,
    )
    op.create_index("tombstones_by_name", "tombstones", ["project", "name"])
    op.create_index("tombstones_by_tick", "tombstones", ["project", "tick"])
    op.create_index("tombstones_unsettled", "tombstones", ["settled"])
    op.create_table(
        "moves",
        sa.Column("run", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("project", _NUMBER, sa.ForeignKey("projects.number"), nullable=False),
        sa.Column("copy", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("copy"),
    )


def downgrade() -> None:
    op.drop_table("moves")
    op.drop_table("tombstones")
    op.drop_column("projects", "deleted_at")
