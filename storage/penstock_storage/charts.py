"""Charts: min, max, mean, last and count of every bucket of every curve, exact at any time.

What is whole and settled comes from tiers, the rest from points; see `plan`. A chart costs one
statement for each, however many runs and keys it has. No point is sampled away: a spike of one
point is in its bucket's max.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock.errors import Rejected
from penstock_storage.interface import LaneRow, PointStore
from penstock_storage.partials import CELL_BITS, Curves, Partials, merge
from penstock_storage.plan import FOREVER, TIER_SHIFT, Plan, Range, plan_chart
from penstock_storage.segments import LaneId, contested_runs, cuts
from penstock_storage.series import (
    SeriesTable,
    read_dirty,
    read_first_steps,
    read_series,
    select,
)
from penstock_storage.sources import sources
from penstock_storage.times import Places, read_step_ranges, read_times

__all__ = ["Chart", "ChartQuery", "Curve", "LaneMode", "LanesOf", "read_chart"]

LaneMode = Literal["latest", "rank", "all"]
LanesOf = Callable[[Sequence[int]], Awaitable[Sequence[LaneRow]]]
"""Where to ask for the lanes of runs: `Catalog.lanes`, or a cache before it."""

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_SMALL_ROWS = 20_000
_MAX_CELLS = 5_000_000


@dataclass(frozen=True, slots=True)
class ChartQuery:
    """Runs and keys by number. `lo`, `hi`: inclusive, in steps, or in seconds for `_timestamp`."""

    runs: Sequence[int]
    keys: Sequence[int]
    buckets: int = 500
    mode: LaneMode = "latest"
    x: Literal["step", "_timestamp"] = "step"
    lo: float | None = None
    hi: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """Columns, one row per bucket that holds a point, by bucket. NaN means that there is none.

    `lane` and `rank` are set where curves are per lane, `rank` alone where they are per rank.
    """

    key: int
    run: int
    lane: int | None
    rank: int | None
    step: I64
    x: F64 | I64
    min: F64
    max: F64
    mean: F64
    last: F64
    count: I64
    non_finite: I64
    first_step: I64


@dataclass(frozen=True, slots=True)
class Chart:
    """`width`: steps per bucket."""

    width: int
    curves: list[Curve]


async def read_chart(store: PointStore, query: ChartQuery, lanes_of: LanesOf) -> Chart:
    """The curves of all runs and keys that hold points in the range.

    Raises `Rejected` if curves times buckets is more than anyone could look at.
    """
    if not query.runs or not query.keys:
        return Chart(1, [])
    series, lanes = await asyncio.gather(
        read_series(store, query.runs, query.keys), lanes_of(query.runs)
    )
    _check_size(series, query)
    visible, ends = await asyncio.gather(_visible(store, query), _ends(store, query, lanes))
    plan = plan_chart(series, query.buckets, visible=visible, ends=ends)
    if plan is None:
        return Chart(1, [])
    if plan.tiers:
        dirty = await read_dirty(store, query.runs, query.keys, TIER_SHIFT)
        if len(dirty.key):
            plan = plan_chart(series, query.buckets, visible=visible, ends=ends, dirty=dirty)
            assert plan is not None  # noqa: S101 - what is dirty does not change what is visible
    curves = _curves(query.mode, lanes)
    cells = await _cells(store, plan, series, curves, query.mode)
    if cells is None:
        return Chart(1, [])
    x = None
    if query.x == "_timestamp":
        run = np.array([run for _, run, _ in curves.ids], np.uint32)[cells.cell >> CELL_BITS]
        x = await read_times(store, Places(run, cells.lane, cells.last_step))
    return Chart(1 << plan.shift, _cut_up(cells, curves, x, lanes, query.mode))


def _check_size(series: SeriesTable, query: ChartQuery) -> None:
    curves = len(np.unique(series.key.astype(np.uint64) << np.uint64(32) | series.run))
    if query.mode != "latest":
        curves = len(series)
    if curves * query.buckets > _MAX_CELLS:
        raise Rejected(
            f"{curves} curves of {query.buckets} buckets are more than one chart can hold",
            code="chart_too_large",
            hint="Ask for fewer runs or keys, or set `buckets` lower.",
        )


async def _visible(store: PointStore, query: ChartQuery) -> Range | Mapping[LaneId, Range]:
    if query.lo is None and query.hi is None:
        return Range()
    if query.x == "_timestamp":
        lo = None if query.lo is None else int(np.ceil(query.lo * 1e6))
        hi = None if query.hi is None else int(np.floor(query.hi * 1e6))
        return await read_step_ranges(store, query.runs, lo, hi)
    lo = -FOREVER if query.lo is None else int(np.ceil(query.lo))
    hi = FOREVER if query.hi is None else int(np.floor(query.hi)) + 1
    return Range(lo, hi)


async def _ends(
    store: PointStore, query: ChartQuery, lanes: Sequence[LaneRow]
) -> dict[LaneId, int]:
    contested = contested_runs(lanes) if query.mode != "all" else set()
    if not contested:
        return {}
    return cuts(lanes, await read_first_steps(store, contested))


def _curves(mode: LaneMode, lanes: Sequence[LaneRow]) -> Curves:
    if mode == "latest":
        return Curves(lambda key, run, _: (key, run, None))
    if mode == "all":
        return Curves(lambda key, run, lane: (key, run, lane))
    ranks = {(lane.run, lane.lane): lane.rank for lane in lanes}
    return Curves(lambda key, run, lane: (key, run, ranks.get((run, lane), 0)))


async def _cells(
    store: PointStore, plan: Plan, series: SeriesTable, curves: Curves, mode: LaneMode
) -> Partials | None:
    """One row per bucket of every curve; None if a race left nothing to show."""
    asked = list(sources(plan, series, curves, together=mode == "latest"))
    answers = await asyncio.gather(*(select(store, source.sql) for source in asked))
    found = [
        (source.fold, rows)
        for source, rows in zip(asked, answers, strict=True)
        if rows.get("key") is not None
    ]

    def fold() -> Partials | None:
        return merge([fold(rows) for fold, rows in found]) if found else None

    if sum(len(rows["key"]) for _, rows in found) <= _SMALL_ROWS:
        return fold()
    return await asyncio.to_thread(fold)


def _cut_up(
    cells: Partials, curves: Curves, x: F64 | None, lanes: Sequence[LaneRow], mode: LaneMode
) -> list[Curve]:
    number = cells.cell >> CELL_BITS
    bounds = np.flatnonzero(np.diff(number, prepend=-1, append=-1)).tolist()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = cells.sum / cells.count
    low = np.where(cells.count > 0, cells.min, np.nan)
    high = np.where(cells.count > 0, cells.max, np.nan)
    last = np.where(np.isfinite(cells.last), cells.last, np.nan)
    places = cells.last_step if x is None else x
    ranks = {(lane.run, lane.lane): lane.rank for lane in lanes}
    found = []
    for start, stop in pairwise(bounds):
        key, run, sub = curves.ids[number[start]]
        at = slice(start, stop)
        found.append(
            Curve(
                key=key,
                run=run,
                lane=sub if mode == "all" else None,
                rank=ranks.get((run, sub)) if mode == "all" and sub is not None else sub,
                step=cells.last_step[at],
                x=places[at],
                min=low[at],
                max=high[at],
                mean=mean[at],
                last=last[at],
                count=cells.count[at],
                non_finite=cells.non_finite[at],
                first_step=cells.first_step[at],
            )
        )
    return found
