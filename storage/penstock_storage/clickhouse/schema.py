"""The tables of the point store, as ClickHouse DDL: one template for chDB and for ClickHouse.

Every table replaces or merges rows by key, so inserting a batch again changes nothing (it dedupes):
this makes redelivery safe. Never add a column that must be summed over inserts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from penstock_storage.clickhouse.aggregates import AGGREGATES

__all__ = [
    "COLUMNS",
    "DATABASE",
    "KEEP_EMPTY",
    "KEY_TABLES",
    "RUN_TABLES",
    "SCHEMA_VERSION",
    "TABLES",
    "StoreTable",
    "create_statements",
]

DATABASE = "penstock"
SCHEMA_VERSION = 2
"""2: tiers have several widths."""

_DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"
KEEP_EMPTY = "remove_empty_parts = 0"
"""A part whose rows were all deleted stays until it is merged, so a missing part was lost on disk."""


@dataclass(frozen=True, slots=True)
class StoreTable:
    """A table of the store, described once: `columns` are types with their codecs, in the order of inserts."""

    columns: Mapping[str, str]
    engine: str
    order: str

    def has(self, *columns: str) -> bool:
        """Whether it has all of these columns."""
        return self.columns.keys() >= set(columns)


TABLES: dict[str, StoreTable] = {
    "points": StoreTable(
        {
            "key": "UInt32",
            "run": "UInt32",
            "lane": "UInt16",
            "step": "Int64 CODEC(DoubleDelta, ZSTD(1))",
            "v": "Float64 CODEC(Gorilla, ZSTD(1))",
            "seq": "UInt32 CODEC(ZSTD(1))",
        },
        "ReplacingMergeTree(seq)",
        "key, run, lane, step",
    ),
    "times": StoreTable(
        {
            "run": "UInt32",
            "lane": "UInt16",
            "step": "Int64 CODEC(DoubleDelta, ZSTD(1))",
            "t": "Int64 CODEC(DoubleDelta, ZSTD(1))",
            "seq": "UInt32 CODEC(ZSTD(1))",
        },
        "ReplacingMergeTree(seq)",
        "run, lane, step",
    ),
    "values": StoreTable(
        {
            "key": "UInt32",
            "run": "UInt32",
            "lane": "UInt16",
            "step": "Int64",
            "kind": "LowCardinality(String)",
            "json": "String CODEC(ZSTD(1))",
            "seq": "UInt32",
        },
        "ReplacingMergeTree(seq)",
        "key, run, lane, step",
    ),
    "console": StoreTable(
        {
            "run": "UInt32",
            "lane": "UInt16",
            "line": "Int64",
            "stream": "LowCardinality(String)",
            "t": "Int64",
            "text": "String CODEC(ZSTD(1))",
            "seq": "UInt32",
        },
        "ReplacingMergeTree(seq)",
        "run, lane, line",
    ),
    # One row per series and commit, merged by min / max only. `last` = (seq << 32 | row, value):
    # the value logged last. `kinds`: bit 0 a float was logged, bit 1 an integer. `tiered`: below
    # this step, rows of every width exist in `tiers` for each bucket that has points (none: -2^63).
    "series": StoreTable(
        {
            "run": "UInt32",
            "key": "UInt32",
            "lane": "UInt16",
            "first_step": "SimpleAggregateFunction(min, Int64)",
            "last_step": "SimpleAggregateFunction(max, Int64)",
            "last": "SimpleAggregateFunction(max, Tuple(UInt64, Float64))",
            "kinds": "SimpleAggregateFunction(groupBitOr, UInt8)",
            "tiered": "SimpleAggregateFunction(max, Int64)",
        },
        "AggregatingMergeTree",
        "run, key, lane",
    ),
    # The durable position of each writer: every seq <= low is in the store, and so are those in gaps.
    "applied": StoreTable(
        {
            "run": "UInt32",
            "lane": "UInt16",
            "writer": "String",
            "low": "UInt32",
            "gaps": "Array(UInt32)",
            "dead": "Array(UInt32)",
            "ver": "UInt64",
        },
        "ReplacingMergeTree(ver)",
        "run, writer",
    ),
    # One row per batch, written with its points: a repeat of its number is compared with it.
    # `points` as received, before repeats of a step within the batch were dropped.
    "batches": StoreTable(
        {
            "run": "UInt32",
            "lane": "UInt16",
            "seq": "UInt32 CODEC(DoubleDelta, ZSTD(1))",
            "digest": "UInt64 CODEC(NONE)",
            "points": "UInt32 CODEC(ZSTD(1))",
            "records": "UInt32 CODEC(ZSTD(1))",
        },
        "ReplacingMergeTree",
        "run, lane, seq",
    ),
    # Batches with points in a damaged part; `points` and `records`: how many were lost.
    # `found`: the batch was sent again.
    "lost": StoreTable(
        {
            "run": "UInt32",
            "lane": "UInt16",
            "seq": "UInt32",
            "points": "UInt32",
            "records": "UInt32",
            "found": "UInt8",
            "ver": "UInt64",
        },
        "ReplacingMergeTree(ver)",
        "run, lane, seq",
    ),
    "names": StoreTable(
        {
            "kind": "LowCardinality(String)",
            "id": "UInt32",
            "project": "UInt32",
            "name": "String",
            "ver": "UInt64",
        },
        "ReplacingMergeTree(ver)",
        "kind, project, id",
    ),
    # LZ4, because charts wait for these rows: a quarter faster to read for a twentieth more bytes.
    "tiers": StoreTable(
        {
            "key": "UInt32",
            "run": "UInt32",
            "lane": "UInt16",
            "shift": "UInt8",
            "bucket": "Int64 CODEC(DoubleDelta, LZ4)",
            **{name: aggregate.column for name, aggregate in AGGREGATES.items()},
            "ver": "UInt64 CODEC(LZ4)",
        },
        "ReplacingMergeTree(ver)",
        "key, shift, run, lane, bucket",
    ),
    # Buckets below the watermark that a late point touched: read raw until rebuilt (dirty = 0).
    "dirty": StoreTable(
        {
            "key": "UInt32",
            "run": "UInt32",
            "lane": "UInt16",
            "shift": "UInt8",
            "bucket": "Int64",
            "dirty": "UInt8",
            "ver": "UInt64",
        },
        "ReplacingMergeTree(ver)",
        "key, shift, run, lane, bucket",
    ),
    "meta": StoreTable(
        {
            "name": "String",
            "value": "String",
            "ver": "UInt64",
        },
        "ReplacingMergeTree(ver)",
        "name",
    ),
}

RUN_TABLES = tuple(name for name, table in TABLES.items() if table.has("run"))
"""The tables with rows of runs: a run's deletion and its move are those of its rows in all of them. `names` is
not one of them: numbers stay known for ever."""
KEY_TABLES = tuple(name for name, table in TABLES.items() if table.has("run", "key"))
"""Those of them whose rows have the number of a key as well."""

_DTYPES: dict[str, np.dtype[np.generic]] = {
    "UInt8": np.dtype("u1"),
    "UInt16": np.dtype("<u2"),
    "UInt32": np.dtype("<u4"),
    "UInt64": np.dtype("<u8"),
    "Int64": np.dtype("<i8"),
    "Float64": np.dtype("<f8"),
}
_CODEC = re.compile(r" CODEC\(.*\)$")
_STORED = re.compile(r"^(?:LowCardinality\(|SimpleAggregateFunction\(\w+, )(.*)\)$")


def create_statements() -> list[str]:
    """The statements that set up an empty store; each may be run again."""
    statements = [f"CREATE DATABASE IF NOT EXISTS {DATABASE}"]
    for name, table in TABLES.items():
        columns = ", ".join(f"{column} {kind}" for column, kind in table.columns.items())
        statements.append(
            f"CREATE TABLE IF NOT EXISTS {DATABASE}.{name} ({columns}) "
            f"ENGINE = {table.engine} ORDER BY ({table.order}) SETTINGS {_DURABLE}, {KEEP_EMPTY}"
        )
    return statements


def _inserted(kind: str) -> tuple[str, np.dtype[np.generic] | None]:
    """The type in which an insert gives a column: how the table stores it is not its concern."""
    plain = _STORED.sub(r"\1", _CODEC.sub("", kind))
    return plain, _DTYPES.get(plain)


# Column name -> (ClickHouse type in Native format, numpy type or None for columns given as Python lists).
COLUMNS: dict[str, dict[str, tuple[str, np.dtype[np.generic] | None]]] = {
    name: {column: _inserted(kind) for column, kind in table.columns.items()}
    for name, table in TABLES.items()
}
"""Columns by table, in insert order. A `Tuple(UInt64, Float64)` column is given as a pair of numpy
arrays, an `Array(UInt32)` column as a list of lists, a `String` column as a list of str."""
