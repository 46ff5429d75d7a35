"""Deletes runs and projects: a run's row is deleted at once, and leaves a tombstone.

A tombstone records for ever the run's number, so that names restored from the store do not bring the
run back; its writers, so that their late batches do not create a new run with the same id; and whether
the store may still hold rows of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ForeignKey, Select, Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock_storage.catalog.artifacts.artifact_tables import artifact_types
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database, lock_deletions
from penstock_storage.catalog.names.lookups import find_projects
from penstock_storage.catalog.runs.updates import next_ticks
from penstock_storage.catalog.sweeps.sweep_catalog import delete_sweeps
from penstock_storage.catalog.tables import (
    lanes,
    metadata,
    moves,
    projects,
    run_files,
    runs,
    tombstones,
)
from penstock_storage.contracts.interface import RunRef, Tombstone

__all__ = [
    "add_tombstone",
    "delete_project",
    "delete_runs",
    "deleted_since",
    "gone_runs",
    "last_tombstone",
    "note_moved",
    "note_purged",
    "open_tombstones",
    "raise_above_deleted",
    "read_tombstones",
    "tables_beside_runs",
    "tables_of_runs",
    "tombstones_by_run",
    "tombstones_of",
]  # fmt: skip

Row = dict[str, Any]

_STAYS = "SET NULL"

_select = select(
    tombstones, projects.c.entity, projects.c.project.label("project_name")
).join(projects, tombstones.c.project == projects.c.number)  # fmt: skip


async def delete_runs(
    connection: AsyncConnection, numbers: Collection[int], now: int
) -> list[Tombstone]:
    """Delete the runs among these that exist, with everything in the catalog that belongs to them."""
    await lock_deletions(connection)
    rows: list[Row] = []
    for chunk in chunks(sorted(set(numbers))):
        query = (
            select(runs.c.number, runs.c.project, runs.c.run)
            .where(runs.c.number.in_(chunk))
            .order_by(runs.c.number)
        )
        rows += map(dict, (await connection.execute(query.with_for_update())).mappings())
    if not rows:
        return []
    ticks = await next_ticks(connection, {row["project"] for row in rows}, now)
    writers = await _writers(connection, [row["number"] for row in rows])
    digests = await _digests(connection, [row["number"] for row in rows])
    for chunk in chunks([row["number"] for row in rows]):
        for table, column in tables_of_runs():
            await connection.execute(delete(table).where(table.c[column].in_(chunk)))
        await connection.execute(delete(runs).where(runs.c.number.in_(chunk)))
    for part in chunks(rows):
        await connection.execute(
            tombstones.insert(),
            [
                {
                    "run": row["number"],
                    "project": row["project"],
                    "name": row["run"],
                    "writers": sorted(writers.get(row["number"], ())),
                    "digests": sorted(digests.get(row["number"], ())),
                    "deleted_at": now,
                    "tick": ticks[row["project"]],
                }
                for row in part
            ],
        )
    return await tombstones_by_run(connection, [row["number"] for row in rows])


async def delete_project(connection: AsyncConnection, project: int, now: int) -> list[Tombstone]:
    """Delete all runs, artifacts and sweeps of a project and hide it."""
    await lock_deletions(connection)
    locked = select(projects.c.number).where(projects.c.number == project)
    await connection.execute(locked.with_for_update())
    found = await connection.scalars(select(runs.c.number).where(runs.c.project == project))
    gone = await delete_runs(connection, list(found), now)
    # All artifacts of a project depend on their types.
    await connection.execute(delete(artifact_types).where(artifact_types.c.project == project))
    await delete_sweeps(connection, project)
    await connection.execute(
        update(projects).where(projects.c.number == project).values(deleted_at=now)
    )
    return gone


async def add_tombstone(
    connection: AsyncConnection, number: int, project: int, name: str, now: int
) -> None:
    """Add a tombstone for a number whose rows must be purged, though the catalog has no such run."""
    await lock_deletions(connection)
    row = {"run": number, "project": project, "name": name, "writers": [], "deleted_at": now}
    await connection.execute(tombstones.insert(), row)


async def note_moved(connection: AsyncConnection, run: int, copy: int) -> None:
    """Record that this run was not deleted, but moved: it has another number in another project."""
    moved = update(tombstones).where(tombstones.c.run == run).values(moved_to=copy, digests=[])
    await connection.execute(moved)


async def raise_above_deleted(database: Database, connection: AsyncConnection) -> None:
    """Assign no number that a deleted run had, or that the copy of a moved run will have."""
    last = await connection.scalar(select(func.max(tombstones.c.run))) or 0
    copy = await connection.scalar(select(func.max(moves.c.copy))) or 0
    if highest := max(last, copy):
        await database.raise_sequence(connection, runs, highest)


def tables_of_runs() -> Iterable[tuple[Table, str]]:
    """The tables whose rows belong to a run, each with the column of the run's number."""
    for table, key in _keys_of_runs():
        if key.ondelete != _STAYS:
            yield table, key.parent.name


