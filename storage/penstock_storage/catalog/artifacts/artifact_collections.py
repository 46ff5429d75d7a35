"""Collections of artifacts and their types: find, create, change, remove.

Changing the members of a collection locks its row first, so that each index is assigned once and an
alias moves atomically.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Update, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.catalog.artifacts.artifact_rows import (
    ArtifactType,
    Collection,
    read_collections,
    select_collections,
)
from penstock_storage.catalog.artifacts.artifact_tables import (
    PORTFOLIO,
    SEQUENCE,
    artifact_aliases,
    artifact_collection_tags,
    artifact_collections,
    artifact_types,
)
from penstock_storage.catalog.database import Database

__all__ = [
    "ArtifactCollectionCatalog", "LockedCollection", "check_collection_name", "ensure_collection",
    "ensure_type", "lock_collection",
]  # fmt: skip

_MAX_NAME_CHARS = 1_000


class ArtifactCollectionCatalog:
    """The collections and types of all projects, by the project's number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def types(self, project: int) -> list[ArtifactType]:
        """The types of a project, ordered by name."""
        query = _types.where(artifact_types.c.project == project).order_by(artifact_types.c.name)
        async with self._database.reading() as connection:
            return [ArtifactType(*row) for row in await connection.execute(query)]

    async def get(self, number: int) -> Collection | None:
        """The collection with this number."""
        return await self._one(number=number)

    async def find(self, project: int, name: str) -> Collection | None:
        """The collection with this name."""
        return await self._one(project=project, name=name)

    async def page(
        self,
        project: int,
        *,
        type: str | None = None,
        after: int | None = None,
        limit: int = 1_000,
    ) -> list[Collection]:
        """At most `limit` collections, after the number `after`, in the order of creation."""
        query = select_collections.where(artifact_collections.c.project == project)
        if type is not None:
            query = query.where(artifact_types.c.name == type)
        if after is not None:
            query = query.where(artifact_collections.c.number > after)
        async with self._database.reading() as connection:
            ordered = query.order_by(artifact_collections.c.number).limit(limit)
            return await read_collections(connection, ordered)

    async def count(self, project: int, *, type: str | None = None) -> int:
        """The number of collections."""
        query = select(func.count()).select_from(artifact_collections)
        query = query.where(artifact_collections.c.project == project)
        if type is not None:
            query = query.join(
                artifact_types, artifact_collections.c.type == artifact_types.c.number
            ).where(artifact_types.c.name == type)
        async with self._database.reading() as connection:
            return await connection.scalar(query) or 0

    async def aliases(self, number: int) -> list[str]:
        """All aliases in a collection."""
        query = select(artifact_aliases.c.alias).where(artifact_aliases.c.collection == number)
        async with self._database.reading() as connection:
            return list(await connection.scalars(query.order_by(artifact_aliases.c.alias)))

    async def change(
        self, number: int, now: int, *, name: str | None = None, description: str | None = None
    ) -> None:
        """Rename or describe a collection. Raises `Rejected` (409) for a name that is taken."""
        async with self._database.writing() as connection:
            row = await lock_collection(connection, number, now)
            if name is not None and name != row.name:
                check_collection_name(name)
                taken = await _find(connection, row.project, name)
                if taken is not None:
                    raise Rejected(
                        f"there is an artifact collection {name!r} already",
                        code=ErrorCode.NAME_TAKEN,
                    )
                await connection.execute(_this(number).values(name=name))
            if description is not None:
                await connection.execute(_this(number).values(description=description))

    async def set_type(self, number: int, type: str, now: int) -> None:
        """Move a collection to another type, created if missing."""
        async with self._database.writing() as connection:
            row = await lock_collection(connection, number, now)
            chosen = await ensure_type(self._database, connection, row.project, type, now)
            await connection.execute(_this(number).values(type=chosen))

    async def tag(self, number: int, add: Sequence[str], remove: Sequence[str], now: int) -> None:
        """Add and remove tags of a collection."""
        async with self._database.writing() as connection:
            await lock_collection(connection, number, now)
            table = artifact_collection_tags
            if add:
                rows = [{"collection": number, "name": name} for name in dict.fromkeys(add)]
                await connection.execute(self._database.insert_missing(table), rows)
            if remove:
                gone = delete(table).where(table.c.collection == number, table.c.name.in_(remove))
                await connection.execute(gone)

    async def delete(self, number: int) -> None:
        """Remove a collection; a sequence with its versions, wherever they are linked."""
        async with self._database.writing() as connection:
            gone = delete(artifact_collections).where(artifact_collections.c.number == number)
            await connection.execute(gone)

    async def _one(self, **wanted: object) -> Collection | None:
        query = select_collections.where(
            *(artifact_collections.c[name] == value for name, value in wanted.items())
        )
        async with self._database.reading() as connection:
            found = await read_collections(connection, query)
        return found[0] if found else None


