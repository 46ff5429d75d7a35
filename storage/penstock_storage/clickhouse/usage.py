"""What the point store takes up: the size of its tables, and the room on its disks."""

from __future__ import annotations

from typing import NamedTuple

from penstock_storage.clickhouse.schema import COLUMNS, DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = [
    "StoreDisk",
    "TableUsage",
    "count_stored_runs",
    "read_free_bytes",
    "read_store_disks",
    "read_table_usage",
]

_TABLES = (
    "SELECT table, sum(bytes_on_disk) AS bytes, count() AS parts, sum(rows) AS rows "
    "FROM system.parts WHERE active AND database = {database:String} GROUP BY table"
)


class TableUsage(NamedTuple):
    """A table's bytes on disk, its parts that are not merged yet, and its rows, repeats included."""

    bytes: int
    parts: int
    rows: int


class StoreDisk(NamedTuple):
    """One of the store's disks; `free` and `total` in bytes."""

    name: str
    free: int
    total: int


async def read_table_usage(store: PointStore) -> dict[str, TableUsage]:
    """The usage of every table of the schema, in its order; an empty one has none."""
    found = await store.query(_TABLES, {"database": DATABASE})
    columns = (found[name] for name in ("table", "bytes", "parts", "rows"))
    usage = {
        str(table): TableUsage(*map(int, counts))
        for table, *counts in zip(*columns, strict=True)
    }  # fmt: skip
    return {table: usage.get(table, TableUsage(0, 0, 0)) for table in COLUMNS}


async def read_store_disks(store: PointStore) -> list[StoreDisk]:
    """The disks that the store uses."""
    found = await store.query(
        "SELECT name, free_space AS free, total_space AS total FROM system.disks"
    )
    columns = (found[name] for name in ("name", "free", "total"))
    return [
        StoreDisk(str(name), int(free), int(total))
        for name, free, total in zip(*columns, strict=True)
    ]


async def read_free_bytes(store: PointStore) -> int:
    """The free space on all disks of the store together."""
    found = await store.query("SELECT sum(free_space) AS free FROM system.disks")
    return int(found["free"][0])


async def count_stored_runs(store: PointStore) -> int:
    """How many runs have sent a batch."""
    found = await store.query(
        f"SELECT uniqExact(id) AS runs FROM {DATABASE}.names WHERE kind = 'run'"
    )
    return int(found["runs"][0])
