"""Runs remember each writer's last position, and who set each field last, instead of clocks; lanes, how
their writers took up the run.

Code of revision 0009 leaves `heard` unchanged and goes on with `versions`. `heard` begins with what
`versions` says when code of this revision first changes a run, so nothing is migrated here. Lanes that
it adds say nothing of their start, as those from before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0010"
down_revision = "0009"

_EDITED = sa.text("edited")
# Found out for each of them when code of this revision first reads it.
_MAY_BE_EDITED = (
    "UPDATE runs SET edited = TRUE WHERE state IN ('running', 'preempting') AND summary <> '{}'"
)


def upgrade() -> None:
    op.add_column("runs", sa.Column("heard", sa.Text(), nullable=False, server_default="{}"))
    edited: sa.Column[bool] = sa.Column(
        "edited", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("runs", edited)
    op.execute(_MAY_BE_EDITED)
    op.create_index(
        "runs_edited", "runs", ["number"], sqlite_where=_EDITED, postgresql_where=_EDITED
    )
    op.add_column(
        "lanes", sa.Column("kind", sa.Text(), nullable=False, server_default=sa.text("''"))
    )
    for name in ("step", "began"):
        op.add_column("lanes", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    outlived: sa.Column[bool] = sa.Column(
        "outlived", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("lanes", outlived)
    for name in ("posted_line", "origin"):
        op.add_column(
            "line_streams", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        )
    beside: sa.Column[bool] = sa.Column(
        "beside", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("line_streams", beside)
    op.create_index("lanes_by_start", "lanes", ["run", "rank", "began"])


def downgrade() -> None:
    for name in ("beside", "origin", "posted_line"):
        op.drop_column("line_streams", name)
    op.drop_index("lanes_by_start", "lanes")
    for name in ("outlived", "began", "step", "kind"):
        op.drop_column("lanes", name)
    op.drop_index("runs_edited", "runs")
    op.drop_column("runs", "edited")
    op.drop_column("runs", "heard")
