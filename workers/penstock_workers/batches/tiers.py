"""Tier rows: the statements that aggregate the narrowest from points, and the fold that makes each
coarser width from the next finer one. A row is a pure function of the points of its bucket: rebuilding
it, in any grouping, gives the same row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from penstock_storage.clickhouse.aggregates import AGGREGATES, named, sql_of_points, stored
from penstock_storage.clickhouse.tiers import TIER_SHIFT
from penstock_workers.batches.fold import Columns, Ints
from penstock_workers.batches.series import SeriesIndex

__all__ = [
    "count_statement",
    "dirty_columns",
    "fine_statement",
    "fold_up",
    "join_buckets",
    "points_condition",
    "select_rows",
    "stored_statement",
    "tier_columns",
    "tiers_conditions",
    "windows",
]

Window = tuple[int, int, int, int]
"""(key, lane, first, end), shared by several runs."""

_COLUMNS = ("bucket", *AGGREGATES)
_COUNTS = frozenset(name for name, each in AGGREGATES.items() if each.is_count)


# -- statements


def windows(table: SeriesIndex, series: Ints, low: Ints, high: Ints) -> dict[Window, list[int]]:
    """The runs of each window (of steps, or of buckets), so that one condition serves many
    series."""
    grouped: dict[Window, list[int]] = {}
    columns = (table.key[series], table.lane[series], low, high, table.run[series])
    for key, lane, first, end, run in zip(*(c.tolist() for c in columns), strict=True):
        grouped.setdefault((key, lane, first, end), []).append(run)
    return grouped


def points_condition(grouped: dict[Window, list[int]]) -> str:
    """Selects the points in these windows of steps."""
    return " OR ".join(_conditions(grouped, "step"))


def tiers_conditions(shift: int, grouped: dict[Window, list[int]]) -> list[str]:
    """Each selects the tier rows of one width in one of these windows of buckets."""
    return [f"(shift = {shift} AND {each})" for each in _conditions(grouped, "bucket")]


def fine_statement(where: str, *, final: bool) -> str:
    """The narrowest tier rows of all buckets that have points where the condition holds.

    Without FINAL, which would cost half as much again, a point stored twice counts twice: rows
    with `repeats` = 1 have to be rebuilt with it. A bucket's steps are marked in four words.
    """
    aggregates = sql_of_points(
        AGGREGATES.values(), step="step", v="v", finite="isFinite(v)", place="step"
    )
    words = (
        f"bitCount(groupBitOr(if(bitAnd(step, 192) = {word << 6},"
        " bitShiftLeft(toUInt64(1), bitAnd(step, 63)), 0)))"
        for word in range(4)
    )
    return (
        f"SELECT key, run, lane, bitShiftRight(step, {TIER_SHIFT}) AS bucket,"
        f" {named(stored(aggregates))},"
        f" toUInt8(count() > {' + '.join(words)}) AS repeats"
        f" FROM penstock.points {'FINAL' if final else ''} PREWHERE {where}"
        " GROUP BY key, run, lane, bucket SETTINGS optimize_aggregation_in_order = 1"
    )


def stored_statement(conditions: Iterable[str]) -> str:
    """Tier rows of several widths, as they are stored."""
    return (
        f"SELECT key, run, lane, shift, {', '.join(_COLUMNS)} FROM penstock.tiers FINAL"
        f" PREWHERE {' OR '.join(conditions)}"
    )


def count_statement(grouped: dict[Window, list[int]]) -> str:
    """Points of each series in these windows, repeats included: columns key, run, lane, points."""
    return (
        "SELECT key, run, lane, toUInt64(count()) AS points FROM penstock.points "
        f"WHERE {points_condition(grouped)} GROUP BY key, run, lane"
    )


def _conditions(grouped: dict[Window, list[int]], column: str) -> Iterator[str]:
    # All of these are the worker's own integers.
    for (key, lane, first, end), runs in grouped.items():
        yield (
            f"(key = {key} AND run IN ({', '.join(map(str, runs))}) AND lane = {lane} "
            f"AND {column} >= {first} AND {column} < {end})"
        )


# -- rows


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
    columns = {name: np.concatenate([rows[name] for rows in levels.values()]) for name in _COLUMNS}
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
    names = ("series", *_COLUMNS)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    source = np.repeat(np.arange(len(parts)), [len(part["series"]) for part in parts])
    order = np.lexsort((source, joined["bucket"], joined["series"]))
    series, bucket = joined["series"][order], joined["bucket"][order]
    is_new = np.append(True, (series[1:] != series[:-1]) | (bucket[1:] != bucket[:-1]))
    kept = order[is_new[: len(order)]]
    return {name: column[kept] for name, column in joined.items()}
