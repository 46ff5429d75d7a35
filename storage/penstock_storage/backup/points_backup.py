"""Backup of the point store's tables, while it is in use, and restore.

A copy takes time, and commits go on meanwhile, so the order of the tables is what makes it consistent:

- `applied` comes first. A commit writes it last, so everything that its rows claim is in the tables
  read after it. Rows beyond that are sent again by clients, under the same keys, and replace
  themselves.
- A tier below its watermark must not lack a point that the copy has, unless it is marked dirty. So
  watermarks are read before `tiers`, these before `points`, and `dirty` both before the tiers and
  after the points: a bucket that changed in between is dirty in the copy, to be rebuilt.
- `series` is read twice: before for its watermarks, after the points for everything else, so that
  no point lies outside of its series. It merges by min and max, so both are simply inserted.
- `names` comes after everything that uses numbers, and the catalog, which assigns them before they
  are recorded, after `names`. So no number in the copy lacks its name, and none is assigned again.

`meta` is not copied: a restored store gets an id of its own, by which clients see that they must send
again what they still hold. Versions (`ver`) start over, so that any later write wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstock.errors import Broken
from penstock_storage.backup.archive import Archive, ArchiveWriter, FileWriter
from penstock_storage.charts.series import NEVER
from penstock_storage.clickhouse import native
from penstock_storage.clickhouse.schema import COLUMNS, DATABASE, SCHEMA_VERSION
from penstock_storage.contracts.interface import Column, Columns, PointStore

__all__ = ["dump_points", "load_points", "require_empty"]

_INSERT_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Dump:
    """One file: rows of a table, with some columns replaced by expressions. `merged` leaves out replaced
    rows; elsewhere they do no harm, and finding them takes time."""

    file: str
    table: str
    replaced: dict[str, str]
    merged: bool = False

    def statement(self) -> str:
        columns = ", ".join(
            f"{self.replaced[name]} AS {name}" if name in self.replaced else f"t.{name} AS {name}"
            for name in COLUMNS[self.table]
        )
        final = " FINAL" if self.merged else ""
        return f"SELECT {columns} FROM {DATABASE}.{self.table} AS t{final}"


_VERSION = {"ver": "toUInt64(1)"}
_DIRTY = _Dump("dirty", "dirty", {})
_BEFORE = (
    _Dump("applied", "applied", _VERSION, merged=True),
    _Dump("watermarks", "series", {}),
)
_AFTER = (
    _Dump("tiers", "tiers", _VERSION, merged=True),
    _Dump("points", "points", {}),
    _Dump("times", "times", {}),
    _Dump("values", "values", {}),
    _Dump("console", "console", {}),
    _Dump("batches", "batches", {}),
    _Dump("series", "series", {"tiered": f"toInt64({NEVER})"}),
)
_LAST = _Dump("names", "names", {})
_FILES = (*_BEFORE, *_AFTER, _DIRTY, _LAST)

_TIERS = frozenset({"watermarks", "tiers", "dirty"})
_YOUNGER = frozenset({"batches"})
"""Tables that older copies of the same schema do not have."""

_DIRTY_ROWS = (
    "sipHash64(t.key, t.run, t.lane, t.shift, t.bucket, t.dirty, t.ver)",
    f"FROM {DATABASE}.dirty AS t FINAL",
)


async def dump_points(
    store: PointStore, archive: ArchiveWriter, report: Callable[[str, int], None]
) -> None:
    """Copy all tables but `meta` into files of the archive, in the order that keeps them whole.

    `report` gets each file's name and its rows so far. The catalog must be copied after this.
    """
    for dump in _BEFORE:
        await _dump(store, archive, dump, dump.statement(), report)
    clean = await _clean_buckets(store)
    for dump in _AFTER:
        await _dump(store, archive, dump, dump.statement(), report)
    await _dump_dirty(store, archive, clean, report)
    await _dump(store, archive, _LAST, _LAST.statement(), report)


async def load_points(
    store: PointStore, archive: Archive, report: Callable[[str, int], None]
) -> None:
    """Load an archive's tables into a store that is set up and empty."""
    schema = int(archive.about["points_schema"])
    if schema > SCHEMA_VERSION:
        raise Broken(
            f"the backup has point schema {schema}, this Penstock knows up to {SCHEMA_VERSION}"
        )
    for dump in _FILES:
        if schema < SCHEMA_VERSION and dump.file in _TIERS:
            continue  # workers rebuild them in the current form
        if dump.file in _YOUNGER and dump.file not in archive.rows:
            continue
        rows = 0
        for columns in _gathered(_blocks(archive, dump.file)):
            await store.insert(dump.table, columns)
            rows += _rows(columns)
            report(dump.file, rows)
        if rows != archive.rows[dump.file]:
            raise Broken(f"{dump.file} has {rows} rows, not {archive.rows[dump.file]}")


