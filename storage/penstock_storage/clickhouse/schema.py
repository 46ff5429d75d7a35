"""The tables of the point store, as ClickHouse DDL: one template for chDB and for ClickHouse.

Every table replaces or merges rows by key, so inserting a batch again changes nothing (it dedupes):
this makes redelivery safe. Never add a column that must be summed over inserts.
"""

from __future__ import annotations

import numpy as np

__all__ = ["COLUMNS", "DATABASE", "KEEP_EMPTY", "SCHEMA_VERSION", "create_statements"]

DATABASE = "penstock"
SCHEMA_VERSION = 2
"""2: tiers have several widths."""

_DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"
KEEP_EMPTY = "remove_empty_parts = 0"
"""A part whose rows were all deleted stays until it is merged, so a missing part was lost on disk."""

# table -> (columns with codecs, engine, order)
_TABLES: dict[str, tuple[str, str, str]] = {
    "points": (
        """key UInt32, run UInt32, lane UInt16,
        step Int64 CODEC(DoubleDelta, ZSTD(1)),
        v Float64 CODEC(Gorilla, ZSTD(1)),
        seq UInt32 CODEC(ZSTD(1))""",
        "ReplacingMergeTree(seq)",
        "key, run, lane, step",
    ),
    "times": (
        """run UInt32, lane UInt16,
        step Int64 CODEC(DoubleDelta, ZSTD(1)),
        t Int64 CODEC(DoubleDelta, ZSTD(1)),
        seq UInt32 CODEC(ZSTD(1))""",
        "ReplacingMergeTree(seq)",
        "run, lane, step",
    ),
    "values": (
        """key UInt32, run UInt32, lane UInt16, step Int64,
        kind LowCardinality(String), json String CODEC(ZSTD(1)), seq UInt32""",
        "ReplacingMergeTree(seq)",
        "key, run, lane, step",
    ),
    "console": (
        """run UInt32, lane UInt16, line Int64, stream LowCardinality(String),
        t Int64, text String CODEC(ZSTD(1)), seq UInt32""",
        "ReplacingMergeTree(seq)",
        "run, lane, line",
    ),
    # One row per series and commit, merged by min / max only. `last` = (seq << 32 | row, value):
    # the value logged last. `kinds`: bit 0 a float was logged, bit 1 an integer. `tiered`: below
    # this step, rows of every width exist in `tiers` for each bucket that has points (none: -2^63).
    "series": (
        """run UInt32, key UInt32, lane UInt16,
        first_step SimpleAggregateFunction(min, Int64),
        last_step SimpleAggregateFunction(max, Int64),
        last SimpleAggregateFunction(max, Tuple(UInt64, Float64)),
        kinds SimpleAggregateFunction(groupBitOr, UInt8),
        tiered SimpleAggregateFunction(max, Int64)""",
        "AggregatingMergeTree",
        "run, key, lane",
    ),
    # The durable position of each writer: every seq <= low is in the store, and so are those in gaps.
    "applied": (
        """run UInt32, lane UInt16, writer String, low UInt32, gaps Array(UInt32),
        dead Array(UInt32), ver UInt64""",
        "ReplacingMergeTree(ver)",
        "run, writer",
    ),
    # One row per batch, written with its points: a repeat of its number is compared with it.
    # `points` as received, before repeats of a step within the batch were dropped.
    "batches": (
        """run UInt32, lane UInt16, seq UInt32 CODEC(DoubleDelta, ZSTD(1)),
        digest UInt64 CODEC(NONE), points UInt32 CODEC(ZSTD(1)), records UInt32 CODEC(ZSTD(1))""",
        "ReplacingMergeTree",
        "run, lane, seq",
    ),
    # Batches with points in a damaged part; `points` and `records`: how many were lost.
    # `found`: the batch was sent again.
    "lost": (
        """run UInt32, lane UInt16, seq UInt32, points UInt32, records UInt32, found UInt8,
        ver UInt64""",
        "ReplacingMergeTree(ver)",
        "run, lane, seq",
    ),
    "names": (
        "kind LowCardinality(String), id UInt32, project UInt32, name String, ver UInt64",
        "ReplacingMergeTree(ver)",
        "kind, project, id",
    ),
    # LZ4, because charts wait for these rows: a quarter faster to read for a twentieth more bytes.
    "tiers": (
        """key UInt32, run UInt32, lane UInt16, shift UInt8,
        bucket Int64 CODEC(DoubleDelta, LZ4),
        first_step Int64 CODEC(DoubleDelta, LZ4), last_step Int64 CODEC(DoubleDelta, LZ4),
        min Float64 CODEC(LZ4), max Float64 CODEC(LZ4), sum Float64 CODEC(LZ4),
        count UInt32 CODEC(LZ4),
        first Float64 CODEC(LZ4), last Float64 CODEC(LZ4),
        non_finite UInt32 CODEC(LZ4), ver UInt64 CODEC(LZ4)""",
        "ReplacingMergeTree(ver)",
        "key, shift, run, lane, bucket",
    ),
    # Buckets below the watermark that a late point touched: read raw until rebuilt (dirty = 0).
    "dirty": (
        "key UInt32, run UInt32, lane UInt16, shift UInt8, bucket Int64, dirty UInt8, ver UInt64",
        "ReplacingMergeTree(ver)",
        "key, shift, run, lane, bucket",
    ),
    "meta": (
        "name String, value String, ver UInt64",
        "ReplacingMergeTree(ver)",
        "name",
    ),
}

