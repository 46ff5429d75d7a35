"""The catalog's side of the store's `names` table: which names it knows, and restoring missing ones.

A name is (kind, id, project, name): a project's is `entity/project`, a lane's `project` is its run and
its name `rank:started:writer`. A deleted run also has a name of the kind `gone`,
`deleted_at:moved_to:run`, from which an older copy of the catalog learns of the deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import Broken
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.names.handout import add_entities, set_outlived
from penstock_storage.catalog.runs.updates import stamp_new_runs
from penstock_storage.catalog.tables import keys, lanes, moves, projects, runs, tombstones
from penstock_storage.catalog.tombstones import (
    add_tombstone,
    delete_runs,
    note_moved,
    raise_above_deleted,
)
from penstock_storage.contracts.lanes import UNSAID, LaneStart
from penstock_storage.names import (
    GONE,
    OUTLIVED,
    START,
    gone_name,
    is_of,
    lane_name,
    outlived_name,
    start_name,
)  # fmt: skip

__all__ = ["all_names", "restore_names"]

Name = tuple[str, int, int, str]

_NUMBERED: dict[str, Table] = {"project": projects, "run": runs, "key": keys}


async def all_names(connection: AsyncConnection) -> list[Name]:
    """Every project, run, key and lane."""
    found: list[Name] = []
    query = select(projects.c.number, projects.c.entity, projects.c.project)
    found += [("project", n, 0, f"{e}/{p}") for n, e, p in await connection.execute(query)]
    query_runs = select(runs.c.number, runs.c.project, runs.c.run)
    found += [("run", n, p, name) for n, p, name in await connection.execute(query_runs)]
    query_keys = select(keys.c.number, keys.c.project, keys.c.name)
    found += [("key", n, p, name) for n, p, name in await connection.execute(query_keys)]
    for row in await connection.execute(select(lanes)):
        name = lane_name(row.rank, row.started, row.writer)
        found.append(("lane", row.lane, row.run, name))
        start = LaneStart(row.kind, row.step, row.began)
        if start != UNSAID:
            found.append(start_name(row.run, row.lane, start))
        if row.outlived:
            found.append(outlived_name(row.run, row.lane))
    gone_names = await connection.execute(select(tombstones))
    found += [gone_name(g.run, g.project, g.name, g.deleted_at, g.moved_to) for g in gone_names]
    # Copies of runs that are being moved are not runs yet.
    query_copies = select(moves.c.copy, moves.c.project, runs.c.run)
    copies = query_copies.join(runs, moves.c.run == runs.c.number)
    found += [("run", n, p, name) for n, p, name in await connection.execute(copies)]
    return found


async def restore_names(
    database: Database, connection: AsyncConnection, names: Sequence[Name], now: int
) -> None:
    """Add missing names. Raises `Broken`, before anything is added, if a number or a name is already
    taken, or a name belongs to an unknown project or run.

    Deleted runs stay deleted, even if only the store knows of the deletion."""
    known = await all_names(connection)
    gone = {number for kind, number, _, _ in (*known, *names) if kind == GONE}
    missing = [name for name in set(names) - set(known) if not is_of(gone, name)]
    missing.sort(key=lambda name: name[1])
    gone_names = [name for name in missing if name[0] == GONE]
    living = [name for name in missing if name[0] != GONE]
    # The copy of an unfinished move may collide with a run with its id: then it is not created.
    gone |= set(await connection.scalars(select(moves.c.copy)))
    _refuse_conflicts(
        [name for name in known if name[0] != GONE and not is_of(gone, name)] + living
    )
    # First, because a later run may have the id of a deleted one that this older copy still has.
    deleted_again = await _delete_again(connection, gone_names)
    await _add(database, connection, living, now)
    await _add_tombstones(connection, [name for name in gone_names if name not in deleted_again])
    await raise_above_deleted(database, connection)


async def _delete_again(connection: AsyncConnection, gone_names: Sequence[Name]) -> set[Name]:
    """Delete the runs that an older copy of the catalog still has; returns their names."""
    found: set[Name] = set()
    for name in gone_names:
        at, moved_to, _ = name[3].split(":", 2)
        if await delete_runs(connection, [name[1]], int(at)):
            await note_moved(connection, name[1], int(moved_to))
            found.add(name)
    return found


async def _add_tombstones(connection: AsyncConnection, gone_names: Sequence[Name]) -> None:
    for _, number, project, text in gone_names:
        at, moved_to, name = text.split(":", 2)
        await add_tombstone(connection, number, project, name, int(at))
        await note_moved(connection, number, int(moved_to))


def _refuse_conflicts(names: Iterable[Name]) -> None:
    by_number: dict[tuple[Any, ...], Name] = {}
    by_name: dict[tuple[Any, ...], Name] = {}
    for name in names:
        kind, number, project, text = name
        own_number: tuple[Any, ...] = (kind, number)
        own_name: tuple[Any, ...] = (kind, project, text)
        if kind == "lane":
            own_number, own_name = (kind, project, number), (*own_name[:2], text.split(":", 2)[2])
        elif kind in (START, OUTLIVED):
            own_number = own_name = (kind, project, number)
        for taken in (by_number.setdefault(own_number, name), by_name.setdefault(own_name, name)):
            if taken != name:
                raise Broken(
                    f"the catalog and the point store disagree: {taken} and {name}."
                    " They are not copies of the same Penstock; restore matching ones"
                )
    for kind, number, project, text in by_number.values():
        owner = {
            "run": "project",
            "key": "project",
            "lane": "run",
            START: "run",
            OUTLIVED: "run",
        }.get(kind)
        if owner is not None and (owner, project) not in by_number:
            raise Broken(f"{kind} {number} ({text!r}) belongs to {owner} {project}, which is lost")


async def _add(
    database: Database, connection: AsyncConnection, missing: Sequence[Name], now: int
) -> None:
    entities = [text.split("/", 1)[0] for kind, _, _, text in missing if kind == "project"]
    if entities:
        await add_entities(database, connection, entities, now)
    for kind, table in _NUMBERED.items():
        rows = [_row(name, now) for name in missing if name[0] == kind]
        if rows:
            await connection.execute(insert(table), rows)
            await database.raise_sequence(connection, table)
        if rows and table is runs:
            await stamp_new_runs(connection, {row["project"] for row in rows}, now)
    rows = [_row(name, now) for name in missing if name[0] == "lane"]
    if rows:
        await connection.execute(insert(lanes), rows)
    await set_outlived(
        connection, [(run, lane) for kind, lane, run, _ in missing if kind == OUTLIVED]
    )
    for _, lane, run, text in (name for name in missing if name[0] == START):
        kind, step, began = text.split(":")
        here = (lanes.c.run == run) & (lanes.c.lane == lane)
        start = LaneStart(kind, int(step), int(began))._asdict()
        await connection.execute(update(lanes).where(here).values(start))


def _row(name: Name, now: int) -> dict[str, Any]:
    kind, number, project, text = name
    match kind:
        case "project":
            entity, own = text.split("/", 1)
            return {"number": number, "entity": entity, "project": own, "created_at": now}
        case "run":
            # Everything else about the run is lost; its points are not.
            return {
                "number": number, "project": project, "run": text, "name": text,
                "state": "running", "created_at": now, "updated_at": now,
            }  # fmt: skip
        case "key":
            return {"number": number, "project": project, "name": text}
        case _:
            rank, started, writer = text.split(":", 2)
            return {
                "run": project, "lane": number, "writer": writer, "rank": int(rank),
                "started": int(started),
            }  # fmt: skip
