"""Every change of a run gets a number that counts up in its project, so that readers can ask for the
changes after a number. Projects record when they changed.

Runs created by code of revision 0001 keep tick 0; readers read those every time. That code updates
neither ticks nor `projects.updated_at`, so upgrade readers (the web) last.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0002"
down_revision = "0001"

_COLUMNS = (("projects", "tick"), ("projects", "updated_at"), ("runs", "tick"))


def upgrade() -> None:
    for table, column in _COLUMNS:
        added = sa.Column(column, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column(table, added)
    op.execute("UPDATE runs SET tick = 1")
    op.execute(
        "UPDATE projects SET tick = 1, updated_at = coalesce("
        "(SELECT max(runs.updated_at) FROM runs WHERE runs.project = projects.number), created_at)"
    )
    op.create_index("runs_by_tick", "runs", ["project", "tick"])
    op.create_index("runs_by_age", "runs", ["project", "created_at", "number"])


def downgrade() -> None:
    op.drop_index("runs_by_age", "runs")
    op.drop_index("runs_by_tick", "runs")
    for table, column in _COLUMNS:
        op.drop_column(table, column)
