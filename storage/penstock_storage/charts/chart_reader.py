"""Charts: min, max, mean, last and count of every bucket of every curve, exact at any time.

A chart with few points reads them all, in one statement. Any other is planned: complete, clean buckets
come from tiers, the rest from points, with one statement for each, for any number of runs and keys.
Tier rows are cached until one of them changes. No point is dropped by sampling: a spike of one point
is in its bucket's max.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.charts.aggregate import Aggregate, aggregate
from penstock_storage.charts.attempts import LaneId, attempt_ends, contested_runs
from penstock_storage.charts.curves import (
    Chart,
    ChartQuery,
    Curve,
    LaneMode,
    curve_numbers,
    cut_curves,
    membership,
)
from penstock_storage.charts.partials import (
    CELL_BITS,
    Curves,
    Partials,
    fold_points,
    in_order,
    merge,
)
from penstock_storage.charts.plan import FOREVER, Plan, Range, choose_shift, plan_chart
from penstock_storage.charts.series import (
    Dirty,
    SeriesTable,
    read_dirty,
    read_first_steps,
    read_series,
    select,
)
from penstock_storage.charts.sources import Source, point_sources, tier_sources, whole_statement
from penstock_storage.charts.spans import Spans
from penstock_storage.charts.tier_cache import CachedTiers, TierCache
from penstock_storage.charts.times import Places, read_step_ranges, read_times
from penstock_storage.clickhouse.tiers import TIER_SHIFT
from penstock_storage.contracts.interface import Columns, LaneRow, PointStore

__all__ = ["Aggregate", "Chart", "ChartQuery", "ChartReader", "Curve", "LaneMode", "LanesOf"]

ResultT = TypeVar("ResultT")
LanesOf = Callable[[Sequence[int]], Awaitable[Sequence[LaneRow]]]
"""Returns the lanes of runs: `Catalog.lanes`, or a cache in front of it."""

_WHOLE_ROWS = 250_000
_WHOLE_ROWS_BESIDE_TIERS = 16_384
_SMALL_ROWS = 20_000
_MAX_CELLS = 5_000_000
_MAX_AGGREGATED_CELLS = 1_000_000
"""Aggregated charts get wider buckets instead of more cells: single cells are not visible."""


class _Lanes(NamedTuple):
    """The lanes of the runs, and where each ends in the latest attempt."""

    rows: Sequence[LaneRow]
    ends: dict[LaneId, int]


class _Folded(NamedTuple):
    shift: int
    cells: Partials
    curves: Curves


class ChartReader:
    """Reads charts from one store. Remembers how long series were, to guess the faster way; results never
    depend on that."""

    def __init__(self, store: PointStore, lanes_of: LanesOf) -> None:
        self._store = store
        self._lanes_of = lanes_of
        self._spans = Spans()
        self._tiers = TierCache()

    async def read(self, query: ChartQuery) -> Chart:
        """The curves of all runs and keys with points in the range.

        Raises `Rejected` if curves times buckets is too large for any chart.
        """
        if not query.runs or not query.keys:
            return Chart(1, [])
        if query.is_aggregated:
            most = max(1, _MAX_AGGREGATED_CELLS // (len(query.runs) * len(query.keys)))
            mode: LaneMode = "rank" if query.over_ranks else "latest"
            query = replace(query, buckets=min(query.buckets, most), mode=mode)
        span = _step_range(query)
        if span is not None and self._is_short(query, span):
            rows, lanes = await asyncio.gather(
                self._read_whole(query, span), self._read_lanes(query)
            )
            if rows is not None:
                return await self._finish(query, lanes, await _fold_whole(rows, query, lanes))
        return await self._read_planned(query)

    def _is_short(self, query: ChartQuery, span: Range) -> bool:
        """Whether reading all points is probably faster."""
        if not self._spans.are_fresh(query.keys, query.runs):
            return False
        has_tiers = self._spans.have_tiers(query.keys, query.runs)
        few = min(_WHOLE_ROWS, _WHOLE_ROWS_BESIDE_TIERS) if has_tiers else _WHOLE_ROWS
        return self._spans.rows(query.keys, query.runs, span) <= few

    async def _read_whole(self, query: ChartQuery, span: Range) -> Columns | None:
        """All points of the chart; None if they are too many."""
        guess = self._spans.rows(query.keys, query.runs, span)
        statement = whole_statement(query.keys, query.runs, span, guess, _WHOLE_ROWS + 1)
        rows = await select(self._store, statement)
        return None if rows and len(rows["key"]) > _WHOLE_ROWS else rows

    async def _read_lanes(self, query: ChartQuery) -> _Lanes:
        lanes = await self._lanes_of(query.runs)
        contested = contested_runs(lanes) if query.mode != "all" else set()
        if not contested:
            return _Lanes(lanes, {})
        return _Lanes(lanes, attempt_ends(lanes, await read_first_steps(self._store, contested)))

    async def _read_planned(self, query: ChartQuery) -> Chart:
        series, (lanes, visible), dirty = await asyncio.gather(
            read_series(self._store, query.runs, query.keys),
            self._read_reach(query),
            self._read_dirty(query, is_guess=True),
        )
        self._spans.note(query.keys, query.runs, series)
        _check_size(series, query)
        plan = plan_chart(series, query.buckets, visible=visible, ends=lanes.ends, dirty=dirty)
        if plan is not None and plan.tier_rows and dirty is None:
            dirty = await self._read_dirty(query, is_guess=False)
            plan = plan_chart(series, query.buckets, visible=visible, ends=lanes.ends, dirty=dirty)
        if plan is None:
            return Chart(1, [])
        curves = curve_numbers(query.mode, lanes.rows)
        state = b"" if dirty is None else dirty.state
        cells = await self._read_plan(plan, series, curves, query.mode, state)
        folded = None if cells is None else _Folded(plan.shift, cells, curves)
        return await self._finish(query, lanes, folded)

    async def _read_plan(
        self, plan: Plan, series: SeriesTable, curves: Curves, mode: LaneMode, state: bytes
    ) -> Partials | None:
        """Everything in the plan's windows. `state`: that of the dirty buckets, read before."""
        name = (mode, plan.shift, state, *((s, *windows) for s, windows in plan.tiers.items()))
        known = self._tiers.get(name) if plan.tier_rows else None
        together = mode == "latest"
        asked: list[Source] = []
        if known is None:
            asked += tier_sources(plan, series, curves, together=together)
        tiers = len(asked)
        asked += point_sources(plan, series, curves, together=together)
        answers = await asyncio.gather(*(select(self._store, each.sql) for each in asked))

        found = list(zip(asked, answers, strict=True))

        def fold() -> tuple[CachedTiers | None, Partials | None]:
            settled = known
            if settled is not None:
                curves.begin_with(settled.ids)
            elif parts := [each.fold(rows) for each, rows in found[:tiers] if rows]:
                settled = CachedTiers(merge(parts), curves.ids)
            parts = [each.fold(rows) for each, rows in found[tiers:] if rows]
            if settled is not None:
                parts.insert(0, settled.cells)
            return settled, merge(parts) if parts else None

        settled, cells = await _run(fold, sum(len(rows["key"]) for rows in answers if rows))
        if known is None and settled is not None:
            self._tiers.put(name, settled)
        return cells

    async def _read_reach(self, query: ChartQuery) -> tuple[_Lanes, Range | Mapping[LaneId, Range]]:
        """The lanes, and their requested steps."""
        span = _step_range(query)
        if span is not None:
            return await self._read_lanes(query), span
        from_us = None if query.lo is None else int(np.ceil(query.lo * 1e6))
        to_us = None if query.hi is None else int(np.floor(query.hi * 1e6))
        if query.x == "relative":
            lanes = await self._read_lanes(query)
            origins = _origins(lanes.rows)
            return lanes, await read_step_ranges(self._store, query.runs, from_us, to_us, origins)
        return await asyncio.gather(
            self._read_lanes(query), read_step_ranges(self._store, query.runs, from_us, to_us)
        )

    async def _read_dirty(self, query: ChartQuery, *, is_guess: bool) -> Dirty | None:
        """The dirty buckets; None as a guess for series that had no tiers before.

        Always read before the tiers themselves: a bucket that is rebuilt in between is then read from
        points, or from its new row.
        """
        known = self._spans.are_fresh(query.keys, query.runs)
        if is_guess and known and not self._spans.have_tiers(query.keys, query.runs):
            return None
        return await read_dirty(self._store, query.runs, query.keys, TIER_SHIFT)

    async def _finish(self, query: ChartQuery, lanes: _Lanes, folded: _Folded | None) -> Chart:
        if folded is None:
            return Chart(1, [])
        cells, curves, x = folded.cells, folded.curves, None
        if query.x != "step":
            numbers = np.array([run for _, run, _ in curves.ids], np.uint32)
            run = numbers[cells.cell >> CELL_BITS]
            x = await read_times(self._store, Places(run, cells.lane, cells["last_step"]))
            if query.x == "relative":
                origins = _origins(lanes.rows)
                began_s = np.array([origins.get(run, 0) / 1e6 for _, run, _ in curves.ids])
                x -= began_s[cells.cell >> CELL_BITS]

        def cut() -> Chart:
            width = 1 << folded.shift
            if query.is_aggregated:
                return Chart(width, [], aggregate(cells, x, membership(query, curves)))
            return Chart(width, cut_curves(cells, curves, x, lanes.rows, query.mode))

        return await _run(cut, len(cells))


