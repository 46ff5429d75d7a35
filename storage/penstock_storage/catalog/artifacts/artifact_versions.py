"""Versions of artifacts: begin, commit, change, delete, and the runs that made and used them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Update, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.catalog.artifacts.artifact_collections import (
    ensure_collection,
    lock_collection,
)
from penstock_storage.catalog.artifacts.artifact_members import (
    LATEST,
    add_member,
    remove_member,
    set_aliases,
)
from penstock_storage.catalog.artifacts.artifact_rows import (
    COMMITTED,
    DELETED,
    PENDING,
    File,
    Version,
    read_versions,
    select_versions,
)
from penstock_storage.catalog.artifacts.artifact_tables import (
    SEQUENCE,
    artifact_aliases,
    artifact_clients,
    artifact_edges,
    artifact_files,
    artifact_manifests,
    artifact_members,
    artifact_tags,
    artifact_versions,
)
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database

__all__ = ["INPUT", "OUTPUT", "ArtifactVersionCatalog", "NewVersion"]

INPUT = "input"
OUTPUT = "output"
"""How a run is related to a version: it used the version, or it logged it."""

_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to upload. `project`, `run`: numbers; `client`, `sequence_client`: the client's ids of the
    version and its sequence; `distributed`: the common id of several clients that upload it together;
    `deduplicates`: a committed version with this digest may be used instead."""

    project: int
    type: str
    name: str
    digest: str
    digest_algorithm: str = "MANIFEST_MD5"
    description: str = ""
    metadata: str | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    client: str | None = None
    sequence_client: str | None = None
    distributed: str | None = None
    deduplicates: bool = True
    ttl_s: int | None = None
    history_step: int | None = None
    run: int | None = None


