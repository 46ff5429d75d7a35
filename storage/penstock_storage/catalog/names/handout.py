"""Assigns numbers: to projects, runs and keys from the database's sequences, to the lanes of a run from
0 upwards. All inside the caller's write transaction, which also decides between processes that ask for
the same name. Names beyond a bound get none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Transient
from penstock_common.process.bounds import Owner
from penstock_common.queue.redis_keys import run_path
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.names.census import Census
from penstock_storage.catalog.names.lookups import find_lanes, find_projects
from penstock_storage.catalog.runs.updates import deleted_among, stamp_new_runs
from penstock_storage.catalog.tables import (
    MAX_NUMBER,
    entities,
    keys,
    lanes,
    projects,
    runs,
)
from penstock_storage.contracts.ids import Lane
from penstock_storage.contracts.interface import RunRef
from penstock_storage.contracts.lanes import UNSAID, LaneStart

__all__ = ["add_entities", "add_keys", "add_lanes", "add_projects", "add_runs", "set_outlived"]

T = TypeVar("T")


async def add_runs(
    database: Database,
    connection: AsyncConnection,
    census: Census,
    refs: Sequence[RunRef],
    now: int,
    began: Mapping[RunRef, int],
) -> None:
    """Create these runs, and their projects and entities, if missing and within bounds; `began`: when
    runs started that did not start now."""
    refs = await _with_room(connection, census, refs, lambda ref: Owner("runs", ref.entity))
    owners = sorted({(ref.entity, ref.project) for ref in refs})
    if not owners:
        return
    await add_projects(database, connection, owners, now)
    numbers = await find_projects(connection, owners)
    await _lock_projects(connection, sorted(numbers.values()))
    refs = await _with_room(
        connection, census, refs, lambda ref: Owner("runs", f"{ref.entity}/{ref.project}")
    )
    rows = [
        {
            "project": numbers[ref.entity, ref.project],
            "run": ref.run,
            "name": ref.run,
            "state": "running",
            "created_at": min(now, began.get(ref, now)),
            "updated_at": now,
        }
        for ref in refs
    ]
    if not rows:
        return
    await connection.execute(database.insert_missing(runs), rows)
    await stamp_new_runs(connection, numbers.values(), now)
    await _check_numbers(connection, runs)
    for ref in refs:
        census.add(Owner("runs", ref.entity), 1)
        census.add(Owner("runs", f"{ref.entity}/{ref.project}"), 1)


async def add_projects(
    database: Database, connection: AsyncConnection, wanted: Sequence[tuple[str, str]], now: int
) -> None:
    """Create these projects, and their entities, if missing; deleted ones become visible again."""
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
    database: Database,
    connection: AsyncConnection,
    census: Census | None,
    project: int,
    names: Sequence[str],
) -> None:
    """Create these keys of a project if missing, up to the bound according to `census`."""
    (path,) = (await _lock_projects(connection, [project])).values()
    owner = Owner("keys", path)
    if census is not None:
        names = names[: await census.room(connection, owner)]
    if not names:
        return
    await connection.execute(
        database.insert_missing(keys), [{"project": project, "name": name} for name in names]
    )
    await _check_numbers(connection, keys)
    if census is not None:
        census.add(owner, len(names))


async def add_lanes(
    connection: AsyncConnection,
    census: Census,
    wanted: Mapping[tuple[int, str], tuple[int, int]],
    starts: Mapping[tuple[int, str], LaneStart],
) -> dict[tuple[int, str], Lane]:
    """The lanes of (run, writer) -> (rank, started), assigned if missing and within bounds, and then with
    their starts.

    Raises `Transient` if a run was deleted since its number was looked up.
    """
    numbers = sorted({run for run, _ in wanted})
    paths = await _lock_runs(connection, numbers)
    if await deleted_among(connection, numbers):
        raise Transient("a run was deleted meanwhile", code=ErrorCode.RUN_DELETED)
    known = await find_lanes(connection, wanted)
    given = {name: Lane(row.lane) for name, row in known.items()}
    missing = [name for name in wanted if name not in given]
    missing = await _with_room(connection, census, missing, lambda name: _of_entity(paths[name[0]]))
    missing = await _with_room(
        connection, census, missing, lambda name: Owner("writers", paths[name[0]])
    )
    following = await _first_free_lanes(connection, numbers)
    rows = []
    for run, writer in missing:
        rank, started = wanted[run, writer]
        lane = Lane(following.get(run, 0))
        following[run] = lane + 1
        given[run, writer] = lane
        start = starts.get((run, writer), UNSAID)
        rows.append(
            {
                "run": run, "lane": lane, "writer": writer, "rank": rank, "started": started,
                **start._asdict(),
            }
        )  # fmt: skip
        census.add(_of_entity(paths[run]), 1)
        census.add(Owner("writers", paths[run]), 1)
    if rows:
        await connection.execute(lanes.insert(), rows)
    return given


async def set_outlived(connection: AsyncConnection, places: Sequence[tuple[int, int]]) -> None:
    """Record that these lanes (run, lane) log beside others."""
    for run, lane in places:
        here = (lanes.c.run == run) & (lanes.c.lane == lane)
        await connection.execute(update(lanes).where(here).values(outlived=True))


def _of_entity(path: str) -> Owner:
    return Owner("writers", path.split("/", 1)[0])


async def _with_room(
    connection: AsyncConnection,
    census: Census,
    wanted: Sequence[T],
    owner_of: Callable[[T], Owner],
) -> list[T]:
    """The first of these, up to each owner's bound."""
    room: dict[Owner, int] = {}
    taken: list[T] = []
    for each in wanted:
        owner = owner_of(each)
        if owner not in room:
            room[owner] = await census.room(connection, owner)
        if room[owner] > 0:
            room[owner] -= 1
            taken.append(each)
    return taken


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


async def _lock_runs(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, str]:
    """Lock the assignment of lanes of these runs until the transaction ends; returns their paths."""
    paths: dict[int, str] = {}
    for chunk in chunks(numbers):
        query = (
            select(runs.c.number, runs.c.run, projects.c.project, projects.c.entity)
            .join(projects, runs.c.project == projects.c.number)
            .where(runs.c.number.in_(chunk))
            .order_by(runs.c.number)
        )
        found = await connection.execute(query.with_for_update(of=runs))
        paths |= {row.number: run_path(row.entity, row.project, row.run) for row in found}
    return paths


async def _lock_projects(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, str]:
    """Lock the assignment of runs and keys of these projects until the transaction ends; returns their
    paths."""
    paths: dict[int, str] = {}
    for chunk in chunks(numbers):
        query = (
            select(projects.c.number, projects.c.entity, projects.c.project)
            .where(projects.c.number.in_(chunk))
            .order_by(projects.c.number)
        )
        found = await connection.execute(query.with_for_update(key_share=True))
        paths |= {row.number: f"{row.entity}/{row.project}" for row in found}
    return paths


async def _check_numbers(connection: AsyncConnection, table: Table) -> None:
    highest = await connection.scalar(select(func.max(table.c.number)))
    if highest is not None and highest > MAX_NUMBER:
        raise Broken(f"the catalog's table {table.name} has used up its 32-bit numbers")