_U16, _U32, _U64 = np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8")
_U8, _I64, _F64 = np.dtype("u1"), np.dtype("<i8"), np.dtype("<f8")


def create_statements() -> list[str]:
    """The statements that set up an empty store; each may be run again."""
    statements = [f"CREATE DATABASE IF NOT EXISTS {DATABASE}"]
    for table, (columns, engine, order) in _TABLES.items():
        statements.append(
            f"CREATE TABLE IF NOT EXISTS {DATABASE}.{table} ({columns}) "
            f"ENGINE = {engine} ORDER BY ({order}) SETTINGS {_DURABLE}, {KEEP_EMPTY}"
        )
    return statements


# The columns of an insert: column name -> (ClickHouse type in Native format, numpy type or None for
# columns given as Python lists). LowCardinality is a storage matter; inserts send plain strings.
COLUMNS: dict[str, dict[str, tuple[str, np.dtype[np.generic] | None]]] = {
    "points": {
        "key": ("UInt32", _U32), "run": ("UInt32", _U32), "lane": ("UInt16", _U16),
        "step": ("Int64", _I64), "v": ("Float64", _F64), "seq": ("UInt32", _U32),
    },
    "times": {
        "run": ("UInt32", _U32), "lane": ("UInt16", _U16), "step": ("Int64", _I64),
        "t": ("Int64", _I64), "seq": ("UInt32", _U32),
    },
    "values": {
        "key": ("UInt32", _U32), "run": ("UInt32", _U32), "lane": ("UInt16", _U16),
        "step": ("Int64", _I64), "kind": ("String", None), "json": ("String", None),
        "seq": ("UInt32", _U32),
    },
    "console": {
        "run": ("UInt32", _U32), "lane": ("UInt16", _U16), "line": ("Int64", _I64),
        "stream": ("String", None), "t": ("Int64", _I64), "text": ("String", None),
        "seq": ("UInt32", _U32),
    },
    "series": {
        "run": ("UInt32", _U32), "key": ("UInt32", _U32), "lane": ("UInt16", _U16),
        "first_step": ("Int64", _I64), "last_step": ("Int64", _I64),
        "last": ("Tuple(UInt64, Float64)", None),
        "kinds": ("UInt8", _U8), "tiered": ("Int64", _I64),
    },
    "applied": {
        "run": ("UInt32", _U32), "lane": ("UInt16", _U16), "writer": ("String", None),
        "low": ("UInt32", _U32), "gaps": ("Array(UInt32)", None), "dead": ("Array(UInt32)", None),
        "ver": ("UInt64", _U64),
    },
    "batches": {
        "run": ("UInt32", _U32), "lane": ("UInt16", _U16), "seq": ("UInt32", _U32),
        "digest": ("UInt64", _U64), "points": ("UInt32", _U32), "records": ("UInt32", _U32),
    },
    "lost": {
        "run": ("UInt32", _U32), "lane": ("UInt16", _U16), "seq": ("UInt32", _U32),
        "points": ("UInt32", _U32), "records": ("UInt32", _U32), "found": ("UInt8", _U8),
        "ver": ("UInt64", _U64),
    },
    "names": {
        "kind": ("String", None), "id": ("UInt32", _U32), "project": ("UInt32", _U32),
        "name": ("String", None), "ver": ("UInt64", _U64),
    },
    "tiers": {
        "key": ("UInt32", _U32), "run": ("UInt32", _U32), "lane": ("UInt16", _U16),
        "shift": ("UInt8", _U8), "bucket": ("Int64", _I64),
        "first_step": ("Int64", _I64), "last_step": ("Int64", _I64),
        "min": ("Float64", _F64), "max": ("Float64", _F64), "sum": ("Float64", _F64),
        "count": ("UInt32", _U32), "first": ("Float64", _F64), "last": ("Float64", _F64),
        "non_finite": ("UInt32", _U32), "ver": ("UInt64", _U64),
    },
    "dirty": {
        "key": ("UInt32", _U32), "run": ("UInt32", _U32), "lane": ("UInt16", _U16),
        "shift": ("UInt8", _U8), "bucket": ("Int64", _I64), "dirty": ("UInt8", _U8),
        "ver": ("UInt64", _U64),
    },
    "meta": {"name": ("String", None), "value": ("String", None), "ver": ("UInt64", _U64)},
}  # fmt: skip
"""Columns by table, in insert order. A `Tuple(UInt64, Float64)` column is given as a pair of numpy
arrays, an `Array(UInt32)` column as a list of lists, a `String` column as a list of str."""
