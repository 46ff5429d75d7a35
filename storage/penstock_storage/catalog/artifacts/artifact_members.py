"""Members of collections: the versions in a collection, and their aliases there."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.catalog.artifacts.artifact_collections import (
    LockedCollection,
    ensure_collection,
    lock_collection,
)
from penstock_storage.catalog.artifacts.artifact_rows import (
    COMMITTED,
    Member,
    Version,
    read_members,
    select_members,
)
from penstock_storage.catalog.artifacts.artifact_tables import (
    PORTFOLIO,
    artifact_aliases,
    artifact_collections,
    artifact_members,
)
from penstock_storage.catalog.database import Database

__all__ = ["LATEST", "ArtifactMemberCatalog", "add_member", "remove_member", "set_aliases"]

LATEST = "latest"
"""The alias that moves to every new member of a collection."""

_INDEX = re.compile(r"v(\d{1,18})")


class ArtifactMemberCatalog:
    """The members of all collections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, project: int, name: str, alias: str) -> Member | None:
        """The member of a project's collection with this alias or index, such as `v3`."""
        table = artifact_members
        query = select_members.join(
            artifact_collections, table.c.collection == artifact_collections.c.number
        ).where(artifact_collections.c.project == project, artifact_collections.c.name == name)
        if match := _INDEX.fullmatch(alias):
            query = query.where(table.c.index == int(match[1]))
        else:
            query = query.join(
                artifact_aliases,
                (artifact_aliases.c.version == table.c.version)
                & (artifact_aliases.c.collection == table.c.collection),
            ).where(artifact_aliases.c.alias == alias)
        async with self._database.reading() as connection:
            found = await read_members(connection, query)
        return found[0] if found else None

    async def page(
        self,
        collection: int,
        *,
        ascending: bool = False,
        after: int | None = None,
        limit: int = 1_000,
    ) -> list[Member]:
        """At most `limit` members ordered by index, after the index `after`."""
        index = artifact_members.c.index
        query = select_members.where(artifact_members.c.collection == collection)
        if after is not None:
            query = query.where(index > after if ascending else index < after)
        query = query.order_by(index if ascending else index.desc()).limit(limit)
        async with self._database.reading() as connection:
            return await read_members(connection, query)

    async def count(self, collection: int) -> int:
        """The number of members of a collection."""
        query = select(func.count()).select_from(artifact_members)
        async with self._database.reading() as connection:
            query = query.where(artifact_members.c.collection == collection)
            return await connection.scalar(query) or 0

    async def of_version(self, version: int) -> list[Member]:
        """All memberships of a version, the one in its own sequence first."""
        query = select_members.where(artifact_members.c.version == version)
        async with self._database.reading() as connection:
            found = await read_members(connection, query)
        return sorted(found, key=lambda each: each.collection != each.version.collection)

    async def add_aliases(
        self, version: int, collection: int, aliases: Iterable[str], now: int
    ) -> None:
        """Point these aliases to this member. Raises `Rejected` (404) if it does not exist."""
        async with self._database.writing() as connection:
            locked = await lock_collection(connection, collection, now)
            await _require(connection, locked, version)
            await set_aliases(connection, collection, version, aliases)

    async def remove_aliases(
        self, version: int, collection: int, aliases: Iterable[str], now: int
    ) -> None:
        """Remove aliases that point to this member."""
        table = artifact_aliases
        async with self._database.writing() as connection:
            await lock_collection(connection, collection, now)
            gone = delete(table).where(
                table.c.collection == collection,
                table.c.version == version,
                table.c.alias.in_(list(aliases)),
            )
            await connection.execute(gone)

    async def link(
        self, version: Version, project: int, name: str, aliases: Iterable[str], now: int
    ) -> int:
        """Make a version a member of a portfolio, created if missing.

        Returns its index there; repeating that does no harm. Raises `Rejected` for a version that is
        not committed, or a name that is not a portfolio's.
        """
        if version.state != COMMITTED:
            raise Rejected(
                "only a committed artifact can be linked",
                code=ErrorCode.NOT_COMMITTED,
                status=409,
                hint="",
            )
        async with self._database.writing() as connection:
            portfolio = await ensure_collection(
                self._database, connection, project, name,
                type=version.type, kind=PORTFOLIO, now=now,
            )  # fmt: skip
            locked = await lock_collection(connection, portfolio.number, now)
            index = await _index_of(connection, locked, version.number)
            if index is None:
                index = await add_member(connection, locked, version.number, now)
                aliases = [*aliases, LATEST]
            await set_aliases(connection, portfolio.number, version.number, aliases)
        return index

    async def unlink(self, version: int, collection: int, now: int) -> None:
        """Remove a version from a portfolio. Raises `Rejected` if it is a sequence."""
        async with self._database.writing() as connection:
            locked = await lock_collection(connection, collection, now)
            if locked.kind != PORTFOLIO:
                raise Rejected(
                    "an artifact cannot be unlinked from where it was logged",
                    code=ErrorCode.NOT_A_LINK,
                )
            await remove_member(connection, collection, version)


async def add_member(
    connection: AsyncConnection, locked: LockedCollection, version: int, now: int
) -> int:
    """Make a version a member of a locked collection; returns its index."""
    index = await locked.take_index(connection)
    row = {"collection": locked.number, "version": version, "index": index, "created_at": now}
    await connection.execute(artifact_members.insert().values(row))
    return index


async def remove_member(connection: AsyncConnection, collection: int, version: int) -> None:
    """Remove a version and its aliases from a locked collection; `latest` moves to a remaining member."""
    members, aliases = artifact_members, artifact_aliases
    for table in (aliases, members):
        mine = (table.c.collection == collection) & (table.c.version == version)
        await connection.execute(delete(table).where(mine))
    has_latest = await connection.scalar(
        select(func.count())
        .select_from(aliases)
        .where(aliases.c.collection == collection, aliases.c.alias == LATEST)
    )
    newest = await connection.scalar(
        select(members.c.version)
        .where(members.c.collection == collection)
        .order_by(members.c.index.desc())
        .limit(1)
    )
    if newest is not None and not has_latest:
        await set_aliases(connection, collection, newest, [LATEST])


async def set_aliases(
    connection: AsyncConnection, collection: int, version: int, aliases: Iterable[str]
) -> None:
    """Point aliases only to this member of a locked collection. Raises `Rejected`."""
    names = list(dict.fromkeys(aliases))
    for name in names:
        if not name or len(name) > 256 or set(name) & set("/:\0"):
            raise Rejected(f"{name[:200]!r} cannot be an alias", code=ErrorCode.BAD_ALIAS)
    names = [name for name in names if not _INDEX.fullmatch(name)]  # these are indices
    if not names:
        return
    table = artifact_aliases
    await connection.execute(
        delete(table).where(table.c.collection == collection, table.c.alias.in_(names))
    )
    rows = [{"collection": collection, "alias": name, "version": version} for name in names]
    await connection.execute(table.insert(), rows)


async def _index_of(
    connection: AsyncConnection, locked: LockedCollection, version: int
) -> int | None:
    table = artifact_members
    query = select(table.c.index).where(
        table.c.collection == locked.number, table.c.version == version
    )
    found: int | None = await connection.scalar(query)
    return found


async def _require(connection: AsyncConnection, locked: LockedCollection, version: int) -> None:
    if await _index_of(connection, locked, version) is None:
        raise Rejected(
            f"this artifact is not in the collection {locked.name!r}", code=ErrorCode.NOT_FOUND
        )
