"""Runs remember what was heard of each writer, and who set each field last, instead of clocks.

Code of revision 0009 leaves `heard` unchanged and goes on with `versions`. `heard` begins with what
`versions` says when code of this revision first changes a run, so nothing is migrated here.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("runs", sa.Column("heard", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("runs", "heard")
