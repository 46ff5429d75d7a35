"""Entities, projects, runs, keys, lanes and API keys: the tables of the first catalogs.

Those were created without Alembic, and count as being at this revision.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    meta = op.create_table(
        "meta",
        sa.Column("name", sa.String(64), primary_key=True),
        _text("value"),
    )
    # Code from before Alembic checks this, and refuses versions above 1.
    op.bulk_insert(meta, [{"name": "schema_version", "value": "1"}])
    op.create_table("entities", sa.Column("name", sa.Text(), primary_key=True), _time("created_at"))
    op.create_table(
        "projects",
        _number(),
        sa.Column("entity", sa.Text(), sa.ForeignKey("entities.name"), nullable=False),
        _text("project"),
        _time("created_at"),
        sa.UniqueConstraint("entity", "project"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "runs",
        _number(),
        sa.Column("project", _NUMBER, sa.ForeignKey("projects.number"), nullable=False),
        _text("run"),
        *map(_text, ("name", "state", "group", "job_type", "tags", "notes")),
        *map(_text, ("config", "summary", "info", "versions")),
        _time("created_at"),
        _time("updated_at"),
        sa.UniqueConstraint("project", "run"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "keys",
        _number(),
        sa.Column("project", _NUMBER, sa.ForeignKey("projects.number"), nullable=False),
        _text("name"),
        sa.UniqueConstraint("project", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "lanes",
        sa.Column("run", _NUMBER, sa.ForeignKey("runs.number"), primary_key=True),
        sa.Column("lane", sa.Integer(), primary_key=True, autoincrement=False),
        _text("writer"),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        _time("started"),
        sa.UniqueConstraint("run", "writer"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        *map(_text, ("entity", "scopes")),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        _text("label"),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        _time("created_at"),
    )


def downgrade() -> None:
    for table in ("api_keys", "lanes", "keys", "runs", "projects", "entities", "meta"):
        op.drop_table(table)


def _number() -> sa.Column[Any]:
    return sa.Column("number", _NUMBER, primary_key=True, autoincrement=True)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str) -> sa.Column[Any]:
    """Microseconds since 1970 UTC."""
    return sa.Column(name, sa.BigInteger(), nullable=False)
