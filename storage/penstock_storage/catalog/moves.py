"""Moving a run into another project, in two steps: its copy gets a number, then takes its place.

Keys have different numbers in every project, so the rows in the store must be copied. The copy's number
is recorded before the first row is written under it. Until the switch, which is one transaction, the run
stays where it is; after it, the old number is purged like a deleted run's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.ids import new_reserved_name
from penstock_storage.catalog.database import Database, lock_deletions
from penstock_storage.catalog.names.handout import add_projects
from penstock_storage.catalog.names.lookups import find_projects, read_runs
from penstock_storage.catalog.runs.updates import next_ticks
from penstock_storage.catalog.tables import GOING_ON, moves, projects, runs
from penstock_storage.catalog.tombstones import (
    add_tombstone,
    delete_runs,
    note_moved,
    tables_beside_runs,
    tables_of_runs,
)
from penstock_storage.contracts.interface import Move

__all__ = ["begin_move", "finish_move", "read_moves"]

Row = dict[str, Any]


async def begin_move(
    database: Database, connection: AsyncConnection, number: int, project: str, now: int
) -> Move:
    """Record a move. One to the same project that is already in progress continues.

    Raises `Rejected`: see `Catalog.begin_move`.
    """
    row = await _locked(connection, number)
    if row is None:
        raise Rejected("there is no such run any more", code=ErrorCode.NOT_FOUND)
    if row["state"] in GOING_ON:
        raise Rejected(
            f"run {row['run']} is {row['state']}: it can be moved when it has ended",
            code=ErrorCode.STILL_RUNNING,
        )
    source = select(projects.c.entity).where(projects.c.number == row["project"])
    owner = (str(await connection.scalar(source)), project)
    await add_projects(database, connection, [owner], now)
    target = (await find_projects(connection, [owner]))[owner]
    known = (
        await connection.execute(select(moves).where(moves.c.run == number))
    ).mappings().first()  # fmt: skip
    if known is not None and known["project"] != target:
        raise Rejected("the run is being moved elsewhere", code=ErrorCode.MOVING)
    if target == row["project"] or await _is_taken(connection, target, row["run"]):
        raise Rejected(f"project {project} has a run {row['run']} already", code=ErrorCode.EXISTS)
    if known is None:
        copy = await _new_number(connection, row, now)
        await connection.execute(
            insert(moves).values(run=number, project=target, copy=copy, asked_at=now)
        )
    (move,) = await read_moves(connection, number)
    return move


async def read_moves(connection: AsyncConnection, run: int | None = None) -> list[Move]:
    """All unfinished moves, or that of one run; without those of deleted runs."""
    query = select(moves).order_by(moves.c.asked_at, moves.c.run)
    if run is not None:
        query = query.where(moves.c.run == run)
    found = (await connection.execute(query)).mappings().all()
    rows = await read_runs(connection, [each["run"] for each in found])
    return [
        Move(rows[each["run"]], each["project"], each["copy"], each["asked_at"])
        for each in found
        if each["run"] in rows
    ]


async def finish_move(connection: AsyncConnection, number: int, now: int) -> bool:
    """Switch; or cancel the move, and have the copy purged."""
    await lock_deletions(connection)
    row = await _locked(connection, number)
    move = (
        await connection.execute(select(moves).where(moves.c.run == number))
    ).mappings().first()  # fmt: skip
    if move is None:
        return False
    await connection.execute(delete(moves).where(moves.c.run == number))
    target, copy = move["project"], move["copy"]
    if (
        row is None
        or row["state"] in GOING_ON
        or await _is_taken(connection, target, row["run"])
    ):  # fmt: skip
        await add_tombstone(connection, copy, target, f"copy of {number}", now)
        return False
    tick = (await next_ticks(connection, [target], now))[target]
    await connection.execute(
        insert(runs).values({**row, "number": copy, "project": target, "tick": tick})
    )
    await connection.execute(
        update(projects).where(projects.c.number == target).values(deleted_at=0)
    )
    await _switch(connection, number, copy, now)
    return True


async def _switch(connection: AsyncConnection, number: int, copy: int, now: int) -> None:
    """Assign everything of the run to its copy, and leave a tombstone that points to it."""
    owned = []
    for table, column in tables_of_runs():
        query = select(table).where(table.c[column] == number)
        rows = (await connection.execute(query)).mappings()
        owned.append((table, [{**row, column: copy} for row in rows]))
    for table, column in tables_beside_runs():
        told = update(table).where(table.c[column] == number)
        await connection.execute(told.values({column: copy}))
    # The tombstone lists the writers, so they must still belong to the old run when it is created.
    await delete_runs(connection, [number], now)
    for table, rows_of_copy in reversed(owned):
        if rows_of_copy:
            await connection.execute(insert(table), rows_of_copy)
    await note_moved(connection, number, copy)


async def _locked(connection: AsyncConnection, number: int) -> Row | None:
    query = select(runs).where(runs.c.number == number)
    row = (await connection.execute(query.with_for_update())).mappings().first()
    return None if row is None else dict(row)


async def _is_taken(connection: AsyncConnection, project: int, name: str) -> bool:
    query = select(runs.c.number).where(runs.c.project == project, runs.c.run == name)
    return await connection.scalar(query) is not None


async def _new_number(connection: AsyncConnection, row: Row, now: int) -> int:
    """A new number from the database that no run has or will have."""
    values = {
        "project": row["project"], "run": new_reserved_name(), "state": "finished",
        "created_at": now, "updated_at": now,
    }  # fmt: skip
    added = await connection.execute(insert(runs).values(values).returning(runs.c.number))
    number = int(added.scalar_one())
    await connection.execute(delete(runs).where(runs.c.number == number))
    return number
