"""The statements of a chart's plan, and how the rows of each are folded. Pure.

With few rows per bucket, rows are read as they are and folded in numpy, which is 2-4 times as fast as
GROUP BY; with many, the store groups them: less to transfer, and memory stays bounded. Conditions are
in PREWHERE: they name only columns of the primary key, so filtering before FINAL merges changes nothing
and saves work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from penstock_storage.charts.partials import Curves, Partials, fold_points, fold_rows, in_order
from penstock_storage.charts.plan import Plan, Range
from penstock_storage.charts.series import SeriesTable, among, int_list
from penstock_storage.charts.windows import conditions
from penstock_storage.clickhouse.aggregates import (
    CHART_AGGREGATES,
    named,
    sql_of_points,
    sql_of_rows,
)
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns

__all__ = ["Source", "point_sources", "tier_sources", "whole_statement"]

_MAX_ROWS = 1_500_000
_FEW_ROWS = 50_000
_ROWS_PER_BUCKET = 8
_ONE_THREAD_ROWS = 50_000
_MAX_LISTED = 2_000
_ONE_THREAD_TIER_ROWS = 200_000


class Source(NamedTuple):
    """A statement, and the function that turns its result into partials."""

    sql: str
    fold: Callable[[Columns], Partials]


def point_sources(
    plan: Plan, series: SeriesTable, curves: Curves, *, together: bool
) -> Iterator[Source]:
    """The points in the plan's windows. `together`: lanes of a run may be merged."""
    winner = _winner(curves, series) if together else None

    def points(rows: Columns) -> Partials:
        if plan.point_rows <= _ONE_THREAD_ROWS:
            rows = in_order(rows, "step")
        return fold_points(rows, curves, plan.shift, plan.first_bucket)

    def groups(rows: Columns) -> Partials:
        return fold_rows(rows, curves, plan.shift, plan.first_bucket)

    for where in conditions({"": plan.points}, series, "step"):
        if plan.point_rows <= min(_MAX_ROWS, _FEW_ROWS + _ROWS_PER_BUCKET * plan.point_buckets):
            yield Source(_point_rows(where, plan.point_rows), points)
        else:
            yield Source(_point_groups(where, plan.shift, winner), groups)


def tier_sources(
    plan: Plan, series: SeriesTable, curves: Curves, *, together: bool
) -> Iterator[Source]:
    """The tier rows in the plan's windows."""
    winner = _winner(curves, series) if together else None

    def fold(rows: Columns) -> Partials:
        return fold_rows(rows, curves, plan.shift, plan.first_bucket)

    by_shift = {f"shift = {shift} AND ": windows for shift, windows in plan.tiers.items()}
    for where in conditions(by_shift, series, "bucket"):
        if plan.tier_rows <= _MAX_ROWS:
            yield Source(_tier_rows(where, plan.tier_rows), fold)
        else:
            yield Source(_tier_groups(where, plan.shift, winner), fold)


def whole_statement(
    keys: Sequence[int], runs: Sequence[int], span: Range, guess: int, limit: int
) -> str:
    """All points of these series in a range of steps, up to a limit; `guess`: their approximate number."""
    order = "" if guess <= _ONE_THREAD_ROWS else " ORDER BY key, run, lane, step"
    settings = " SETTINGS max_threads = 1" if guess <= _ONE_THREAD_ROWS else ""
    return (
        f"SELECT key, run, lane, step, v FROM {DATABASE}.points FINAL"
        f" PREWHERE {among('key', keys)} AND {among('run', runs)}"
        f" AND step >= {span.lo} AND step < {span.hi}{order} LIMIT {limit}{settings}"
    )


def _point_rows(where: str, rows: int) -> str:
    return (
        f"SELECT key, run, lane, step, v FROM {DATABASE}.points FINAL PREWHERE {where}"
        f"{_in_order('key, run, lane, step', rows)}"
    )


