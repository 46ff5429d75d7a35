"""Tier rows in memory: the fold that makes each coarser width from the next finer one, and the rows to
insert. A row is a pure function of the points of its bucket: rebuilding it, in any grouping, gives the
same row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstock_storage.clickhouse.aggregates import AGGREGATES
from penstock_storage.clickhouse.tier_statements import TIER_COLUMNS, Window
from penstock_storage.clickhouse.tiers import TIER_SHIFT
from penstock_workers.batches.fold import Columns, Ints
from penstock_workers.batches.series import SeriesIndex

__all__ = [
    "dirty_columns",
    "fold_up",
    "join_buckets",
    "select_rows",
    "tier_columns",
    "windows",
]

_COUNTS = frozenset(name for name, each in AGGREGATES.items() if each.is_count)


def windows(table: SeriesIndex, series: Ints, low: Ints, high: Ints) -> dict[Window, list[int]]:
    """The runs of each window (of steps, or of buckets), so that one condition serves many
    series."""
    grouped: dict[Window, list[int]] = {}
    columns = (table.key[series], table.lane[series], low, high, table.run[series])
    for key, lane, first, end, run in zip(*(c.tolist() for c in columns), strict=True):
        grouped.setdefault((key, lane, first, end), []).append(run)
    return grouped


def select_rows(table: SeriesIndex, found: Columns) -> Columns:
    """An answer's rows, with the index of their series in place of key, run and lane."""
    key, run, lane = (np.asarray(found[name]) for name in ("key", "run", "lane"))
    change = (key[1:] != key[:-1]) | (run[1:] != run[:-1]) | (lane[1:] != lane[:-1])
    heads = np.flatnonzero(np.append(True, change)) if len(key) else np.empty(0, np.int64)
    names = zip(key[heads].tolist(), run[heads].tolist(), lane[heads].tolist(), strict=True)
    indices = np.array([table.index_of(*name) for name in names], np.int64)
    series = np.repeat(indices, np.diff(heads, append=len(key)))
    rest = {name: column for name, column in found.items() if name not in ("key", "run", "lane")}
    return {"series": series, **rest}


def fold_up(parts: list[Columns], by: int) -> Columns:
    """Fold rows of one width into rows 2^by times as wide. If several parts have the same bucket, the
    first part's row counts."""
    rows = _distinct(parts)
    if not len(rows["series"]):
        return rows
    parent = rows["bucket"] >> by
    series = rows["series"]
    change = (series[1:] != series[:-1]) | (parent[1:] != parent[:-1])
    starts = np.flatnonzero(np.append(True, change))
    ends = np.append(starts[1:], len(series)) - 1
    count = np.add.reduceat(rows["count"].astype(np.int64), starts)
    has_values = rows["count"] > 0
    folded = {"series": series[starts], "bucket": parent[starts]}
    for name, each in AGGREGATES.items():
        values = rows[name].astype(each.dtype, copy=False)
        if each.neutral is None:
            folded[name] = each.merge(values, starts, ends)
        else:
            merged = each.merge(np.where(has_values, values, each.neutral), starts, ends)
            folded[name] = np.where(count > 0, merged, 0.0)
    return folded


def join_buckets(series: Ints, buckets: Ints) -> tuple[Ints, Ints, Ints]:
    """(series, first, end) of each stretch of neighbours; pairs come sorted, without repeats."""
    if not len(series):
        return series, buckets, buckets
    change = (series[1:] != series[:-1]) | (buckets[1:] != buckets[:-1] + 1)
    starts = np.flatnonzero(np.append(True, change))
    ends = np.append(starts[1:], len(series)) - 1
    return series[starts], buckets[starts], buckets[ends] + 1


def tier_columns(
    table: SeriesIndex, levels: dict[int, Columns], ver: npt.NDArray[np.uint64]
) -> Columns:
    """What an insert into `tiers` takes: rows by shift; `ver` by series."""
    series = np.concatenate([rows["series"] for rows in levels.values()])
    columns = {
        name: np.concatenate([rows[name] for rows in levels.values()]) for name in TIER_COLUMNS
    }
    shifts = [np.full(len(rows["series"]), shift, np.uint8) for shift, rows in levels.items()]
    return {
        "key": table.key[series],
        "run": table.run[series],
        "lane": table.lane[series],
        "shift": np.concatenate(shifts),
        **{name: c.astype(np.uint32) if name in _COUNTS else c for name, c in columns.items()},
        "ver": ver[series],
    }


def dirty_columns(table: SeriesIndex, series: Ints, buckets: Ints, *, is_dirty: bool) -> Columns:
    """Rows of `dirty`, without their version."""
    return {
        "key": table.key[series],
        "run": table.run[series],
        "lane": table.lane[series],
        "shift": np.full(len(series), TIER_SHIFT, np.uint8),
        "bucket": buckets,
        "dirty": np.full(len(series), is_dirty, np.uint8),
    }


def _distinct(parts: list[Columns]) -> Columns:
    """Rows by (series, bucket); of equal ones the first part's."""
    names = ("series", *TIER_COLUMNS)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    source = np.repeat(np.arange(len(parts)), [len(part["series"]) for part in parts])
    order = np.lexsort((source, joined["bucket"], joined["series"]))
    series, bucket = joined["series"][order], joined["bucket"][order]
    is_new = np.append(True, (series[1:] != series[:-1]) | (bucket[1:] != bucket[:-1]))
    kept = order[is_new[: len(order)]]
    return {name: column[kept] for name, column in joined.items()}
