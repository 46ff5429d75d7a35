"""Runs without signs of life are marked crashed, with a flag by which the next one revives them.

Running runs are found by a separate index, which is small and does not change with each sign of life.
Code of revision 0002 leaves `silent` unchanged: a run stays marked until code of this revision
receives a sign of life.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0003"
down_revision = "0002"

_GOES_ON = sa.text("state IN ('running', 'preempting')")


def upgrade() -> None:
    silent: sa.Column[bool] = sa.Column(
        "silent", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("runs", silent)
    op.create_index(
        "runs_going_on", "runs", ["number"], sqlite_where=_GOES_ON, postgresql_where=_GOES_ON
    )


def downgrade() -> None:
    op.drop_index("runs_going_on", "runs")
    op.drop_column("runs", "silent")
