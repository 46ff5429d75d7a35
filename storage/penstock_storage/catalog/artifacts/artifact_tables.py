"""The tables of artifacts: named, versioned collections of files.

A collection is a sequence, whose versions are created in it, or a portfolio, which links versions of
sequences. In both, a version is a member with an index that is assigned once. Contents of files are
identified by MD5, as declared by clients, within an entity: no entity learns what another one stores.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from penstock_storage.catalog.tables import Json, metadata

__all__ = [
    "PORTFOLIO", "SEQUENCE", "artifact_aliases", "artifact_clients", "artifact_collection_tags",
    "artifact_collections", "artifact_contents", "artifact_edges", "artifact_files",
    "artifact_manifests", "artifact_members", "artifact_tags", "artifact_types", "artifact_versions",
]  # fmt: skip

SEQUENCE = "sequence"
PORTFOLIO = "portfolio"

_Number = BigInteger().with_variant(Integer(), "sqlite")


def _number() -> Column[int]:
    return Column("number", _Number, primary_key=True, autoincrement=True)


def _of(name: str, target: str, **options: Any) -> Column[Any]:
    """Delete dependent rows together with their row."""
    return Column(name, ForeignKey(target, ondelete="CASCADE"), nullable=False, **options)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, default="")


def _big(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0)


artifact_types = Table(
    "artifact_types",
    metadata,
    _number(),
    _of("project", "projects.number"),
    Column("name", Text, nullable=False),
    _text("description"),
    _big("created_at"),
    UniqueConstraint("project", "name"),
    sqlite_autoincrement=True,
)

# `next_index`: the index of the next member.
artifact_collections = Table(
    "artifact_collections",
    metadata,
    _number(),
    _of("project", "projects.number"),
    _of("type", "artifact_types.number"),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    _text("description"),
    _big("next_index"),
    _big("created_at"),
    _big("updated_at"),
    UniqueConstraint("project", "name"),
    Index("artifact_collections_by_type", "type"),
    sqlite_autoincrement=True,
)

# `index` is null until the version is committed; `wanted`: the aliases that it then gets; `run`: the
# run that made it. `ttl_s`: null if it has none of its own.
artifact_versions = Table(
    "artifact_versions",
    metadata,
    _number(),
    _of("collection", "artifact_collections.number"),
    Column("index", BigInteger),
    Column("state", String(16), nullable=False),
    _text("digest"),
    _text("digest_algorithm"),
    _text("description"),
    Column("metadata", Text),
    Column("wanted", Json, nullable=False, default=list),
    _big("size_bytes"),
    _big("file_count"),
    Column("ttl_s", BigInteger),
    Column("history_step", BigInteger),
    Column("run", ForeignKey("runs.number", ondelete="SET NULL")),
    Column("manifest", String(64)),
    _big("created_at"),
    _big("updated_at"),
    UniqueConstraint("collection", "index"),
    Index("artifact_versions_by_digest", "collection", "digest"),
    Index("artifact_versions_by_run", "run"),
    Index("artifact_versions_by_manifest", "manifest"),
    sqlite_autoincrement=True,
)

artifact_members = Table(
    "artifact_members",
    metadata,
    _of("collection", "artifact_collections.number", primary_key=True),
    _of("version", "artifact_versions.number", primary_key=True),
    Column("index", BigInteger, nullable=False),
    _big("created_at"),
    UniqueConstraint("collection", "index"),
    Index("artifact_members_by_version", "version"),
)

artifact_aliases = Table(
    "artifact_aliases",
    metadata,
    _of("collection", "artifact_collections.number", primary_key=True),
    Column("alias", Text, primary_key=True),
    _of("version", "artifact_versions.number"),
    Index("artifact_aliases_by_version", "version"),
)

artifact_tags = Table(
    "artifact_tags",
    metadata,
    _of("version", "artifact_versions.number", primary_key=True),
    Column("name", Text, primary_key=True),
)

artifact_collection_tags = Table(
    "artifact_collection_tags",
    metadata,
    _of("collection", "artifact_collections.number", primary_key=True),
    Column("name", Text, primary_key=True),
)

# A client's name for a version, or a collection, before the server replied.
artifact_clients = Table(
    "artifact_clients",
    metadata,
    Column("id", Text, primary_key=True),
    Column("collection", ForeignKey("artifact_collections.number", ondelete="CASCADE")),
    Column("version", ForeignKey("artifact_versions.number", ondelete="CASCADE")),
    Index("artifact_clients_by_collection", "collection"),
    Index("artifact_clients_by_version", "version"),
)

# `sha256` is null until it was uploaded. `kind`: FULL, or what it is to be merged with: INCREMENTAL
# (`base`, a version's number), PATCH (the version's other patches).
artifact_manifests = Table(
    "artifact_manifests",
    metadata,
    _number(),
    _of("version", "artifact_versions.number"),
    Column("kind", String(16), nullable=False),
    Column("base", BigInteger),
    _text("digest"),
    Column("sha256", String(64)),
    _big("created_at"),
    Index("artifact_manifests_by_version", "version"),
    Index("artifact_manifests_by_digest", "sha256"),
    sqlite_autoincrement=True,
)

# `used_at`: when it was last uploaded, or a client was told that it need not be.
artifact_contents = Table(
    "artifact_contents",
    metadata,
    _of("entity", "entities.name", primary_key=True),
    Column("md5", String(24), primary_key=True),
    Column("sha256", String(64), nullable=False),
    _big("size_bytes"),
    _big("used_at"),
    Index("artifact_contents_by_digest", "sha256"),
)

# `sha256` is null, and `reference` is not, for external content.
artifact_files = Table(
    "artifact_files",
    metadata,
    _of("version", "artifact_versions.number", primary_key=True),
    Column("path", Text, primary_key=True),
    _text("digest"),
    _big("size_bytes"),
    Column("sha256", String(64)),
    Column("reference", Text),
    Index("artifact_files_by_digest", "sha256"),
)

artifact_edges = Table(
    "artifact_edges",
    metadata,
    _of("run", "runs.number", primary_key=True),
    Column("kind", String(8), primary_key=True),
    _of("version", "artifact_versions.number", primary_key=True),
    _big("created_at"),
    Index("artifact_edges_by_version", "version"),
)
