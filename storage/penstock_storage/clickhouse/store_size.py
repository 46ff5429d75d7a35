"""The size of the store: of its tables, its disks, and the number of its runs."""

from __future__ import annotations

from typing import NamedTuple

from penstock_storage.clickhouse.schema import COLUMNS, DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["StoreDisk", "TableSize", "count_stored_runs", "read_store_disks", "read_table_sizes"]

_TABLES = (
    "SELECT table, sum(bytes_on_disk) AS bytes, count() AS parts, sum(rows) AS rows "
    "FROM system.parts WHERE active AND database = {database:String} GROUP BY table"
)
_DISKS = "SELECT name, free_space AS free, total_space AS total FROM system.disks"
_RUNS = f"SELECT uniqExact(id) AS runs FROM {DATABASE}.names WHERE kind = 'run'"


class TableSize(NamedTuple):
    """A table's bytes on disk, its parts not merged yet, and its rows, repeats not yet merged away."""

    bytes: int = 0
    parts: int = 0
    rows: int = 0


class StoreDisk(NamedTuple):
    """A disk of the store: its free and its total bytes."""

    name: str
    free: int
    size: int


async def read_table_sizes(store: PointStore) -> dict[str, TableSize]:
    """The size of each table of the schema, in its order. Raises the store's errors, as all of these do."""
    found = await store.query(_TABLES, {"database": DATABASE})
    columns = (found[name] for name in ("table", "bytes", "parts", "rows"))
    rows = zip(*columns, strict=True)
    sizes = {str(table): TableSize(*map(int, counts)) for table, *counts in rows}
    return {table: sizes.get(table, TableSize()) for table in COLUMNS}


async def read_store_disks(store: PointStore) -> list[StoreDisk]:
    """The disks of the store."""
    found = await store.query(_DISKS)
    columns = (found[name] for name in ("name", "free", "total"))
    return [
        StoreDisk(str(name), int(free), int(size))
        for name, free, size in zip(*columns, strict=True)
    ]


async def count_stored_runs(store: PointStore) -> int:
    """How many runs have sent a batch."""
    found = await store.query(_RUNS)
    return int(found["runs"][0])
