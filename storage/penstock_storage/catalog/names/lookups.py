"""Reads rows of the catalog by many names at once, in chunks that every database accepts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from sqlalchemy import Text, select, text, type_coerce
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.wire.run_fields import STORED_FIELDS, FieldShape, names_of
from penstock_common.http.payloads import mapping_of, texts_of
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.tables import keys, lanes, projects, runs
from penstock_storage.contracts.ids import KeyNumber, RunNumber
from penstock_storage.contracts.interface import LaneRow, LaneStart, RunRef, RunRow, RunText
from penstock_storage.contracts.lanes import BESIDE

__all__ = [
    "changed_runs", "find_keys", "find_lanes", "find_projects", "find_run_numbers",
    "find_runs", "lane_row", "newest_attempts", "read_lanes", "read_runs", "run_row", "select_runs",
]  # fmt: skip

_PART = 5_000

select_runs = select(
    *(column for column in runs.c if column.name not in ("versions", "heard", "silent")),
    projects.c.entity,
    projects.c.project.label("project_name"),
).join(projects, runs.c.project == projects.c.number)
"""The columns for `run_row`."""


_LISTS, _OBJECTS = names_of(FieldShape.TEXTS), names_of(FieldShape.OBJECT)
_VALUES = [name for name in STORED_FIELDS if name not in (*_LISTS, *_OBJECTS)]

# JSON columns stay text: callers that read this many decode what they need.
_select_texts = select(
    runs.c.number,
    runs.c.tick,
    *(
        runs.c[name] if name in _VALUES else type_coerce(runs.c[name], Text).label(name)
        for name in STORED_FIELDS
    ),
)
# As one value: SQLite uses no index for a row in a list of rows, and a statement with a placeholder for
# each would have to be rebuilt each time.
_LANES_OF = {
    "sqlite": text(
        "SELECT lanes.* FROM json_each(:asked) AS asked"
        " CROSS JOIN lanes ON lanes.run = json_extract(asked.value, '$[0]')"
        " AND lanes.writer = json_extract(asked.value, '$[1]')"
    ),
    "postgresql": text(
        "SELECT lanes.* FROM jsonb_array_elements(CAST(:asked AS jsonb)) AS asked"
        " JOIN lanes ON lanes.run = CAST(asked.value ->> 0 AS bigint)"
        " AND lanes.writer = asked.value ->> 1"
    ),
}


async def find_projects(
    connection: AsyncConnection, wanted: Iterable[tuple[str, str]], *, hidden: bool = False
) -> dict[tuple[str, str], int]:
    """The numbers of the projects among these that exist; `hidden`: also of deleted ones."""
    by_entity: dict[str, list[str]] = {}
    for entity, project in wanted:
        by_entity.setdefault(entity, []).append(project)
    found: dict[tuple[str, str], int] = {}
    for entity, names_ in by_entity.items():
        for chunk in chunks(names_):
            query = select(projects.c.project, projects.c.number).where(
                projects.c.entity == entity, projects.c.project.in_(chunk)
            )
            if not hidden:
                query = query.where(projects.c.deleted_at == 0)
            found |= {(entity, p): number for p, number in await connection.execute(query)}
    return found


async def find_runs(connection: AsyncConnection, wanted: Iterable[RunRef]) -> dict[RunRef, RunRow]:
    by_project: dict[tuple[str, str], list[str]] = {}
    for ref in wanted:
        by_project.setdefault((ref.entity, ref.project), []).append(ref.run)
    found: dict[RunRef, RunRow] = {}
    for (entity, project), number in (await find_projects(connection, by_project)).items():
        for chunk in chunks(by_project[entity, project]):
            query = select_runs.where(runs.c.project == number, runs.c.run.in_(chunk))
            for row in (await connection.execute(query)).mappings():
                found[RunRef(entity, project, row["run"])] = run_row(row)
    return found


async def find_run_numbers(
    connection: AsyncConnection, project: int, wanted: Iterable[str]
) -> dict[str, RunNumber]:
    found: dict[str, RunNumber] = {}
    for chunk in chunks(list(wanted)):
        query = select(runs.c.run, runs.c.number).where(
            runs.c.project == project, runs.c.run.in_(chunk)
        )
        found.update((name, number) for name, number in await connection.execute(query))
    return found


async def read_runs(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, RunRow]:
    found: dict[int, RunRow] = {}
    for chunk in chunks(numbers):
        query = select_runs.where(runs.c.number.in_(chunk))
        rows = (await connection.execute(query)).mappings()
        found |= {row["number"]: run_row(row) for row in rows}
    return found


async def changed_runs(
    connection: AsyncConnection, project: int, tick: int
) -> AsyncGenerator[list[RunText], None]:
    """The runs of a project that changed after `tick`, and those without a tick, in parts."""
    # Two statements: no database would use its index for one with an OR.
    for condition in (runs.c.tick > tick, runs.c.tick == 0) if tick >= 0 else (runs.c.tick >= 0,):
        query = _select_texts.where(runs.c.project == project, condition)
        async with connection.stream(query.execution_options(yield_per=_PART)) as found:
            async for part in found.partitions():
                yield [RunText(row[0], row[1], row[2:]) for row in part]


def run_row(row: RowMapping) -> RunRow:
    fields: dict[str, Any] = {name: row[name] for name in _VALUES}
    fields |= {name: texts_of(row[name]) for name in _LISTS}
    fields |= {name: mapping_of(row[name]) for name in _OBJECTS}
    return RunRow(
        number=row["number"],
        entity=row["entity"],
        project=row["project_name"],
        project_number=row["project"],
        **fields,
    )


async def find_keys(
    connection: AsyncConnection, project: int, wanted: Iterable[str]
) -> dict[str, KeyNumber]:
    found: dict[str, KeyNumber] = {}
    for chunk in chunks(list(wanted)):
        query = select(keys.c.name, keys.c.number).where(
            keys.c.project == project, keys.c.name.in_(chunk)
        )
        found.update((name, number) for name, number in await connection.execute(query))
    return found


def lane_row(row: RowMapping) -> LaneRow:
    start = LaneStart(row["kind"], row["step"], row["began"])
    return LaneRow(
        row["run"], row["lane"], row["writer"], row["rank"], row["started"], start, row["outlived"]
    )


async def find_lanes(
    connection: AsyncConnection, wanted: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], LaneRow]:
    """The lanes of these (run, writer) that have one."""
    query = _LANES_OF[connection.dialect.name]
    found: dict[tuple[int, str], LaneRow] = {}
    for chunk in chunks(sorted(set(wanted))):
        rows = (await connection.execute(query, {"asked": json.dumps(chunk)})).mappings()
        found |= {(row["run"], row["writer"]): lane_row(row) for row in rows}
    return found


async def read_lanes(connection: AsyncConnection, numbers: Iterable[int]) -> list[LaneRow]:
    """All lanes of these runs, by run, rank and order."""
    rows: list[LaneRow] = []
    for chunk in chunks(sorted(set(numbers))):
        found = await connection.execute(select(lanes).where(lanes.c.run.in_(chunk)))
        rows += (lane_row(row) for row in found.mappings())
    return sorted(rows, key=lambda row: (row.run, row.rank, row.order))


async def newest_attempts(
    connection: AsyncConnection, places: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], LaneRow]:
    """The newest lane of each of these (run, rank) that replaces earlier ones, where its start is known."""
    newest: dict[tuple[int, int], LaneRow] = {}
    for run, rank in places:
        query = (
            select(lanes)
            .where(lanes.c.run == run, lanes.c.rank == rank, lanes.c.began > 0)
            .where(lanes.c.kind != BESIDE, ~lanes.c.outlived)
            .order_by(lanes.c.began.desc(), lanes.c.lane.desc())
            .limit(1)
        )
        for row in (await connection.execute(query)).mappings():
            newest[run, rank] = lane_row(row)
    return newest
