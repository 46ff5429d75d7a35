"""The statements that count points, aggregate them into the narrowest tier rows, and read tier rows back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from penstock_storage.clickhouse.aggregates import AGGREGATES, named, sql_of_points, stored
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.clickhouse.tiers import TIER_SHIFT

__all__ = [
    "TIER_COLUMNS",
    "Window",
    "count_statement",
    "fine_statement",
    "points_condition",
    "stored_statement",
    "tiers_conditions",
]

Window = tuple[int, int, int, int]
"""(key, lane, first, end), shared by several runs: steps or buckets, `first` <= each < `end`."""

TIER_COLUMNS = ("bucket", *AGGREGATES)
"""Of a tier row, beside its series, width and version."""


def points_condition(grouped: Mapping[Window, Sequence[int]]) -> str:
    """Selects the points in these windows of steps; `grouped` has the runs of each."""
    return " OR ".join(_conditions(grouped, "step"))


def tiers_conditions(shift: int, grouped: Mapping[Window, Sequence[int]]) -> list[str]:
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
        f" FROM {DATABASE}.points {'FINAL' if final else ''} PREWHERE {where}"
        " GROUP BY key, run, lane, bucket SETTINGS optimize_aggregation_in_order = 1"
    )


def stored_statement(conditions: Iterable[str]) -> str:
    """Tier rows of several widths, as they are stored."""
    return (
        f"SELECT key, run, lane, shift, {', '.join(TIER_COLUMNS)} FROM {DATABASE}.tiers FINAL"
        f" PREWHERE {' OR '.join(conditions)}"
    )


def count_statement(grouped: Mapping[Window, Sequence[int]]) -> str:
    """Points of each series in these windows, repeats included: columns key, run, lane, points."""
    return (
        f"SELECT key, run, lane, toUInt64(count()) AS points FROM {DATABASE}.points "
        f"WHERE {points_condition(grouped)} GROUP BY key, run, lane"
    )


def _conditions(grouped: Mapping[Window, Sequence[int]], column: str) -> Iterator[str]:
    # All of these are the caller's own integers.
    for (key, lane, first, end), runs in grouped.items():
        yield (
            f"(key = {key} AND run IN ({', '.join(map(str, runs))}) AND lane = {lane} "
            f"AND {column} >= {first} AND {column} < {end})"
        )
