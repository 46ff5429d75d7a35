"""The catalog in a SQL database: the `Catalog` protocol over SQLAlchemy Core.

A name gets its number once, for ever, whichever of several processes asks first. Looking up what
exists takes no lock; only what is missing is written, in one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import Broken
from penstock_storage.catalog import restore, tables
from penstock_storage.catalog.changes import apply_change
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.handout import add_keys, add_lanes, add_runs
from penstock_storage.catalog.lookups import (
    chunks,
    find_keys,
    find_lanes,
    find_runs,
    run_row,
    select_runs,
)
from penstock_storage.interface import ApiKey, LaneRow, ProjectRow, RunChange, RunRef, RunRow

__all__ = ["SqlCatalog"]

_CHANGEABLE = (
    "name", "state", "group", "job_type", "tags", "notes", "config", "summary", "info",
    "versions", "updated_at",
)  # fmt: skip


class SqlCatalog:
    """A `Catalog` at an SQLAlchemy URL, `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`.

    `clock` gives microseconds since 1970, for the times at which rows are created.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self._database = Database(url)
        self._clock = clock

    async def setup(self) -> None:
        meta = tables.meta
        async with self._database.writing() as connection:
            await self._database.lock_setup(connection)
            await connection.run_sync(lambda sync: meta.create(sync, checkfirst=True))
            found = await connection.scalar(
                select(meta.c.value).where(meta.c.name == "schema_version")
            )
            if found is not None and int(found) > tables.CATALOG_VERSION:
                raise Broken(
                    f"the catalog has schema version {found}, this Penstock knows up to"
                    f" {tables.CATALOG_VERSION}: use the newer Penstock that wrote it"
                )
            await connection.run_sync(tables.metadata.create_all)
            if found is None:
                version = str(tables.CATALOG_VERSION)
                await connection.execute(meta.insert().values(name="schema_version", value=version))

    async def close(self) -> None:
        await self._database.close()

    # -- numbers

    async def ensure_runs(self, refs: Sequence[RunRef]) -> dict[RunRef, RunRow]:
        wanted = set(refs)
        async with self._database.reading() as connection:
            found = await find_runs(connection, wanted)
        missing = sorted(wanted - found.keys(), key=lambda r: (r.entity, r.project, r.run))
        if missing:
            async with self._database.writing() as connection:
                await add_runs(self._database, connection, missing, self._clock())
                found |= await find_runs(connection, missing)
        return found

    async def ensure_keys(self, project: int, names: Sequence[str]) -> dict[str, int]:
        wanted = set(names)
        async with self._database.reading() as connection:
            found = await find_keys(connection, project, wanted)
        missing = sorted(wanted - found.keys())
        if missing:
            async with self._database.writing() as connection:
                await add_keys(self._database, connection, project, missing)
                found |= await find_keys(connection, project, missing)
        return found

    async def ensure_lanes(
        self, writers: Sequence[tuple[int, str, int, int]]
    ) -> dict[tuple[int, str], int]:
        wanted = {(run, writer): (rank, started) for run, writer, rank, started in writers}
        async with self._database.reading() as connection:
            found = await find_lanes(connection, wanted)
        missing = {name: wanted[name] for name in wanted if name not in found}
        if missing:
            async with self._database.writing() as connection:
                found |= await add_lanes(connection, missing)
        return found

    # -- changes

    async def apply_changes(self, changes: Sequence[RunChange], now: int) -> None:
        by_run: dict[int, list[RunChange]] = {}
        for change in changes:
            by_run.setdefault(change.run, []).append(change)
        if not by_run:
            return
        runs = tables.runs
        async with self._database.writing() as connection:
            for numbers in chunks(sorted(by_run)):
                query = select(runs).where(runs.c.number.in_(numbers)).order_by(runs.c.number)
                found = await connection.execute(query.with_for_update())
                rows = [dict(row) for row in found.mappings()]
                if len(rows) != len(numbers):
                    unknown = sorted(set(numbers) - {row["number"] for row in rows})
                    raise Broken(f"the catalog has no runs with the numbers {unknown[:10]}")
                for row in rows:
                    row["updated_at"] = max(row["updated_at"], now)
                    for change in by_run[row["number"]]:
                        apply_change(row, change)
                await _write(connection, rows)

    async def touch_runs(self, runs: Sequence[int], now: int) -> None:
        if not runs:
            return
        table = tables.runs
        async with self._database.writing() as connection:
            for numbers in chunks(sorted(set(runs))):
                await connection.execute(
                    update(table)
                    .where(table.c.number.in_(numbers), table.c.updated_at < now)
                    .values(updated_at=now)
                )

    # -- reading

    async def projects(self, entity: str | None = None) -> list[ProjectRow]:
        projects, runs = tables.projects, tables.runs
        updated = func.coalesce(func.max(runs.c.updated_at), projects.c.created_at)
        query = (
            select(projects, func.count(runs.c.number).label("runs"), updated.label("updated_at"))
            .outerjoin(runs, runs.c.project == projects.c.number)
            .group_by(projects.c.number)
            .order_by(updated.desc(), projects.c.number.desc())
        )
        if entity is not None:
            query = query.where(projects.c.entity == entity)
        async with self._database.reading() as connection:
            return [ProjectRow(**row) for row in (await connection.execute(query)).mappings()]

    async def runs(self, entity: str, project: str) -> list[RunRow]:
        query = select_runs.where(
            tables.projects.c.entity == entity, tables.projects.c.project == project
        ).order_by(tables.runs.c.created_at.desc(), tables.runs.c.number.desc())
        async with self._database.reading() as connection:
            return [run_row(row) for row in (await connection.execute(query)).mappings()]

    async def run(self, ref: RunRef) -> RunRow | None:
        async with self._database.reading() as connection:
            return (await find_runs(connection, [ref])).get(ref)

    async def keys(self, project: int) -> dict[str, int]:
        keys = tables.keys
        query = select(keys.c.name, keys.c.number).where(keys.c.project == project)
        async with self._database.reading() as connection:
            return {row.name: row.number for row in await connection.execute(query)}

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        lanes = tables.lanes
        rows: list[LaneRow] = []
        async with self._database.reading() as connection:
            for numbers in chunks(sorted(set(runs))):
                found = await connection.execute(select(lanes).where(lanes.c.run.in_(numbers)))
                rows += (LaneRow(**row) for row in found.mappings())
        return sorted(rows, key=lambda row: (row.run, row.rank, row.started, row.lane))

    # -- names

    async def all_names(self) -> list[tuple[str, int, int, str]]:
        async with self._database.reading() as connection:
            return await restore.all_names(connection)

    async def restore_names(self, names: Sequence[tuple[str, int, int, str]]) -> None:
        async with self._database.writing() as connection:
            await restore.restore_names(self._database, connection, names, self._clock())

    # -- API keys

    async def add_api_key(self, key: ApiKey, label: str) -> None:
        row = {
            "id": key.id,
            "entity": key.entity,
            "scopes": sorted(key.scopes),
            "secret_hash": key.secret_hash,
            "revoked": key.revoked,
            "label": label,
            "created_at": self._clock(),
        }
        async with self._database.writing() as connection:
            await connection.execute(tables.api_keys.insert(), row)

    async def api_key(self, key_id: str) -> ApiKey | None:
        query = select(tables.api_keys).where(tables.api_keys.c.id == key_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        if row is None:
            return None
        scopes = frozenset(row["scopes"])
        return ApiKey(row["id"], row["entity"], scopes, row["secret_hash"], row["revoked"])


async def _write(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    runs = tables.runs
    statement = (
        update(runs)
        .where(runs.c.number == bindparam("of_number"))
        .values({name: bindparam(f"new_{name}") for name in _CHANGEABLE})
    )
    values = [
        {"of_number": row["number"], **{f"new_{name}": row[name] for name in _CHANGEABLE}}
        for row in rows
    ]
    await connection.execute(statement, values)