def _tier_rows(where: str, rows: int) -> str:
    settings = " SETTINGS max_threads = 1" if rows <= _ONE_THREAD_TIER_ROWS else ""
    return (
        f"SELECT key, run, lane, {', '.join(CHART_AGGREGATES)}"
        f" FROM {DATABASE}.tiers FINAL PREWHERE {where}{settings}"
    )


def _point_groups(where: str, shift: int, winner: _Winner | None) -> str:
    aggregates = sql_of_points(
        CHART_AGGREGATES.values(),
        step="s.step",
        v="s.v",
        finite="finite",
        place=_place("s.step", winner),
    )
    return f"""
        SELECT key, run, {_lane("s.step", winner)}, bitShiftRight(s.step, {shift}) AS bucket,
            {named(aggregates)}
        FROM (SELECT key, run, lane, step, v, isFinite(v) AS finite
            FROM {DATABASE}.points FINAL PREWHERE {where}) AS s
        {_grouped(winner)}"""


def _tier_groups(where: str, shift: int, winner: _Winner | None) -> str:
    place = _place("s.last_step", winner)
    aggregates = sql_of_rows(CHART_AGGREGATES.values(), row="s", place=place)
    return f"""
        SELECT key, run, {_lane("s.last_step", winner)},
            bitShiftRight(s.first_step, {shift}) AS bucket, {named(aggregates)}
        FROM (SELECT * FROM {DATABASE}.tiers FINAL
            PREWHERE {where}) AS s
        {_grouped(winner)}"""


def _winner(curves: Curves, series: SeriesTable) -> _Winner | None:
    """SQL: how lanes of a run are merged; None if there are too many for a statement."""
    runs = set(series.run.tolist())
    by_run: dict[int, list[tuple[int, int]]] = {}
    for (run, lane), rank in curves.ranks.items():
        if run in runs:
            by_run.setdefault(run, []).append((lane, rank))
    listed = []
    for run, lanes in by_run.items():
        ranks = [rank for _, rank in sorted(lanes)]
        if ranks != sorted(ranks):  # otherwise the lowest lane has the lowest rank
            listed += [(run << 16 | lane, rank) for lane, rank in lanes]
    return _Winner(listed) if len(listed) <= _MAX_LISTED else None


class _Winner(NamedTuple):
    """SQL: among lanes that reach the same step the lowest rank comes last, as in `partials.merge`.

    `listed`: (run << 16 | lane, rank) of all lanes of the runs whose lanes are not in the order of
    their ranks.
    """

    listed: list[tuple[int, int]]

    def order(self, step: str) -> str:
        """SQL: one number, because comparing tuples costs ten times as much."""
        if not self.listed:
            return f"toInt128({step}) * 65536 - s.lane"
        ids, ranks = zip(*self.listed, strict=True)
        lane = "bitOr(bitShiftLeft(toUInt64(s.run), 16), toUInt64(s.lane))"
        place = (
            f"transform({lane}, CAST([{int_list(ids)}] AS Array(UInt64)),"
            f" CAST([{int_list(ranks)}] AS Array(Int64)), toInt64(s.lane))"
        )
        return f"toInt128({step}) * 4294967296 - {place}"


def _lane(step: str, winner: _Winner | None) -> str:
    return (
        f"argMax(s.lane, {winner.order(step)}) AS lane" if winner is not None else "s.lane AS lane"
    )


def _place(step: str, winner: _Winner | None) -> str:
    return step if winner is None else winner.order(step)


def _grouped(winner: _Winner | None) -> str:
    lane = "" if winner is not None else " s.lane,"
    return f"GROUP BY key, run,{lane} bucket ORDER BY key, run,{lane} bucket"


def _in_order(columns: str, rows: int) -> str:
    """For little work one thread is faster, and its rows are nearly always in order: others are sorted
    here. Many rows are ordered while they are read."""
    return " SETTINGS max_threads = 1" if rows <= _ONE_THREAD_ROWS else f" ORDER BY {columns}"