async def require_empty(store: PointStore) -> None:
    """Raise `Broken` if a store that is set up holds any data."""
    for table in ("names", "applied", "points", "values"):
        found = await store.query(f"SELECT count() AS n FROM {DATABASE}.{table}")
        if int(found["n"][0]):
            raise Broken(f"the point store is not empty: its table {table} has rows")


async def _dump(
    store: PointStore,
    archive: ArchiveWriter,
    dump: _Dump,
    sql: str,
    report: Callable[[str, int], None],
) -> None:
    with archive.file(dump.file) as file:
        async for block in store.stream(sql):
            _write(file, dump.table, block)
            report(dump.file, file.rows)


async def _clean_buckets(store: PointStore) -> npt.NDArray[np.uint64]:
    """The rows of buckets that were dirty once and are clean now, each hashed to one number."""
    row_hash, source = _DIRTY_ROWS
    found = [
        np.asarray(block["hash"], np.uint64)
        async for block in store.stream(f"SELECT {row_hash} AS hash {source} WHERE dirty = 0")
    ]
    return np.sort(np.concatenate(found)) if found else np.empty(0, np.uint64)


async def _dump_dirty(
    store: PointStore,
    archive: ArchiveWriter,
    clean: npt.NDArray[np.uint64],
    report: Callable[[str, int], None],
) -> None:
    """Every row of `dirty` but those that were clean before and have not changed since."""
    row_hash, source = _DIRTY_ROWS
    columns = ", ".join(f"t.{name} AS {name}" for name in COLUMNS["dirty"])
    with archive.file(_DIRTY.file) as file:
        async for block in store.stream(f"SELECT {columns}, {row_hash} AS hash {source}"):
            hashes = np.asarray(block.pop("hash"), np.uint64)
            kept = np.flatnonzero(~np.isin(hashes, clean))
            if len(kept):
                columns_kept = {name: np.asarray(block[name])[kept] for name in block}
                ones = np.ones(len(kept), np.uint8)
                _write(file, "dirty", {**columns_kept, "dirty": ones, "ver": ones})
            report(_DIRTY.file, file.rows)


def _write(file: FileWriter, table: str, columns: Columns) -> None:
    types = {name: type_name for name, (type_name, _) in COLUMNS[table].items()}
    for piece in native.encode_block(types, columns):
        file.write(piece)
    file.rows += _rows(columns)


def _blocks(archive: Archive, name: str) -> Iterator[Columns]:
    decoder = native.BlockDecoder()
    for chunk in archive.read(name):
        yield from decoder.feed(chunk)
    yield from decoder.finish()


def _gathered(blocks: Iterator[Columns]) -> Iterator[Columns]:
    """Blocks combined into larger inserts: fewer parts."""
    pending: dict[str, list[Column]] = {}
    rows = 0
    for block in blocks:
        if rows + _rows(block) > _INSERT_ROWS and rows:
            yield {name: native.concatenate(parts) for name, parts in pending.items()}
            pending, rows = {}, 0
        for name, column in block.items():
            pending.setdefault(name, []).append(column)
        rows += _rows(block)
    if rows:
        yield {name: native.concatenate(parts) for name, parts in pending.items()}


def _rows(columns: Columns) -> int:
    first = next(iter(columns.values()))
    return len(first[0]) if isinstance(first, tuple) else len(first)
