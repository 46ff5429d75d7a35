"""The statements that build tier rows from points. A tier row is a pure function of the points of
its bucket: building it again, in any grouping, gives the same row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from penstock_workers.fold import TIER_SHIFT, Columns, Ints
from penstock_workers.series import SeriesTable

__all__ = ["build_statement", "count_statement", "dirty_columns", "windows"]

Window = tuple[int, int, int, int]
"""(key, lane, first step, step after the last): what several runs have in common."""


def windows(table: SeriesTable, series: Ints, low: Ints, high: Ints) -> dict[Window, list[int]]:
    """The runs of each window of steps, so that one condition serves many series."""
    grouped: dict[Window, list[int]] = {}
    columns = (table.key[series], table.lane[series], low, high, table.run[series])
    for key, lane, first, end, run in zip(*(c.tolist() for c in columns), strict=True):
        grouped.setdefault((key, lane, first, end), []).append(run)
    return grouped


def build_statement(grouped: dict[Window, list[int]], version: int) -> str:
    """Insert the tier rows of all buckets in these windows."""
    return (
        "INSERT INTO penstock.tiers "
        f"SELECT key, run, lane, {TIER_SHIFT}, bitShiftRight(step, {TIER_SHIFT}) AS bucket, "
        "min(step), max(step), minIf(v, isFinite(v)), maxIf(v, isFinite(v)), "
        "sumIf(v, isFinite(v)), toUInt32(countIf(isFinite(v))), argMin(v, step), argMax(v, step), "
        f"toUInt32(countIf(not isFinite(v))), {version} "
        f"FROM penstock.points FINAL WHERE {_condition(grouped)} "
        "GROUP BY key, run, lane, bucket"
    )


def count_statement(grouped: dict[Window, list[int]]) -> str:
    """Points of each series in these windows, repeats included: columns key, run, lane, points."""
    return (
        "SELECT key, run, lane, toUInt64(count()) AS points FROM penstock.points "
        f"WHERE {_condition(grouped)} GROUP BY key, run, lane"
    )


def dirty_columns(table: SeriesTable, series: Ints, buckets: Ints, *, is_dirty: bool) -> Columns:
    """Rows of `dirty`, without their version."""
    return {
        "key": table.key[series],
        "run": table.run[series],
        "lane": table.lane[series],
        "shift": np.full(len(series), TIER_SHIFT, np.uint8),
        "bucket": buckets,
        "dirty": np.full(len(series), is_dirty, np.uint8),
    }


def _condition(grouped: dict[Window, list[int]]) -> str:
    # All of these are integers that the worker made itself.
    return " OR ".join(
        f"(key = {key} AND run IN ({_list(runs)}) AND lane = {lane} "
        f"AND step >= {first} AND step < {end})"
        for (key, lane, first, end), runs in grouped.items()
    )


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
