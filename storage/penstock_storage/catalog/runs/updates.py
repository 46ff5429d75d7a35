"""Writes to existing runs: changes, and signs of life.

Every transaction locks the runs that it changes, in the order of their numbers, then their projects,
whose ticks it increments. So there are no deadlocks, and ticks become visible in order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import bindparam, case, literal_column, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import Broken
from penstock.wire.run_fields import STORED_FIELDS, FieldShape, names_of
from penstock_common.http.payloads import mapping_of, texts_of
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.runs.changes import SILENT, revive
from penstock_storage.catalog.runs.heard import edited_keys, heard_before
from penstock_storage.catalog.runs.row_size import apply_changes
from penstock_storage.catalog.tables import GOING_ON, lanes, projects, runs, tombstones
from penstock_storage.contracts.interface import RunChange

__all__ = [
    "change_runs",
    "deleted_among",
    "edited_summaries",
    "mark_crashed",
    "next_ticks",
    "stamp_new_runs",
    "touch_runs",
]  # fmt: skip

Row = dict[str, Any]

_CHANGEABLE = (
    *(name for name in STORED_FIELDS if name not in ("run", "created_at")),
    "heard", "edited", "tick", "silent",
)  # fmt: skip
_LISTS = names_of(FieldShape.TEXTS)
_SECTIONS = (*names_of(FieldShape.OBJECT), "versions", "heard")


async def change_runs(connection: AsyncConnection, changes: Sequence[RunChange], now: int) -> None:
    """Apply all changes except those of runs that were deleted meanwhile. Raises `Broken` if a run never
    existed."""
    by_run: dict[int, list[RunChange]] = {}
    for change in changes:
        by_run.setdefault(change.run, []).append(change)
    rows = await _locked(connection, sorted(by_run))
    ticks = await next_ticks(connection, {row["project"] for row in rows}, now)
    for row in rows:
        row["tick"] = ticks[row["project"]]
        row["updated_at"] = max(row["updated_at"], now)
        apply_changes(row, by_run[row["number"]])
        row["edited"] = bool(edited_keys(row["heard"], row["summary"], "summary"))
    if rows:
        await _write(connection, rows)


async def edited_summaries(connection: AsyncConnection) -> dict[int, set[str]]:
    """The runs that go on with values in their summary that an edit set, and their keys."""
    goes_on = runs.c.state.in_(GOING_ON)
    query = select(runs.c.number, runs.c.summary, runs.c.heard, runs.c.versions)
    found: dict[int, set[str]] = {}
    for number, *columns in await connection.execute(
        query.where(literal_column("edited"), goes_on)
    ):
        summary, heard, versions = map(mapping_of, columns)
        found[number] = edited_keys(heard or heard_before(versions, {}), summary, "summary")
    return found


async def touch_runs(
    connection: AsyncConnection, numbers: Collection[int], now: int, *, ended: bool
) -> list[int]:
    """Move `updated_at` of these runs forward to `now`, for ended ones only if `ended`; returns the silent
    ones among them, which are revived."""
    is_meant = true() if ended else or_(runs.c.state.in_(GOING_ON), runs.c.silent)
    behind: dict[int, list[int]] = {}
    silent: list[int] = []
    for chunk in chunks(sorted(set(numbers))):
        query = (
            select(runs.c.number, runs.c.project, runs.c.silent)
            .where(runs.c.number.in_(chunk), runs.c.updated_at < now, is_meant)
            .order_by(runs.c.number)
        )
        for number, project, is_silent in await connection.execute(query.with_for_update()):
            behind.setdefault(project, []).append(number)
            if is_silent:
                silent.append(number)
    ticks = await next_ticks(connection, behind, now)
    for project, touched in behind.items():
        for chunk in chunks(touched):
            await connection.execute(
                update(runs)
                .where(runs.c.number.in_(chunk))
                .values(updated_at=now, tick=ticks[project])
            )
    rows = await _locked(connection, silent) if silent else []
    for row in rows:
        row["state"] = "running"
        revive(row)
    if rows:
        await _write(connection, rows)
    return silent


async def mark_crashed(
    connection: AsyncConnection, numbers: Collection[int], before: int, now: int
) -> list[int]:
    """Mark the runs among these crashed that are running, but without a sign of life since `before`;
    returns them. Their `updated_at` stays: it is the time of their last sign of life."""
    rows = [
        row
        for row in await _locked(connection, sorted(numbers))
        if row["state"] in GOING_ON and row["updated_at"] < before
    ]
    ticks = await next_ticks(connection, {row["project"] for row in rows}, now)
    for row in rows:
        row["tick"] = ticks[row["project"]]
        row["state"], row["silent"] = "crashed", True
        row["info"][SILENT] = True
    if rows:
        await _write(connection, rows)
    return [row["number"] for row in rows]


async def stamp_new_runs(connection: AsyncConnection, numbers: Collection[int], now: int) -> None:
    """Give the new runs of these projects their first tick."""
    for project, tick in (await next_ticks(connection, numbers, now)).items():
        await connection.execute(
            update(runs).where(runs.c.project == project, runs.c.tick == 0).values(tick=tick)
        )


async def next_ticks(
    connection: AsyncConnection, numbers: Collection[int], now: int
) -> dict[int, int]:
    """The next tick of each of these projects, which are locked until the transaction ends."""
    ticks: dict[int, int] = {}
    at = projects.c.updated_at
    moved = {"tick": projects.c.tick + 1, "updated_at": case((at < now, now), else_=at)}
    for chunk in chunks(sorted(numbers)):
        query = (
            select(projects.c.number, projects.c.tick)
            .where(projects.c.number.in_(chunk))
            .order_by(projects.c.number)
        )
        # Other processes may add runs to them meanwhile.
        locked = await connection.execute(query.with_for_update(key_share=True))
        ticks |= {number: tick + 1 for number, tick in locked}
        await connection.execute(update(projects).where(projects.c.number.in_(chunk)).values(moved))
    return ticks


async def _locked(connection: AsyncConnection, numbers: Sequence[int]) -> list[Row]:
    rows: list[Row] = []
    for chunk in chunks(numbers):
        query = select(runs).where(runs.c.number.in_(chunk)).order_by(runs.c.number)
        found = (await connection.execute(query.with_for_update())).mappings()
        rows += (_typed(dict(row)) for row in found)
    if len(rows) != len(numbers):
        missing = set(numbers) - {row["number"] for row in rows}
        if unknown := sorted(missing - await deleted_among(connection, missing)):
            raise Broken(f"the catalog has no runs with the numbers {unknown[:10]}")
    await _begin_heard(connection, [row for row in rows if row["versions"] and not row["heard"]])
    return rows


async def _begin_heard(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Rows that were last written by code of revision 0009."""
    writers: dict[int, dict[int, str]] = {row["number"]: {} for row in rows}
    for chunk in chunks(sorted(writers)):
        query = select(lanes.c.run, lanes.c.started, lanes.c.writer).where(lanes.c.run.in_(chunk))
        for run, started, writer in await connection.execute(query):
            writers[run][started] = writer
    for row in rows:
        row["heard"] = heard_before(row["versions"], writers[row["number"]])


def _typed(found: Row) -> Row:
    """A row to which changes can be applied: a damaged section becomes an empty one."""
    sections = {name: mapping_of(found[name]) for name in _SECTIONS}
    return {**found, **sections, **{name: list(texts_of(found[name])) for name in _LISTS}}


async def deleted_among(connection: AsyncConnection, numbers: Collection[int]) -> set[int]:
    """The runs among these that were deleted or moved."""
    found: set[int] = set()
    for chunk in chunks(sorted(numbers)):
        query = select(tombstones.c.run).where(tombstones.c.run.in_(chunk))
        found.update(await connection.scalars(query))
    return found


async def _write(connection: AsyncConnection, rows: Sequence[Row]) -> None:
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
