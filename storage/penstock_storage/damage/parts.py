"""The parts of tables, and which of them are missing.

A table is a set of parts, each with the inserts of a range of block numbers; merging parts joins their
ranges. So a recorded part that is not in the range of any present part was lost, regardless of merges.
ClickHouse itself does not report that: it detaches a part that it cannot open and continues without it,
and does not notice a missing folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Transient
from penstock_storage.clickhouse.schema import COLUMNS, DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = [
    "DataPart",
    "Inventory",
    "LostPart",
    "corrupt_tables",
    "lost_parts",
    "read_inventory",
    "save_rows",
    "unreadable_parts",
]  # fmt: skip

_ROWS_PER_COPY = 2**20
_MIN_ROWS = 8_192  # a granule: the unit of reading, and so of loss
_MAX_CHECK_S = 3_600
# Errors about the content of the disk, not about the statement.
_CORRUPT = (
    "CHECKSUM_DOESNT_MATCH", "CORRUPTED_DATA", "CANNOT_READ_ALL_DATA", "ATTEMPT_TO_READ_AFTER_EOF",
    "CANNOT_DECOMPRESS", "FILE_DOESNT_EXIST", "CANNOT_OPEN_FILE", "UNKNOWN_CODEC",
    "BAD_SIZE_OF_FILE_IN_DATA_PART", "UNEXPECTED_FILE_IN_DATA_PART", "NO_FILE_IN_DATA_PART",
    "CANNOT_READ_FROM_FILE_DESCRIPTOR", "INCORRECT_DATA", "TOO_LARGE_SIZE_COMPRESSED",
)  # fmt: skip
_MISSING_FILE = "No such file or directory"
_IN_TABLE = re.compile(re.escape(DATABASE) + r"\.(\w+)")


class DataPart(NamedTuple):
    """Rows of the inserts from `first` to `last`."""

    first: int
    last: int
    rows: int


class LostPart(NamedTuple):
    """A missing part. `rows` is None if unknown."""

    table: str
    name: str
    rows: int | None


class Inventory(NamedTuple):
    """The parts of each table, the detached ones (`table/name`), and when they were recorded."""

    parts: Mapping[str, Sequence[DataPart]]
    aside: Sequence[str] = ()
    noted_at: int = 0

    def to_text(self) -> str:
        return json.dumps(self._asdict(), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Inventory:
        content = json.loads(text)
        parts = {table: [DataPart(*each) for each in of] for table, of in content["parts"].items()}
        return cls(parts, content["aside"], content["noted_at"])


async def read_inventory(store: PointStore) -> Inventory:
    """The current inventory."""
    found = await store.query(
        "SELECT table, toInt64(min_block_number) AS first, toInt64(max_block_number) AS last,"
        f" toUInt64(rows) AS rows FROM system.parts WHERE database = '{DATABASE}' AND active"
        # The inventory itself is stored there. A store that loses it gets a new id and clock, and starts over.
        " AND table != 'meta' ORDER BY table, first"
    )
    parts: dict[str, list[DataPart]] = {}
    columns = (found[name] for name in ("table", "first", "last", "rows"))
    for table, *numbers in zip(*columns, strict=True):
        parts.setdefault(table, []).append(DataPart(*map(int, numbers)))
    aside = await store.query(
        f"SELECT table, name FROM system.detached_parts WHERE database = '{DATABASE}'"
        " ORDER BY table, name"
    )
    names = [f"{t}/{name}" for t, name in zip(aside["table"], aside["name"], strict=True)]
    return Inventory(parts, names)


def lost_parts(before: Inventory | None, now: Inventory) -> list[LostPart]:
    """The parts missing since `before` (None: nothing was recorded yet). Pure."""
    lost = []
    for table, parts in (before.parts if before else {}).items():
        there = now.parts.get(table, ())
        lost += [
            LostPart(table, f"{part.first}…{part.last}", part.rows)
            for part in parts
            if not any(each.first <= part.first and part.last <= each.last for each in there)
        ]
    told = {part.table for part in lost}
    known = set(before.aside) if before else set()
    for name in now.aside:
        table, _, part = name.partition("/")
        # A part that came and went between two checks was never recorded.
        if name not in known and table in COLUMNS and table not in told:
            lost.append(LostPart(table, part, None))
    return lost


async def corrupt_tables(
    store: PointStore, known: Mapping[str, int]
) -> tuple[set[str], dict[str, int]]:
    """The tables with new damage since the error counts `known`, and the current counts."""
    found = await store.query(
        "SELECT name, toUInt64(sum(value)) AS count, anyLast(last_error_message) AS message"
        f" FROM system.errors WHERE name IN ({', '.join(map(repr, _CORRUPT))}) GROUP BY name"
    )
    counts = {str(name): int(n) for name, n in zip(found["name"], found["count"], strict=True)}
    new = [
        str(message)
        for name, message in zip(found["name"], found["message"], strict=True)
        if counts[name] > known.get(name, 0)
    ]
    if not new:
        return set(), counts
    places = await store.query(
        f"SELECT name, toString(uuid) AS uuid FROM system.tables WHERE database = '{DATABASE}'"
    )
    folders = dict(zip(places["uuid"], places["name"], strict=True))
    tables = set()
    for message in new:
        tables |= {table for table in _IN_TABLE.findall(message) if table in COLUMNS}
        tables |= {table for uuid, table in folders.items() if uuid in message}
    return tables, counts


async def unreadable_parts(store: PointStore, table: str) -> list[str]:
    """The parts of a table with changed files. Reads the whole table."""
    parts = await store.query(
        f"SELECT name FROM system.parts WHERE database = '{DATABASE}' AND table = '{_known(table)}'"
        " AND active"
    )
    broken = []
    for name in parts["name"]:
        checked = await store.query(
            f"CHECK TABLE {DATABASE}.{table} PART '{name}'"
            f" SETTINGS check_query_single_value_result = 0, max_execution_time = {_MAX_CHECK_S}"
        )
        if any(not int(each) for each in checked["is_passed"]):
            broken.append(str(name))
    return broken


async def save_rows(store: PointStore, table: str, part: str) -> int:
    """Remove a damaged part from its table after copying its readable rows; returns the number of
    unreadable rows. Rows written twice are merged by their key."""
    found = await store.query(
        f"SELECT toUInt64(rows) AS rows FROM system.parts WHERE database = '{DATABASE}'"
        f" AND table = '{_known(table)}' AND name = '{part}' AND active"
    )
    if not len(found["rows"]):
        return 0  # merged meanwhile, so it was readable
    rows = int(found["rows"][0])
    lost = 0
    for start in range(0, rows, _ROWS_PER_COPY):
        lost += await _copy(store, table, part, start, min(rows, start + _ROWS_PER_COPY))
    await store.execute(f"ALTER TABLE {DATABASE}.{table} DETACH PART '{part}'")
    return lost


async def _copy(store: PointStore, table: str, part: str, start: int, end: int) -> int:
    try:
        await store.execute(
            f"INSERT INTO {DATABASE}.{table} SELECT * FROM {DATABASE}.{table} WHERE _part = '{part}'"
            f" AND _part_offset >= {start} AND _part_offset < {end}"
        )
    except (Broken, Transient) as error:
        if isinstance(error, Transient) and error.code != ErrorCode.STORE_DAMAGED:
            raise
        if _MISSING_FILE in str(error):
            return end - start  # whatever the range
        if end - start <= _MIN_ROWS:
            return end - start
        # Halves, in whole granules.
        middle = start + max(_MIN_ROWS, (end - start) // 2 // _MIN_ROWS * _MIN_ROWS)
        return await _copy(store, table, part, start, middle) + await _copy(
            store, table, part, middle, end
        )
    return 0


def _known(table: str) -> str:
    if table not in COLUMNS:
        raise ValueError(table)
    return table