def _origins(lanes: Sequence[LaneRow]) -> dict[int, int]:
    """When each run began, in microseconds: the earliest known start of a writer."""
    origins: dict[int, int] = {}
    for lane in lanes:
        if lane.started > 0:
            origins[lane.run] = min(lane.started, origins.get(lane.run, lane.started))
    return origins


def _step_range(query: ChartQuery) -> Range | None:
    """The requested steps; None if they follow from times."""
    if query.lo is None and query.hi is None:
        return Range()
    if query.x != "step":
        return None
    lo = -FOREVER if query.lo is None else int(np.ceil(query.lo))
    hi = FOREVER if query.hi is None else int(np.floor(query.hi)) + 1
    return Range(lo, hi)


async def _fold_whole(rows: Columns, query: ChartQuery, lanes: _Lanes) -> _Folded | None:
    """All points of a chart, folded into buckets whose width follows from the points."""
    if not rows:
        return None

    def fold() -> _Folded | None:
        shown = _cut(in_order(rows, "step"), lanes.ends)
        step = np.asarray(shown["step"])
        if not len(step):
            return None
        first, last = int(step.min()), int(step.max())
        shift = choose_shift(first, last, query.buckets)
        curves = curve_numbers(query.mode, lanes.rows)
        return _Folded(shift, merge([fold_points(shown, curves, shift, first >> shift)]), curves)

    return await _run(fold, len(rows["key"]))


def _cut(rows: Columns, ends: Mapping[LaneId, int]) -> Columns:
    """The rows that the latest attempt keeps."""
    if not ends:
        return rows
    run, lane, step = (np.asarray(rows[name]) for name in ("run", "lane", "step"))
    keep = np.ones(len(step), bool)
    for (cut_run, cut_lane), end in ends.items():
        keep &= (run != cut_run) | (lane != cut_lane) | (step < end)
    return {name: np.asarray(column)[keep] for name, column in rows.items()}


async def _run(work: Callable[[], ResultT], rows: int) -> ResultT:
    """Run it here if there is little to do, else in a thread."""
    return work() if rows <= _SMALL_ROWS else await asyncio.to_thread(work)


def _check_size(series: SeriesTable, query: ChartQuery) -> None:
    curves = len(np.unique(series.key.astype(np.uint64) << np.uint64(32) | series.run))
    if query.mode != "latest":
        curves = len(series)
    if curves * query.buckets > _MAX_CELLS:
        raise Rejected(
            f"{curves} curves of {query.buckets} buckets are more than one chart can hold",
            code=ErrorCode.CHART_TOO_LARGE,
        )