class ArtifactVersionCatalog:
    """The versions in all collections, by number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, new: NewVersion, now: int) -> Version:
        """A version to upload (PENDING), or the committed one that already has this content.

        The latter gets the aliases at once, and counts as logged by the run too. Repeating the request
        for the same version returns the same result. Raises `Rejected` if the name has another type.
        """
        async with self._database.writing() as connection:
            sequence = await ensure_collection(
                self._database, connection, new.project, new.name,
                type=new.type, kind=SEQUENCE, now=now,
            )  # fmt: skip
            await lock_collection(connection, sequence.number, now)
            number = await self._begun(connection, sequence.number, new)
            if number is None and new.deduplicates and new.digest:
                number = await _twin(connection, sequence.number, new.digest)
                if number is not None:
                    await set_aliases(connection, sequence.number, number, new.aliases)
                    await self._join(connection, new.run, number, OUTPUT, now)
            if number is None:
                number = await self._insert(connection, sequence.number, new, now)
            await self._remember(connection, sequence.number, number, new)
            (version,) = await read_versions(
                connection, select_versions.where(artifact_versions.c.number == number)
            )
        return version

    async def commit(
        self,
        number: int,
        manifest: str,
        files: Sequence[File],
        now: int,
        *,
        digest: str | None = None,
    ) -> None:
        """Give a version its index, its files and its aliases; `latest` moves to it.

        `manifest`: the digest of its blob; `digest`: the version's, if it differs from the announced
        one. Repeating that does no harm. Raises `Rejected` for a deleted version.
        """
        async with self._database.writing() as connection:
            locked = await lock_collection(connection, await _collection(connection, number), now)
            query = select(
                artifact_versions.c.state, artifact_versions.c.wanted, artifact_versions.c.run
            ).where(artifact_versions.c.number == number)
            state, wanted, run = (await connection.execute(query)).one()
            if state == COMMITTED:
                return
            if state != PENDING:
                raise Rejected("this artifact was deleted", code=ErrorCode.DELETED, status=409)
            for start in range(0, len(files), _ROWS):
                rows = [_file_row(number, each) for each in files[start : start + _ROWS]]
                await connection.execute(artifact_files.insert(), rows)
            index = await add_member(connection, locked, number, now)
            await set_aliases(connection, locked.number, number, [*wanted, LATEST])
            await connection.execute(
                _this(number).values(
                    state=COMMITTED,
                    index=index,
                    manifest=manifest,
                    size_bytes=sum(each.size_bytes for each in files),
                    file_count=len(files),
                    updated_at=now,
                )
            )
            if digest is not None:
                await connection.execute(_this(number).values(digest=digest))
            await self._join(connection, run, number, OUTPUT, now)

    async def get(self, number: int) -> Version | None:
        """The version with this number, deleted or not."""
        return (await self.many([number])).get(number)

    async def many(self, numbers: Sequence[int]) -> dict[int, Version]:
        """The versions among these that exist."""
        found: dict[int, Version] = {}
        async with self._database.reading() as connection:
            for chunk in chunks(numbers):
                query = select_versions.where(artifact_versions.c.number.in_(chunk))
                found |= {each.number: each for each in await read_versions(connection, query)}
        return found

    async def of_client(self, client: str) -> tuple[int | None, int | None]:
        """The numbers of collection and version for a client's name."""
        table = artifact_clients
        query = select(table.c.collection, table.c.version).where(table.c.id == client)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).first()
        return (None, None) if row is None else (row[0], row[1])

    async def change(
        self,
        number: int,
        now: int,
        values: Mapping[str, Any],
        *,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
    ) -> None:
        """Set `description`, `metadata`, `ttl_s`; add and remove tags."""
        table = artifact_tags
        async with self._database.writing() as connection:
            await connection.execute(_this(number).values(**values, updated_at=now))
            if add_tags:
                rows = [{"version": number, "name": name} for name in dict.fromkeys(add_tags)]
                await connection.execute(self._database.insert_missing(table), rows)
            if remove_tags:
                gone = delete(table).where(table.c.version == number, table.c.name.in_(remove_tags))
                await connection.execute(gone)

    async def delete(self, number: int, now: int, *, with_aliases: bool) -> None:
        """Delete a version: its files, aliases and links; its index is not assigned again.

        Raises `Rejected` (409) if it has aliases that must not be deleted with it.
        """
        async with self._database.writing() as connection:
            own = await lock_collection(connection, await _collection(connection, number), now)
            aliases = list(
                await connection.scalars(
                    select(artifact_aliases.c.alias).where(artifact_aliases.c.version == number)
                )
            )
            if aliases and not with_aliases:
                raise Rejected(
                    f"this artifact has aliases ({', '.join(sorted(aliases)[:5])}), and is not"
                    " deleted without them",
                    code=ErrorCode.HAS_ALIASES,
                )
            members = artifact_members
            query = select(members.c.collection).where(members.c.version == number)
            for collection in sorted(await connection.scalars(query)):
                if collection != own.number:
                    await lock_collection(connection, collection, now)
                await remove_member(connection, collection, number)
            for table in (artifact_files, artifact_tags, artifact_manifests):
                await connection.execute(delete(table).where(table.c.version == number))
            await connection.execute(
                _this(number).values(state=DELETED, manifest=None, updated_at=now)
            )

    async def forget_pending(self, before: int) -> int:
        """Remove uploads that began before this time (µs since 1970) and were never committed.

        Returns how many.
        """
        table = artifact_versions
        async with self._database.writing() as connection:
            given_up = (table.c.state == PENDING) & (table.c.created_at < before)
            return (await connection.execute(delete(table).where(given_up))).rowcount

    # -- runs

    async def use(self, run: int, version: int, now: int) -> None:
        """Record that a run uses a version."""
        async with self._database.writing() as connection:
            await self._join(connection, run, version, INPUT, now)

    async def of_run(
        self, run: int, kind: str, *, after: int | None = None, limit: int = 1_000
    ) -> list[Version]:
        """The committed versions that a run logged (`OUTPUT`) or used (`INPUT`), at most `limit`,
        after the number `after`."""
        query = _of_run(select_versions, run, kind)
        if after is not None:
            query = query.where(artifact_versions.c.number > after)
        query = query.order_by(artifact_versions.c.number).limit(limit)
        async with self._database.reading() as connection:
            return await read_versions(connection, query)

    async def count_of_run(self, run: int, kind: str) -> int:
        """The number of these versions."""
        query = select(func.count()).select_from(artifact_versions)
        async with self._database.reading() as connection:
            return await connection.scalar(_of_run(query, run, kind)) or 0

    async def used_by(self, version: int) -> list[int]:
        """The numbers of the runs that used a version."""
        table = artifact_edges
        query = select(table.c.run).where(table.c.version == version, table.c.kind == INPUT)
        async with self._database.reading() as connection:
            return list(await connection.scalars(query.order_by(table.c.created_at, table.c.run)))

    async def _join(
        self, connection: AsyncConnection, run: int | None, version: int, kind: str, now: int
    ) -> None:
        if run is not None:
            row = {"run": run, "kind": kind, "version": version, "created_at": now}
            await connection.execute(self._database.insert_missing(artifact_edges), [row])

    async def _begun(
        self, connection: AsyncConnection, sequence: int, new: NewVersion
    ) -> int | None:
        """The version that the same request, or another client's for the same upload, created before."""
        table, versions = artifact_clients, artifact_versions
        found: int | None = None
        if new.client:
            mine = (table.c.id == new.client) & (table.c.collection == sequence)
            found = await connection.scalar(select(table.c.version).where(mine))
        if found is None and new.distributed:
            shared = table.c.id == _shared(sequence, new.distributed)
            query = select(table.c.version).join(versions, versions.c.number == table.c.version)
            found = await connection.scalar(query.where(shared, versions.c.state == PENDING))
            if found is None:  # the previous one is committed: this begins the next
                await connection.execute(delete(table).where(shared))
        return found

    async def _insert(
        self, connection: AsyncConnection, sequence: int, new: NewVersion, now: int
    ) -> int:
        row = {
            "collection": sequence, "state": PENDING, "digest": new.digest,
            "digest_algorithm": new.digest_algorithm, "description": new.description,
            "metadata": new.metadata, "wanted": list(new.aliases), "ttl_s": new.ttl_s,
            "history_step": new.history_step, "run": new.run, "created_at": now, "updated_at": now,
        }  # fmt: skip
        statement = artifact_versions.insert().values(row)
        made = await connection.execute(statement.returning(artifact_versions.c.number))
        number = int(made.scalar_one())
        if new.tags:
            rows = [{"version": number, "name": name} for name in dict.fromkeys(new.tags)]
            await connection.execute(artifact_tags.insert(), rows)
        return number

    async def _remember(
        self, connection: AsyncConnection, sequence: int, version: int, new: NewVersion
    ) -> None:
        rows: list[dict[str, Any]] = []
        if new.client:
            rows.append({"id": new.client, "collection": sequence, "version": version})
        if new.sequence_client:
            rows.append({"id": new.sequence_client, "collection": sequence, "version": None})
        if new.distributed:
            id = _shared(sequence, new.distributed)
            rows.append({"id": id, "collection": sequence, "version": version})
        if rows:
            await connection.execute(self._database.insert_missing(artifact_clients), rows)


