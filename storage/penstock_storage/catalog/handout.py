"""Handing out numbers: to projects, runs and keys from the database's sequences, to the lanes of a
run from 0 upwards. All of it inside the caller's write transaction, which also settles who is first
when several processes ask for the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import Broken, Rejected, Transient
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.lookups import chunks, find_lanes, find_projects
from penstock_storage.catalog.tables import (
    MAX_LANE,
    MAX_NUMBER,
    entities,
    keys,
    lanes,
    projects,
    runs,
)
from penstock_storage.catalog.updates import deleted_among, stamp_new_runs
from penstock_storage.interface import RunRef

__all__ = ["add_entities", "add_keys", "add_lanes", "add_projects", "add_runs"]


async def add_runs(
    database: Database, connection: AsyncConnection, refs: Sequence[RunRef], now: int
) -> None:
    """Create these runs, and their projects and entities, where missing."""
    owners = sorted({(ref.entity, ref.project) for ref in refs})
    await add_projects(database, connection, owners, now)
    numbers = await find_projects(connection, owners)
    rows = [
        {
            "project": numbers[ref.entity, ref.project],
            "run": ref.run,
            "name": ref.run,
            "state": "running",
            "created_at": now,
            "updated_at": now,
        }
        for ref in refs
    ]
    await connection.execute(database.insert_missing(runs), rows)
    await stamp_new_runs(connection, numbers.values(), now)
    await _check_numbers(connection, runs)


async def add_projects(
    database: Database, connection: AsyncConnection, wanted: Sequence[tuple[str, str]], now: int
) -> None:
    """Create these projects, and their entities, where missing; deleted ones are there again."""
    await add_entities(database, connection, [entity for entity, _ in wanted], now)
    await connection.execute(
        database.insert_missing(projects),
        [{"entity": entity, "project": project, "created_at": now} for entity, project in wanted],
    )
    numbers = await find_projects(connection, wanted, hidden=True)
    for chunk in chunks(sorted(numbers.values())):
        await connection.execute(
            update(projects)
            .where(projects.c.number.in_(chunk), projects.c.deleted_at > 0)
            .values(deleted_at=0)
        )


async def add_entities(
    database: Database, connection: AsyncConnection, names: Sequence[str], now: int
) -> None:
    await connection.execute(
        database.insert_missing(entities),
        [{"name": name, "created_at": now} for name in sorted(set(names))],
    )


async def add_keys(
    database: Database, connection: AsyncConnection, project: int, names: Sequence[str]
) -> None:
    """Create these keys of a project where missing."""
    await connection.execute(
        database.insert_missing(keys), [{"project": project, "name": name} for name in names]
    )
    await _check_numbers(connection, keys)


async def add_lanes(
    connection: AsyncConnection, wanted: Mapping[tuple[int, str], tuple[int, int]]
) -> dict[tuple[int, str], int]:
    """The lanes of (run, writer) -> (rank, started), handed out where missing.

    Raises `Rejected` if a run has more writers than a lane can number, `Transient` if one was deleted
    since its number was looked up.
    """
    numbers = sorted({run for run, _ in wanted})
    await _lock_runs(connection, numbers)
    if await deleted_among(connection, numbers):
        raise Transient("a run was deleted meanwhile", code="run_deleted")
    given = await find_lanes(connection, wanted)
    following = await _first_free_lanes(connection, numbers)
    rows = []
    for (run, writer), (rank, started) in wanted.items():
        if (run, writer) in given:
            continue
        lane = following.get(run, 0)
        if lane > MAX_LANE:
            raise Rejected(f"run {run} has {lane} writers already", code="too_many_writers")
        following[run] = lane + 1
        given[run, writer] = lane
        rows.append({"run": run, "lane": lane, "writer": writer, "rank": rank, "started": started})
    if rows:
        await connection.execute(lanes.insert(), rows)
    return given


async def _first_free_lanes(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, int]:
    free: dict[int, int] = {}
    for chunk in chunks(numbers):
        query = (
            select(lanes.c.run, func.max(lanes.c.lane))
            .where(lanes.c.run.in_(chunk))
            .group_by(lanes.c.run)
        )
        free |= {run: last + 1 for run, last in await connection.execute(query)}
    return free


async def _lock_runs(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Let nobody else hand out lanes of these runs until the transaction ends."""
    for chunk in chunks(numbers):
        query = select(runs.c.number).where(runs.c.number.in_(chunk)).order_by(runs.c.number)
        await connection.execute(query.with_for_update())


async def _check_numbers(connection: AsyncConnection, table: Table) -> None:
    highest = await connection.scalar(select(func.max(table.c.number)))
    if highest is not None and highest > MAX_NUMBER:
        raise Broken(f"the catalog's table {table.name} has used up its 32-bit numbers")
