"""Artifacts: collections of files with versions, and the runs that made and used them.

Code of the previous revision does not know these tables and keeps working.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0005"
down_revision = "0004"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "artifact_types", "artifact_collections", "artifact_versions", "artifact_members",
    "artifact_aliases", "artifact_tags", "artifact_collection_tags", "artifact_clients",
    "artifact_manifests", "artifact_contents", "artifact_files", "artifact_edges",
)  # fmt: skip


def _number() -> sa.Column[int]:
    return sa.Column("number", _NUMBER, primary_key=True, autoincrement=True)


def _of(name: str, target: str, kind: Any = _NUMBER, **options: Any) -> sa.Column[Any]:
    key = sa.ForeignKey(target, ondelete="CASCADE")
    return sa.Column(name, kind, key, nullable=False, **options)


def _text(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, **options)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    _collections()
    _versions()
    _members()
    _contents()


def _collections() -> None:
    op.create_table(
        "artifact_types",
        _number(),
        _of("project", "projects.number"),
        _text("name"),
        _text("description"),
        _big("created_at"),
        sa.UniqueConstraint("project", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "artifact_collections",
        _number(),
        _of("project", "projects.number"),
        _of("type", "artifact_types.number"),
        _text("name"),
        sa.Column("kind", sa.String(16), nullable=False),
        _text("description"),
        _big("next_index"),
        _big("created_at"),
        _big("updated_at"),
        sa.UniqueConstraint("project", "name"),
        sqlite_autoincrement=True,
    )
    op.create_index("artifact_collections_by_type", "artifact_collections", ["type"])
    op.create_table(
        "artifact_collection_tags",
        _of("collection", "artifact_collections.number", primary_key=True),
        _text("name", primary_key=True),
    )


def _versions() -> None:
    op.create_table(
        "artifact_versions",
        _number(),
        _of("collection", "artifact_collections.number"),
        sa.Column("index", sa.BigInteger()),
        sa.Column("state", sa.String(16), nullable=False),
        _text("digest"),
        _text("digest_algorithm"),
        _text("description"),
        sa.Column("metadata", sa.Text()),
        _text("wanted"),
        _big("size_bytes"),
        _big("file_count"),
        sa.Column("ttl_s", sa.BigInteger()),
        sa.Column("history_step", sa.BigInteger()),
        sa.Column("run", _NUMBER, sa.ForeignKey("runs.number", ondelete="SET NULL")),
        sa.Column("manifest", sa.String(64)),
        _big("created_at"),
        _big("updated_at"),
        sa.UniqueConstraint("collection", "index"),
        sqlite_autoincrement=True,
    )
    op.create_index("artifact_versions_by_digest", "artifact_versions", ["collection", "digest"])
    op.create_index("artifact_versions_by_run", "artifact_versions", ["run"])
    op.create_index("artifact_versions_by_manifest", "artifact_versions", ["manifest"])
    op.create_table(
        "artifact_tags",
        _of("version", "artifact_versions.number", primary_key=True),
        _text("name", primary_key=True),
    )
    op.create_table(
        "artifact_edges",
        _of("run", "runs.number", primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        _of("version", "artifact_versions.number", primary_key=True),
        _big("created_at"),
    )
    op.create_index("artifact_edges_by_version", "artifact_edges", ["version"])


def _members() -> None:
    op.create_table(
        "artifact_members",
        _of("collection", "artifact_collections.number", primary_key=True),
        _of("version", "artifact_versions.number", primary_key=True),
        _big("index"),
        _big("created_at"),
        sa.UniqueConstraint("collection", "index"),
    )
    op.create_index("artifact_members_by_version", "artifact_members", ["version"])
    op.create_table(
        "artifact_aliases",
        _of("collection", "artifact_collections.number", primary_key=True),
        _text("alias", primary_key=True),
        _of("version", "artifact_versions.number"),
    )
    op.create_index("artifact_aliases_by_version", "artifact_aliases", ["version"])
    owners = ("collection", "version")
    op.create_table(
        "artifact_clients",
        _text("id", primary_key=True),
        *(
            sa.Column(name, _NUMBER, sa.ForeignKey(f"artifact_{name}s.number", ondelete="CASCADE"))
            for name in owners
        ),
    )
    for name in owners:
        op.create_index(f"artifact_clients_by_{name}", "artifact_clients", [name])


def _contents() -> None:
    op.create_table(
        "artifact_manifests",
        _number(),
        _of("version", "artifact_versions.number"),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("base", sa.BigInteger()),
        _text("digest"),
        sa.Column("sha256", sa.String(64)),
        _big("created_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("artifact_manifests_by_version", "artifact_manifests", ["version"])
    op.create_index("artifact_manifests_by_digest", "artifact_manifests", ["sha256"])
    op.create_table(
        "artifact_contents",
        _of("entity", "entities.name", sa.Text(), primary_key=True),
        sa.Column("md5", sa.String(24), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        _big("size_bytes"),
        _big("used_at"),
    )
    op.create_index("artifact_contents_by_digest", "artifact_contents", ["sha256"])
    op.create_table(
        "artifact_files",
        _of("version", "artifact_versions.number", primary_key=True),
        _text("path", primary_key=True),
        _text("digest"),
        _big("size_bytes"),
        sa.Column("sha256", sa.String(64)),
        sa.Column("reference", sa.Text()),
    )
    op.create_index("artifact_files_by_digest", "artifact_files", ["sha256"])


def downgrade() -> None:
    for name in reversed(_TABLES):
        op.drop_table(name)
