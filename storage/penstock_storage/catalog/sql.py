"""The catalog in a SQL database: the `Catalog` protocol over SQLAlchemy Core.

A name gets its number once and for ever, whichever process asks first. Looking up existing names takes
no lock; only missing ones are written, in one transaction.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from sqlalchemy import Select, func, select, tuple_

from penstock_common.process.bounds import DEFAULT_BOUNDS, Bounds, Owner
from penstock_storage.catalog import clock, moves, restore, tables, tombstones
from penstock_storage.catalog.accounts.account_catalog import SqlAccounts
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.names import lookups
from penstock_storage.catalog.names.census import Census
from penstock_storage.catalog.names.handout import (
    add_keys,
    add_projects,
    add_runs,
)
from penstock_storage.catalog.names.lane_catalog import LaneCatalog
from penstock_storage.catalog.revision import is_current
from penstock_storage.catalog.runs import liveness, updates
from penstock_storage.contracts.interface import (
    ApiKey,
    KeyNumber,
    Micros,
    Move,
    ProjectRow,
    RunChange,
    RunNumber,
    RunRef,
    RunRow,
    RunText,
    Tombstone,
)

__all__ = ["SqlCatalog"]


class SqlCatalog(LaneCatalog):
    """A `Catalog` at an SQLAlchemy URL, `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`.

    `clock` gives microseconds since 1970, for the times at which rows are created.
    """

    def __init__(
        self,
        url: str,
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._database = Database(url)
        self._census = Census(bounds)
        self._clock = clock

    @property
    def database(self) -> Database:
        """The database, for other classes with tables in it."""
        return self._database

    @property
    def accounts(self) -> SqlAccounts:
        """API keys as their owners see them, and sessions."""
        return SqlAccounts(self._database)

    def setup_alone(self) -> AbstractAsyncContextManager[None]:
        return self._database.setup_alone()

    async def setup(self) -> None:
        async with self._database.writing() as connection:
            await self._database.lock_setup(connection)
            await self._database.require_unicode(connection)
            if not await connection.run_sync(is_current):
                from penstock_storage.catalog import schema  # noqa: PLC0415  (loads Alembic)

                await connection.run_sync(schema.upgrade)

    async def close(self) -> None:
        await self._database.close()

    # -- numbers

    async def ensure_runs(
        self, refs: Sequence[RunRef], began: Mapping[RunRef, int] | None = None
    ) -> dict[RunRef, RunRow]:
        wanted = set(refs)
        async with self._database.reading() as connection:
            found = await lookups.find_runs(connection, wanted)
        missing = sorted(wanted - found.keys(), key=lambda r: (r.entity, r.project, r.run))
        if missing:
            async with self._database.writing() as connection:
                now = self._clock()
                await add_runs(self._database, connection, self._census, missing, now, began or {})
                found |= await lookups.find_runs(connection, missing)
        return found

    async def ensure_project(self, entity: str, project: str) -> int:
        async with self._database.writing() as connection:
            owner = (entity, project)
            await add_projects(self._database, connection, [owner], self._clock())
            return (await lookups.find_projects(connection, [owner]))[owner]

    async def ensure_keys(
        self, project: int, names: Sequence[str], *, bounded: bool = True
    ) -> dict[str, KeyNumber]:
        wanted = set(names)
        async with self._database.reading() as connection:
            found = await lookups.find_keys(connection, project, wanted)
        missing = sorted(wanted - found.keys())
        if missing:
            async with self._database.writing() as connection:
                census = self._census if bounded else None
                await add_keys(self._database, connection, census, project, missing)
                found |= await lookups.find_keys(connection, project, missing)
        return found

    async def at_bound(self, owners: Collection[Owner]) -> set[Owner]:
        async with self._database.reading() as connection:
            return {owner for owner in owners if await self._census.room(connection, owner) == 0}

    # -- changes

    async def apply_changes(self, changes: Sequence[RunChange], now: int) -> None:
        if changes:
            async with self._database.writing() as connection:
                await updates.change_runs(connection, changes, now)

    async def edited_summaries(self) -> dict[int, set[str]]:
        async with self._database.reading() as connection:
            return await updates.edited_summaries(connection)

    async def touch_runs(
        self, runs: Sequence[int], now: int, *, ended: bool = True
    ) -> list[RunRef]:
        if not runs:
            return []
        async with self._database.writing() as connection:
            heard = await updates.touch_runs(connection, runs, now, ended=ended)
            return list((await liveness.refs_of(connection, heard)).values())

    async def silent_runs(self, before: int) -> dict[RunRef, RunNumber]:
        async with self._database.reading() as connection:
            return await liveness.silent_runs(connection, before)

    async def mark_crashed(self, runs: Sequence[int], before: int, now: int) -> list[RunRef]:
        if not runs:
            return []
        async with self._database.writing() as connection:
            crashed = await updates.mark_crashed(connection, runs, before, now)
            return list((await liveness.refs_of(connection, crashed)).values())

    # -- the clock

    async def clock(self) -> Micros:
        async with self._database.reading() as connection:
            return await clock.read(connection)

    async def set_clock(self, at: int) -> None:
        async with self._database.writing() as connection:
            await clock.advance(self._database, connection, at)

    # -- reading

    async def projects(self, entity: str | None = None) -> list[ProjectRow]:
        projects = tables.projects
        query = _select_projects().order_by(projects.c.updated_at.desc(), projects.c.number.desc())
        if entity is not None:
            query = query.where(projects.c.entity == entity)
        async with self._database.reading() as connection:
            return [ProjectRow(**row) for row in (await connection.execute(query)).mappings()]

    async def project(self, entity: str, project: str) -> ProjectRow | None:
        projects = tables.projects
        query = _select_projects().where(projects.c.entity == entity, projects.c.project == project)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else ProjectRow(**row)

    async def runs_since(self, project: int, tick: int) -> AsyncGenerator[Sequence[RunText], None]:
        async with (
            self._database.reading() as connection,
            aclosing(lookups.changed_runs(connection, project, tick)) as parts,
        ):
            async for part in parts:
                yield part

    async def newest_runs(
        self, project: int, limit: int, offset: int, before: tuple[int, int] | None = None
    ) -> tuple[list[tuple[int, int]], int]:
        runs = tables.runs
        mine = runs.c.project == project
        age = tuple_(runs.c.created_at, runs.c.number)
        query = select(runs.c.created_at, runs.c.number).where(mine)
        if before is not None:
            query = query.where(age < before)
        query = query.order_by(runs.c.created_at.desc(), runs.c.number.desc())
        async with self._database.reading() as connection:
            total = await connection.scalar(select(func.count()).where(mine)) or 0
            found = await connection.execute(query.limit(limit).offset(offset))
            return [(at, number) for at, number in found], total

    async def run_rows(self, numbers: Sequence[int]) -> dict[int, RunRow]:
        async with self._database.reading() as connection:
            return await lookups.read_runs(connection, numbers)

    async def run_numbers(self, project: int, names: Sequence[str]) -> dict[str, RunNumber]:
        async with self._database.reading() as connection:
            return await lookups.find_run_numbers(connection, project, names)

    async def numbers_of(self, refs: Sequence[RunRef]) -> dict[RunRef, RunNumber]:
        by_project: dict[tuple[str, str], list[str]] = {}
        for ref in refs:
            by_project.setdefault((ref.entity, ref.project), []).append(ref.run)
        found: dict[RunRef, RunNumber] = {}
        async with self._database.reading() as connection:
            projects = await lookups.find_projects(connection, by_project)
            for (entity, project), number in projects.items():
                numbers = await lookups.find_run_numbers(
                    connection, number, by_project[entity, project]
                )
                found |= {RunRef(entity, project, run): n for run, n in numbers.items()}
        return found

    async def project_number(self, entity: str, project: str) -> int | None:
        async with self._database.reading() as connection:
            found = await lookups.find_projects(connection, [(entity, project)])
        return found.get((entity, project))

    async def run(self, ref: RunRef) -> RunRow | None:
        async with self._database.reading() as connection:
            return (await lookups.find_runs(connection, [ref])).get(ref)

    async def keys(self, project: int) -> dict[str, KeyNumber]:
        keys = tables.keys
        query = select(keys.c.name, keys.c.number).where(keys.c.project == project)
        async with self._database.reading() as connection:
            return {row.name: row.number for row in await connection.execute(query)}

    async def key_numbers(self, project: int, names: Sequence[str]) -> dict[str, KeyNumber]:
        async with self._database.reading() as connection:
            return await lookups.find_keys(connection, project, names)

    async def key_names(self, numbers: Sequence[int]) -> dict[int, str]:
        keys = tables.keys
        names: dict[int, str] = {}
        async with self._database.reading() as connection:
            for chunk in chunks(numbers):
                query = select(keys.c.number, keys.c.name).where(keys.c.number.in_(chunk))
                names |= {row.number: row.name for row in await connection.execute(query)}
        return names

    # -- deleting and moving

    async def delete_runs(self, runs: Sequence[int], now: int) -> list[Tombstone]:
        self._census.forget()
        async with self._database.writing() as connection:
            return await tombstones.delete_runs(connection, runs, now)

    async def delete_project(self, project: int, now: int) -> list[Tombstone]:
        self._census.forget()
        async with self._database.writing() as connection:
            return await tombstones.delete_project(connection, project, now)

    async def tombstones(self, after: int, *, limit: int = 1_000) -> list[Tombstone]:
        async with self._database.reading() as connection:
            return await tombstones.read_tombstones(connection, after, limit)

    async def last_tombstone(self) -> int:
        async with self._database.reading() as connection:
            return await tombstones.last_tombstone(connection)

    async def tombstones_of(self, refs: Sequence[RunRef]) -> dict[RunRef, list[Tombstone]]:
        async with self._database.reading() as connection:
            return await tombstones.tombstones_of(connection, refs)

    async def tombstones_by_run(self, runs: Sequence[int]) -> list[Tombstone]:
        async with self._database.reading() as connection:
            return await tombstones.tombstones_by_run(connection, runs)

    async def open_tombstones(self) -> list[Tombstone]:
        async with self._database.reading() as connection:
            return await tombstones.open_tombstones(connection)

    async def note_purged(self, numbers: Sequence[int], now: int, *, final: bool) -> None:
        async with self._database.writing() as connection:
            await tombstones.note_purged(connection, numbers, now, final=final)

    async def deleted_since(self, project: int, tick: int) -> int | None:
        async with self._database.reading() as connection:
            return await tombstones.deleted_since(connection, project, tick)

    async def gone_runs(self, project: int) -> list[int]:
        async with self._database.reading() as connection:
            return await tombstones.gone_runs(connection, project)

    async def begin_move(self, run: int, project: str, now: int) -> Move:
        async with self._database.writing() as connection:
            return await moves.begin_move(self._database, connection, run, project, now)

    async def moves(self) -> list[Move]:
        async with self._database.reading() as connection:
            return await moves.read_moves(connection)

    async def finish_move(self, run: int, now: int) -> bool:
        async with self._database.writing() as connection:
            return await moves.finish_move(connection, run, now)

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
            "expires_at": key.expires_at,
        }
        async with self._database.writing() as connection:
            await connection.execute(tables.api_keys.insert(), row)

    async def has_entity(self, name: str) -> bool:
        """Whether this entity has an API key, or ever had a project."""
        key = select(tables.api_keys.c.id).where(tables.api_keys.c.entity == name)
        own = select(tables.entities.c.name).where(tables.entities.c.name == name)
        async with self._database.reading() as connection:
            for query in (own, key):
                if await connection.scalar(query.limit(1)) is not None:
                    return True
        return False

    async def api_key(self, key_id: str) -> ApiKey | None:
        query = select(tables.api_keys).where(tables.api_keys.c.id == key_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        if row is None:
            return None
        scopes = frozenset(row["scopes"])
        return ApiKey(
            row["id"],
            row["entity"],
            scopes,
            row["secret_hash"],
            row["revoked"],
            row["expires_at"],
            row["last_used_at"],
        )


def _select_projects() -> Select[Any]:
    """Rows for `ProjectRow`, of projects that are not deleted."""
    projects, runs = tables.projects, tables.runs
    count = select(func.count()).where(runs.c.project == projects.c.number).scalar_subquery()
    return select(
        projects.c.number,
        projects.c.entity,
        projects.c.project,
        count.label("runs"),
        projects.c.created_at,
        projects.c.updated_at,
    ).where(projects.c.deleted_at == 0)