def _shared(sequence: int, distributed: str) -> str:
    """The name of an upload by several clients; unlike a client's own, it contains a space."""
    return f"{sequence} {distributed}"


def _file_row(version: int, file: File) -> dict[str, Any]:
    return {
        "version": version,
        "path": file.path,
        "digest": file.digest,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "reference": file.reference,
    }


async def _twin(connection: AsyncConnection, sequence: int, digest: str) -> int | None:
    """The newest committed version in this sequence with this digest."""
    table = artifact_versions
    query = (
        select(table.c.number)
        .where(table.c.collection == sequence, table.c.digest == digest)
        .where(table.c.state == COMMITTED)
        .order_by(table.c.index.desc())
        .limit(1)
    )
    found: int | None = await connection.scalar(query)
    return found


async def _collection(connection: AsyncConnection, version: int) -> int:
    table = artifact_versions
    found = await connection.scalar(select(table.c.collection).where(table.c.number == version))
    if found is None:
        raise Rejected("this artifact is gone", code=ErrorCode.NOT_FOUND)
    return int(found)


def _of_run(query: Any, run: int, kind: str) -> Any:
    edges, versions = artifact_edges, artifact_versions
    return query.join(edges, edges.c.version == versions.c.number).where(
        edges.c.run == run, edges.c.kind == kind, versions.c.state == COMMITTED
    )


def _this(number: int) -> Update:
    return update(artifact_versions).where(artifact_versions.c.number == number)