def tables_beside_runs() -> Iterable[tuple[Table, str]]:
    """The tables whose rows refer to a run, each with that column, and survive its deletion."""
    for table, key in _keys_of_runs():
        if key.ondelete == _STAYS:
            yield table, key.parent.name


def _keys_of_runs() -> Iterable[tuple[Table, ForeignKey]]:
    for table in reversed(metadata.sorted_tables):
        for key in table.foreign_keys:
            if key.column is runs.c.number:
                yield table, key


async def read_tombstones(connection: AsyncConnection, after: int, limit: int) -> list[Tombstone]:
    query = _select.where(tombstones.c.number > after).order_by(tombstones.c.number).limit(limit)
    return await _read(connection, query)


async def last_tombstone(connection: AsyncConnection) -> int:
    return await connection.scalar(select(func.max(tombstones.c.number))) or 0


async def tombstones_of(
    connection: AsyncConnection, refs: Iterable[RunRef]
) -> dict[RunRef, list[Tombstone]]:
    by_project: dict[tuple[str, str], list[str]] = {}
    for ref in refs:
        by_project.setdefault((ref.entity, ref.project), []).append(ref.run)
    found: dict[RunRef, list[Tombstone]] = {}
    known = await find_projects(connection, by_project, hidden=True)
    for project, number in known.items():
        for chunk in chunks(by_project[project]):
            named = (tombstones.c.project == number, tombstones.c.name.in_(chunk))
            for each in await _read(connection, _select.where(*named)):
                found.setdefault(each.ref, []).append(each)
    return found


async def open_tombstones(connection: AsyncConnection) -> list[Tombstone]:
    return await _read(connection, _select.where(tombstones.c.settled.is_(False)))


async def note_purged(
    connection: AsyncConnection, numbers: Sequence[int], now: int, *, final: bool
) -> None:
    for chunk in chunks(numbers):
        await connection.execute(
            update(tombstones)
            .where(tombstones.c.number.in_(chunk))
            .values(swept_at=now, settled=final)
        )


async def deleted_since(connection: AsyncConnection, project: int, tick: int) -> int | None:
    query = select(func.max(tombstones.c.tick)).where(
        tombstones.c.project == project, tombstones.c.tick > tick
    )
    found: int | None = await connection.scalar(query)
    return found


async def gone_runs(connection: AsyncConnection, project: int) -> list[int]:
    query = select(tombstones.c.run).where(
        tombstones.c.settled.is_(False), tombstones.c.project == project
    )
    return list(await connection.scalars(query))


async def tombstones_by_run(connection: AsyncConnection, numbers: Sequence[int]) -> list[Tombstone]:
    found: list[Tombstone] = []
    for chunk in chunks(numbers):
        found += await _read(connection, _select.where(tombstones.c.run.in_(chunk)))
    return found


async def _writers(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for chunk in chunks(numbers):
        query = select(lanes.c.run, lanes.c.writer).where(lanes.c.run.in_(chunk))
        for run, writer in await connection.execute(query):
            found.setdefault(run, set()).add(writer)
    return found


async def _digests(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for chunk in chunks(numbers):
        query = select(run_files.c.run, run_files.c.sha256).where(run_files.c.run.in_(chunk))
        for run, digest in await connection.execute(query):
            found.setdefault(run, set()).add(digest)
    return found


async def _read(connection: AsyncConnection, query: Select[Any]) -> list[Tombstone]:
    rows = (await connection.execute(query.order_by(None).order_by(tombstones.c.number))).mappings()
    return [
        Tombstone(
            number=row["number"],
            run=row["run"],
            ref=RunRef(row["entity"], row["project_name"], row["name"]),
            project_number=row["project"],
            writers=frozenset(row["writers"]),
            deleted_at=row["deleted_at"],
            purged_at=row["swept_at"],
            moved_to=row["moved_to"],
            digests=tuple(row["digests"]),
        )
        for row in rows
    ]