_types = select(
    artifact_types.c.number,
    artifact_types.c.name,
    artifact_types.c.description,
    artifact_types.c.created_at,
)


class LockedCollection:
    """A collection that the caller's transaction has locked."""

    def __init__(self, number: int, project: int, name: str, next_index: int, kind: str) -> None:
        self.number = number
        self.project = project
        self.name = name
        self.next_index = next_index
        self.kind = kind

    async def take_index(self, connection: AsyncConnection) -> int:
        """The next member's index."""
        index, self.next_index = self.next_index, self.next_index + 1
        await connection.execute(_this(self.number).values(next_index=self.next_index))
        return index


async def lock_collection(connection: AsyncConnection, number: int, now: int) -> LockedCollection:
    """Lock the members of this collection until the transaction ends.

    Raises `Rejected` (404) if the collection does not exist.
    """
    await connection.execute(_this(number).values(updated_at=now))
    table = artifact_collections
    query = select(table.c.project, table.c.name, table.c.next_index, table.c.kind)
    row = (await connection.execute(query.where(table.c.number == number))).first()
    if row is None:
        raise Rejected("this artifact collection is gone", code=ErrorCode.NOT_FOUND)
    return LockedCollection(number, *row)


async def ensure_type(
    database: Database, connection: AsyncConnection, project: int, name: str, now: int
) -> int:
    """The number of a type, created if missing."""
    check_collection_name(name)
    row = {"project": project, "name": name, "description": "", "created_at": now}
    await connection.execute(database.insert_missing(artifact_types), [row])
    query = select(artifact_types.c.number).where(
        artifact_types.c.project == project, artifact_types.c.name == name
    )
    return int((await connection.execute(query)).scalar_one())


async def ensure_collection(
    database: Database,
    connection: AsyncConnection,
    project: int,
    name: str,
    *,
    type: str,
    kind: str,
    now: int,
) -> Collection:
    """The collection with this name, created if missing.

    Raises `Rejected` (409) if there is one of another type or kind.
    """
    check_collection_name(name)
    found = await _find(connection, project, name)
    if found is None:
        chosen = await ensure_type(database, connection, project, type, now)
        row = {
            "project": project, "type": chosen, "name": name, "kind": kind, "description": "",
            "next_index": 0, "created_at": now, "updated_at": now,
        }  # fmt: skip
        await connection.execute(database.insert_missing(artifact_collections), [row])
        found = await _find(connection, project, name)
    if found is None:
        raise Rejected(f"the artifact collection {name!r} is gone", code=ErrorCode.NOT_FOUND)
    if found.kind != kind:
        said = {SEQUENCE: "a sequence of logged artifacts", PORTFOLIO: "a collection of links"}
        raise Rejected(
            f"{name!r} is {said[found.kind]}, not {said[kind]}", code=ErrorCode.KIND_CONFLICT
        )
    if found.type != type:
        raise Rejected(
            f"artifact {name!r} already exists with type {found.type!r}; it cannot get versions of"
            f" type {type!r}",
            code=ErrorCode.TYPE_CONFLICT,
        )
    return found


async def _find(connection: AsyncConnection, project: int, name: str) -> Collection | None:
    query = select_collections.where(
        artifact_collections.c.project == project, artifact_collections.c.name == name
    )
    found = await read_collections(connection, query)
    return found[0] if found else None


def _this(number: int) -> Update:
    return update(artifact_collections).where(artifact_collections.c.number == number)


def check_collection_name(name: str) -> None:
    """Raises `Rejected` for an invalid name of a collection or type: it must be one path segment."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _MAX_NAME_CHARS or "\0" in name or "/" in name or name in (".", ".."):
        raise Rejected(f"{name[:200]!r} cannot name an artifact", code=ErrorCode.BAD_NAME, hint="")
