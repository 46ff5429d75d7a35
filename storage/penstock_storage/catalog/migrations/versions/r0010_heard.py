"""Runs remember what was heard of each writer, and who set each field last, instead of clocks; lanes, how
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


def upgrade() -> None:
    op.add_column("runs", sa.Column("heard", sa.Text(), nullable=False, server_default="{}"))
    op.add_column(
        "lanes", sa.Column("kind", sa.Text(), nullable=False, server_default=sa.text("''"))
    )
    for name in ("step", "began"):
        op.add_column("lanes", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    outlived: sa.Column[bool] = sa.Column(
        "outlived", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("lanes", outlived)
    op.add_column(
        "line_streams", sa.Column("origin", sa.BigInteger(), nullable=False, server_default="0")
    )
    beside: sa.Column[bool] = sa.Column(
        "beside", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("line_streams", beside)
    op.create_index("lanes_by_start", "lanes", ["run", "rank", "began"])


def downgrade() -> None:
    for name in ("beside", "origin"):
        op.drop_column("line_streams", name)
    op.drop_index("lanes_by_start", "lanes")
    for name in ("outlived", "began", "step", "kind"):
        op.drop_column("lanes", name)
    op.drop_column("runs", "heard")
