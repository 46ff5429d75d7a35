"""Files of artifacts: the contents that an entity has uploaded, and the files that its versions list.

Contents are identified by their MD5, as declared by clients, within an entity: equal content is
uploaded once (dedupe), and an entity learns nothing of what others store. Content that no version
lists is kept for a while, because the upload and the commit that lists it are separate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from penstock_storage.catalog.artifacts.artifact_rows import File
from penstock_storage.catalog.artifacts.artifact_tables import (
    artifact_collections,
    artifact_contents,
    artifact_files,
    artifact_manifests,
    artifact_versions,
)
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.tables import projects

__all__ = ["FULL", "INCREMENTAL", "PATCH", "ArtifactFileCatalog", "KnownContent", "Manifest"]

FULL = "FULL"
INCREMENTAL = "INCREMENTAL"
PATCH = "PATCH"
"""A manifest lists all files of a version, or the additions to an earlier version, or a part."""


@dataclass(frozen=True, slots=True)
class KnownContent:
    """The blob for an entity's MD5. `sha256`: the blob's digest."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A list of files. `base`: the version that it adds to; `sha256`: the blob's digest."""

    kind: str
    base: int | None
    sha256: str | None


class ArtifactFileCatalog:
    """Contents, manifests and file lists."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- contents

    async def keep(self, entity: str, md5: str, content: KnownContent, now: int) -> None:
        """An entity has uploaded this content. `md5`: base64."""
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        row = {
            "entity": entity, "md5": md5, "sha256": content.sha256,
            "size_bytes": content.size_bytes, "used_at": now,
        }  # fmt: skip
        statement = insert(artifact_contents).values(row)
        # The first content of an MD5 stays: an MD5 collision cannot change it.
        statement = statement.on_conflict_do_update(
            index_elements=["entity", "md5"], set_={"used_at": statement.excluded.used_at}
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)

    async def known(
        self, entity: str, md5s: Sequence[str], *, used_at: int | None = None
    ) -> dict[str, KnownContent]:
        """The contents among these that an entity has; `used_at`: they are about to be used again."""
        table = artifact_contents
        wanted = sorted(set(md5s))
        found: dict[str, KnownContent] = {}
        if used_at is not None:  # first: contents marked now are not removed before they are read
            async with self._database.writing() as connection:
                for chunk in chunks(wanted):
                    mine = (table.c.entity == entity) & table.c.md5.in_(chunk)
                    await connection.execute(update(table).where(mine).values(used_at=used_at))
        async with self._database.reading() as connection:
            for chunk in chunks(wanted):
                query = select(table.c.md5, table.c.sha256, table.c.size_bytes).where(
                    table.c.entity == entity, table.c.md5.in_(chunk)
                )
                for md5, sha256, size_bytes in await connection.execute(query):
                    found[md5] = KnownContent(sha256, size_bytes)
        return found

    async def forget_unused(self, before: int, limit: int = 10_000) -> list[str]:
        """Remove contents that no version lists and that were not used since `before`, µs since 1970.

        Returns their SHA-256 digests, at most `limit`: blobs to delete unless something else uses
        them.
        """
        table = artifact_contents
        listed = (
            select(artifact_files.c.version)
            .join(artifact_versions, artifact_files.c.version == artifact_versions.c.number)
            .join(
                artifact_collections,
                artifact_versions.c.collection == artifact_collections.c.number,
            )
            .join(projects, artifact_collections.c.project == projects.c.number)
            .where(artifact_files.c.sha256 == table.c.sha256, projects.c.entity == table.c.entity)
        )
        async with self._database.writing() as connection:
            query = select(table.c.entity, table.c.md5, table.c.sha256).where(
                table.c.used_at < before, ~exists(listed)
            )
            rows = (await connection.execute(query.limit(limit))).all()
            for entity, md5, _ in rows:
                mine = and_(table.c.entity == entity, table.c.md5 == md5)
                await connection.execute(delete(table).where(mine))
        return [row.sha256 for row in rows]

    async def digests_in_use(self, digests: Sequence[str]) -> set[str]:
        """The SHA-256 digests among these that any artifact's content, file or manifest uses."""
        columns = (
            artifact_contents.c.sha256,
            artifact_files.c.sha256,
            artifact_versions.c.manifest,
            artifact_manifests.c.sha256,
        )
        found: set[str] = set()
        async with self._database.reading() as connection:
            for chunk in chunks(sorted(set(digests))):
                for column in columns:
                    query = select(column).where(column.in_(chunk)).distinct()
                    found.update(await connection.scalars(query))
        return found

    async def is_used(self, digest: str) -> bool:
        """Whether any artifact uses this blob."""
        return bool(await self.digests_in_use([digest]))

    # -- manifests

    async def add_manifest(
        self, version: int, digest: str, now: int, *, kind: str = FULL, base: int | None = None
    ) -> int:
        """A new manifest of a version, which counts from now on; returns its number.

        `base`: for an `INCREMENTAL` one, the version that it adds to.
        """
        row = {
            "version": version, "kind": kind, "base": base, "digest": digest, "created_at": now,
        }  # fmt: skip
        async with self._database.writing() as connection:
            statement = artifact_manifests.insert().values(row)
            made = await connection.execute(statement.returning(artifact_manifests.c.number))
            return int(made.scalar_one())

    async def manifest(self, number: int) -> tuple[int, str, str | None] | None:
        """A manifest's version, its digest as the client declared it, and its blob, if uploaded."""
        table = artifact_manifests
        query = select(table.c.version, table.c.digest, table.c.sha256)
        async with self._database.reading() as connection:
            row = (await connection.execute(query.where(table.c.number == number))).first()
        return None if row is None else (row[0], row[1], row[2])

    async def redeclare_manifest(self, number: int, digest: str) -> None:
        """Change the declared digest of a manifest, which must then be uploaded again."""
        await self._set_manifest(number, digest=digest, sha256=None)

    async def fill_manifest(self, number: int, sha256: str) -> None:
        """Record that a manifest was uploaded."""
        await self._set_manifest(number, sha256=sha256)

    async def _set_manifest(self, number: int, **values: str | None) -> None:
        table = artifact_manifests
        async with self._database.writing() as connection:
            await connection.execute(update(table).where(table.c.number == number).values(**values))

    async def manifests(self, version: int) -> list[Manifest]:
        """The manifests of a version that count: the last one, or all its uploaded patches, in the order of
        announcement. Empty if they were not uploaded."""
        table = artifact_manifests
        query = select(table.c.kind, table.c.base, table.c.sha256)
        query = query.where(table.c.version == version).order_by(table.c.number)
        async with self._database.reading() as connection:
            found = [Manifest(*row) for row in await connection.execute(query)]
        if found and found[-1].kind != PATCH:
            found = found[-1:]
        return [each for each in found if each.sha256 is not None]

    # -- files of versions

    async def page(
        self,
        version: int,
        *,
        names: Sequence[str] | None = None,
        after: str | None = None,
        limit: int = 1_000,
    ) -> list[File]:
        """At most `limit` files ordered by path, after the path `after`."""
        query = _files.where(artifact_files.c.version == version)
        if after is not None:
            query = query.where(artifact_files.c.path > after)
        query = query.order_by(artifact_files.c.path).limit(limit)
        found: list[File] = []
        async with self._database.reading() as connection:
            for chunk in [None] if names is None else chunks(sorted(set(names))):
                chosen = query if chunk is None else query.where(_named(chunk))
                found += (File(*row) for row in await connection.execute(chosen))
        return found[:limit]

    async def count(self, version: int, *, names: Sequence[str] | None = None) -> int:
        """The number of files of a version, or of those with these names."""
        query = select(func.count()).select_from(artifact_files)
        query = query.where(artifact_files.c.version == version)
        total = 0
        async with self._database.reading() as connection:
            for chunk in [None] if names is None else chunks(sorted(set(names))):
                chosen = query if chunk is None else query.where(_named(chunk))
                total += await connection.scalar(chosen) or 0
        return total


_files = select(*(artifact_files.c[name] for name in File.__slots__))


def _named(names: Sequence[str]) -> ColumnElement[bool]:
    return artifact_files.c.path.in_(names)
