"""Rows of artifacts: types, collections, versions and files.

The functions read inside the caller's transaction, and add dependent data (aliases, tags) for many rows
at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock_storage.catalog.artifacts.artifact_tables import (
    artifact_aliases,
    artifact_collection_tags,
    artifact_collections,
    artifact_members,
    artifact_tags,
    artifact_types,
    artifact_versions,
)
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.tables import projects

__all__ = [
    "COMMITTED", "DELETED", "PENDING", "Alias", "ArtifactType", "Collection", "File", "Member",
    "Version", "read_collections", "read_members", "read_versions", "select_collections",
    "select_members", "select_versions",
]  # fmt: skip

PENDING = "PENDING"
COMMITTED = "COMMITTED"
DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class ArtifactType:
    """A type of artifacts in a project, such as `model`. Times: µs since 1970."""

    number: int
    name: str
    description: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Collection:
    """A sequence of versions, or a portfolio of linked ones (`kind`)."""

    number: int
    name: str
    kind: str
    type: str
    type_number: int
    description: str
    entity: str
    project: str
    project_number: int
    created_at: int
    updated_at: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of a version in a collection, unique there."""

    collection: int
    alias: str
    version: int


@dataclass(frozen=True, slots=True)
class Version:
    """A version, in the sequence where it was created. `index` is None until it is committed; `run` is the
    number of the run that made it, if known; `manifest` the digest of the blob."""

    number: int
    collection: int
    collection_name: str
    type: str
    entity: str
    project: str
    project_number: int
    index: int | None
    state: str
    digest: str
    digest_algorithm: str
    description: str
    metadata: str | None
    size_bytes: int
    file_count: int
    ttl_s: int | None
    history_step: int | None
    run: int | None
    manifest: str | None
    created_at: int
    updated_at: int
    aliases: tuple[Alias, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A version as a member of a collection, with its index and aliases there."""

    collection: int
    index: int
    created_at: int
    version: Version

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(
            each.alias for each in self.version.aliases if each.collection == self.collection
        )


@dataclass(frozen=True, slots=True)
class File:
    """A file of a version. `digest` is the MD5 (base64) of content that is stored here; `sha256`
    names the blob. For external content, `reference` is its address, and `digest` is any text."""

    path: str
    digest: str
    size_bytes: int
    sha256: str | None = None
    reference: str | None = None


select_collections: Select[Any] = (
    select(
        artifact_collections.c.number,
        artifact_collections.c.name,
        artifact_collections.c.kind,
        artifact_types.c.name.label("type"),
        artifact_types.c.number.label("type_number"),
        artifact_collections.c.description,
        projects.c.entity,
        projects.c.project,
        projects.c.number.label("project_number"),
        artifact_collections.c.created_at,
        artifact_collections.c.updated_at,
    )
    .join(artifact_types, artifact_collections.c.type == artifact_types.c.number)
    .join(projects, artifact_collections.c.project == projects.c.number)
)

_VERSION = tuple(
    artifact_versions.c[name]
    for name in (
        "index", "state", "digest", "digest_algorithm", "description", "metadata", "size_bytes",
        "file_count", "ttl_s", "history_step", "run", "manifest", "created_at", "updated_at",
    )
)  # fmt: skip

select_versions: Select[Any] = (
    select(
        artifact_versions.c.number,
        artifact_versions.c.collection,
        artifact_collections.c.name.label("collection_name"),
        artifact_types.c.name.label("type"),
        projects.c.entity,
        projects.c.project,
        projects.c.number.label("project_number"),
        *_VERSION,
    )
    .join(artifact_collections, artifact_versions.c.collection == artifact_collections.c.number)
    .join(artifact_types, artifact_collections.c.type == artifact_types.c.number)
    .join(projects, artifact_collections.c.project == projects.c.number)
)

select_members = select(
    artifact_members.c.collection,
    artifact_members.c.index,
    artifact_members.c.created_at,
    artifact_members.c.version,
)


async def read_collections(connection: AsyncConnection, query: Select[Any]) -> list[Collection]:
    """The collections that a query over `select_collections` finds."""
    rows = (await connection.execute(query)).all()
    tags = await _tags(connection, artifact_collection_tags, "collection", [row[0] for row in rows])
    return [Collection(**row._mapping, tags=tags.get(row[0], ())) for row in rows]


async def read_versions(connection: AsyncConnection, query: Select[Any]) -> list[Version]:
    """The versions that a query over `select_versions` finds."""
    rows = (await connection.execute(query)).all()
    numbers = [row[0] for row in rows]
    tags = await _tags(connection, artifact_tags, "version", numbers)
    aliases: dict[int, list[Alias]] = {}
    for chunk in chunks(numbers):
        found = select(artifact_aliases).where(artifact_aliases.c.version.in_(chunk))
        for collection, alias, version in await connection.execute(
            found.order_by(artifact_aliases.c.alias)
        ):
            aliases.setdefault(version, []).append(Alias(collection, alias, version))
    return [
        Version(**row._mapping, aliases=tuple(aliases.get(row[0], ())), tags=tags.get(row[0], ()))
        for row in rows
    ]


async def read_members(connection: AsyncConnection, query: Select[Any]) -> list[Member]:
    """The members that a query over `select_members` finds, in its order."""
    rows = (await connection.execute(query)).all()
    versions: dict[int, Version] = {}
    for chunk in chunks([row.version for row in rows]):
        chosen = select_versions.where(artifact_versions.c.number.in_(chunk))
        versions |= {each.number: each for each in await read_versions(connection, chosen)}
    return [Member(row[0], row[1], row[2], versions[row.version]) for row in rows]


async def _tags(
    connection: AsyncConnection, table: Any, owner: str, numbers: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for chunk in chunks(numbers):
        query = select(table.c[owner], table.c.name).where(and_(table.c[owner].in_(chunk)))
        for number, name in await connection.execute(query.order_by(table.c.name)):
            found[number] = (*found.get(number, ()), name)
    return found
