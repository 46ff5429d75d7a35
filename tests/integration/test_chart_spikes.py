"""Needles in long series: one point far up, far down, NaN or infinite is in every chart that covers
it, at every zoom, from tiers of every width, dirty buckets and points, alone and aggregated; and
all columns of every answer equal a computation over all points."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio
from support.compactor import Bench
from support.series import lane_row
from support.store import shared_store

from penstock_storage.charts.aggregate import Aggregate
from penstock_storage.charts.chart_reader import Chart, ChartQuery, ChartReader, Curve, LaneMode
from penstock_storage.clickhouse.tiers import TIER_SHIFTS
from penstock_storage.contracts.interface import LaneRow

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.timeout(300)]

F64 = npt.NDArray[np.float64]
STEPS = 300_000  # two buckets of the widest tier
KEY = 1
RUNS = [1, 2, 3]
GROUPS = {"ab": [1, 2], "bc": [2, 3], "empty": []}
COLUMNS = ("step", "first_step", "count", "non_finite", "min", "max", "last", "mean")
SPREAD = ("std", "stderr", "samples", "x")


@dataclass
class Lane:
    """What a lane holds by step; `end` is where a later attempt cuts it."""

    row: LaneRow
    has: npt.NDArray[np.bool_]
    values: F64
    needles: list[int]
    end: int = STEPS

    def shown(self, lo: int, hi: int) -> tuple[npt.NDArray[np.int64], F64]:
        """Its steps `lo` <= step < `hi` that count, and their values."""
        hi = min(hi, self.end)
        steps = np.flatnonzero(self.has[lo : max(hi, lo)]) + lo
        return steps, self.values[steps]


@dataclass
class World:
    reader: ChartReader
    bench: Bench
    lanes: list[Lane]

    def members(self, run: int, rank: int | None = None) -> list[Lane]:
        found = (lane for lane in self.lanes if lane.row.run == run)
        return [lane for lane in found if rank in (None, lane.row.rank)]


def needle_value(rng: np.random.Generator, step: int) -> float:
    return float(rng.choice([1e4 + step, -1e4 - step, np.nan, np.inf, -np.inf]))


def new_lane(
    rng: np.random.Generator, row: LaneRow, steps: npt.NDArray[np.int64], end: int
) -> Lane:
    lane = Lane(row, np.zeros(STEPS, bool), np.zeros(STEPS), [], end)
    lane.has[steps] = True
    lane.values[steps] = rng.normal(size=len(steps))
    lane.needles = rng.choice(steps[steps < end], 30, replace=False).tolist()
    for step in lane.needles:
        lane.values[step] = needle_value(rng, step)
    return lane


async def log_late(bench: Bench, rng: np.random.Generator, lane: Lane, count: int) -> None:
    """Points logged again, and such as fill holes: some of them needles."""
    first = int(np.flatnonzero(lane.has)[0])  # an earlier one would cut the attempt before
    steps = np.unique(rng.integers(first, min(lane.end, STEPS - 5_000), count))
    lane.values[steps] = rng.normal(size=len(steps))
    lane.has[steps] = True
    for step in steps[: len(steps) // 4].tolist():
        lane.values[step] = needle_value(rng, step)
        lane.needles.append(step)
    await bench.log(KEY, lane.row.run, lane.row.lane, steps, lane.values[steps])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """Run 1 has two ranks, the second of which began again; run 2 is plain; run 3 has holes. Some
    late points are mended, some are not; of one lane the end is not tiered."""
    rng = np.random.default_rng(5)
    every = np.arange(STEPS)
    lanes = [
        new_lane(rng, lane_row(1, 0, rank=0, started=10), every, STEPS),
        new_lane(rng, lane_row(1, 1, rank=1, started=11), every[:200_000], 150_001),
        new_lane(rng, lane_row(1, 2, rank=1, started=20), every[150_001:], STEPS),
        new_lane(rng, lane_row(2, 0, rank=0, started=30), every[: STEPS - 100], STEPS),
        new_lane(rng, lane_row(3, 0, rank=0, started=40), every[777::3], STEPS),
    ]
    async with shared_store() as handle:
        store = handle.client()
        await store.setup()
        bench = Bench(store)
        for number, lane in enumerate(lanes):
            steps = np.flatnonzero(lane.has)
            parts = np.split(steps, np.sort(rng.integers(0, len(steps), 6)))
            for part in (part for part in parts if len(part)):
                await bench.log(KEY, lane.row.run, lane.row.lane, part, lane.values[part])
                await bench.compact()
            if number != 3:
                await bench.settle()
        for lane in lanes:
            await log_late(bench, rng, lane, 40)
        await bench.compact()
        for lane in lanes[1:]:
            await log_late(bench, rng, lane, 12)  # stays dirty

        async def lanes_of(runs: Sequence[int]) -> list[LaneRow]:
            return [lane.row for lane in lanes if lane.row.run in runs]

        yield World(ChartReader(store, lanes_of), bench, lanes)
        await store.close()


def folded(lanes: Sequence[Lane], shift: int, lo: int, hi: int) -> dict[int, dict[str, float]]:
    """The buckets of all points of these lanes together, by bucket."""
    parts = [(*lane.shown(lo, hi), lane.row.lane) for lane in lanes]
    step = np.concatenate([steps for steps, _, _ in parts])
    v = np.concatenate([values for _, values, _ in parts])
    lane = np.concatenate([np.full(len(steps), number) for steps, _, number in parts])
    order = np.lexsort((-lane, step))
    step, v = step[order], v[order]
    found: dict[int, dict[str, float]] = {}
    if not len(step):
        return found
    starts = np.flatnonzero(np.append(True, np.diff(step >> shift) > 0))
    for start, stop in zip(starts, [*starts[1:], len(step)], strict=True):
        values = v[start:stop]
        finite = values[np.isfinite(values)]
        found[int(step[start] >> shift)] = {
            "step": step[stop - 1],
            "first_step": step[start],
            "count": len(finite),
            "non_finite": len(values) - len(finite),
            "min": finite.min() if len(finite) else np.nan,
            "max": finite.max() if len(finite) else np.nan,
            "last": values[-1] if np.isfinite(values[-1]) else np.nan,
            "mean": finite.mean() if len(finite) else np.nan,
        }
    return found


def aggregated(members: Sequence[dict[int, dict[str, float]]]) -> dict[int, dict[str, float]]:
    """Each member is one sample in each bucket."""
    found: dict[int, dict[str, float]] = {}
    for bucket in sorted(set().union(*members)):
        rows = [member[bucket] for member in members if bucket in member]
        means = np.array([row["mean"] for row in rows])
        means = means[np.isfinite(means)]
        lasts = np.array([row["last"] for row in rows])
        lasts = lasts[np.isfinite(lasts)]
        std = means.std(ddof=1) if len(means) > 1 else np.nan
        found[bucket] = {
            "step": max(row["step"] for row in rows),
            "x": max(row["step"] for row in rows),
            "first_step": min(row["first_step"] for row in rows),
            "count": sum(row["count"] for row in rows),
            "non_finite": sum(row["non_finite"] for row in rows),
            "min": np.fmin.reduce([row["min"] for row in rows]),
            "max": np.fmax.reduce([row["max"] for row in rows]),
            "last": lasts.mean() if len(lasts) else np.nan,
            "mean": means.mean() if len(means) else np.nan,
            "samples": len(means),
            "std": std,
            "stderr": std / np.sqrt(len(means)) if len(means) > 1 else np.nan,
        }
    return found


def same(curve: Curve | Aggregate, want: dict[int, dict[str, float]], shift: int) -> None:
    assert (curve["step"] >> shift).tolist() == sorted(want)
    names = COLUMNS if isinstance(curve, Curve) else (*COLUMNS, *SPREAD)
    for name in names:
        column = [want[bucket][name] for bucket in sorted(want)]
        np.testing.assert_allclose(curve[name], column, rtol=1e-9, atol=1e-9, err_msg=name)


def check_curves(world: World, chart: Chart, mode: LaneMode, lo: int, hi: int) -> None:
    shift = chart.width.bit_length() - 1
    wanted: dict[Any, list[Lane]] = {}
    for lane in world.lanes:
        row = lane.row
        names = {"latest": (row.run, None), "rank": (row.run, row.rank), "all": (row.run, row.lane)}
        wanted.setdefault(names[mode], []).append(lane)
    if mode == "all":  # every attempt as it was
        whole = {name: [replace(x, end=STEPS) for x in found] for name, found in wanted.items()}
        wanted = whole
    found = {(c.run, c.lane if mode == "all" else c.rank): c for c in chart.curves}
    for name, lanes in wanted.items():
        want = folded(lanes, shift, lo, hi)
        assert (name in found) == bool(want)
        if want:
            same(found[name], want, shift)


def check_groups(world: World, chart: Chart, query: ChartQuery, lo: int, hi: int) -> None:
    shift = chart.width.bit_length() - 1
    want: dict[Any, list[list[Lane]]] = {}
    if query.groups is not None:
        for label, runs in query.groups.items():
            want[KEY, label] = [world.members(run) for run in runs]
    else:
        for run in query.runs:
            want[KEY, run] = [world.members(run, rank) for rank in (0, 1)]
    found = {group.name: group for group in chart.groups}
    for name, members in want.items():
        rows = aggregated([folded(lanes, shift, lo, hi) for lanes in members if lanes])
        assert (name in found) == bool(rows)
        if rows:
            same(found[name], rows, shift)


def zooms(rng: np.random.Generator, around: int) -> tuple[int, int]:
    """A range of any length that holds a step."""
    size = int(np.exp(rng.uniform(0, np.log(STEPS))))
    lo = int(np.clip(around - rng.integers(size + 1), 0, STEPS - 1))
    return lo, min(max(lo + size, around + 1), STEPS)


@pytest.mark.parametrize("seed", range(8))
async def test_all_columns_equal_a_computation_over_all_points(world: World, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [1, 3, 12, 40, 120, 500, 2_000]  # over the full range, tiers of every width serve them
    for number in range(4):
        needles = world.lanes[int(rng.integers(5))].needles
        lo, hi = zooms(rng, int(rng.choice(needles))) if number else (0, STEPS)
        buckets = int(rng.choice(sizes)) if number else sizes[seed % len(sizes)]
        asked: dict[str, Any] = {"lo": lo, "hi": hi - 1} if (lo, hi) != (0, STEPS) else {}
        for mode in ("latest", "rank", "all"):
            chart = await world.reader.read(ChartQuery(RUNS, [KEY], buckets, mode, **asked))
            check_curves(world, chart, mode, lo, hi)
        grouped = ChartQuery(RUNS, [KEY], buckets, groups=GROUPS, **asked)
        check_groups(world, await world.reader.read(grouped), grouped, lo, hi)
        ranks = ChartQuery(RUNS, [KEY], buckets, over_ranks=True, **asked)
        chart = await world.reader.read(ranks)
        check_groups(world, chart, ranks, lo, hi)


async def test_every_needle_is_in_every_chart(world: World) -> None:
    rng = np.random.default_rng(99)
    for lane in world.lanes:
        for step in [step for step in lane.needles if step < lane.end][::3]:
            value = lane.values[step]
            lo, hi = zooms(rng, step)
            run = lane.row.run
            for query in (
                ChartQuery([run], [KEY], 300, lo=lo, hi=hi - 1),
                ChartQuery([run], [KEY], 300, over_ranks=True, lo=lo, hi=hi - 1),
                ChartQuery(RUNS, [KEY], 300, groups={"all": RUNS}, lo=lo, hi=hi - 1),
            ):
                chart = await world.reader.read(query)
                (curve,) = chart.groups if query.is_aggregated else chart.curves
                shift = chart.width.bit_length() - 1
                at = int(np.searchsorted(curve["step"] >> shift, step >> shift))
                if np.isfinite(value):
                    assert curve["min"][at] <= value <= curve["max"][at]
                    # The others lie within ±10; two needles may share a bucket.
                    assert curve["max"][at] >= 1e4 or curve["min"][at] <= -1e4
                else:
                    assert curve["non_finite"][at] >= 1


@pytest.mark.smoke
async def test_what_is_kept_of_tiers_is_not_served_once_a_late_point_came(world: World) -> None:
    lane = world.lanes[3]
    query = ChartQuery([lane.row.run], [KEY], 50)
    await world.reader.read(query)
    step, steps = 123_456, np.array([123_456])
    lane.values[step], lane.needles = 5e7, [*lane.needles, step]
    await world.bench.log(KEY, lane.row.run, lane.row.lane, steps, lane.values[steps])
    for _ in range(2):  # dirty at first, then mended
        (curve,) = (await world.reader.read(query)).curves
        assert curve["max"].max() == 5e7
        await world.bench.compact()


async def test_rows_of_every_width_were_read(world: World) -> None:
    for shift in TIER_SHIFTS:
        assert await world.bench.count(f"SELECT count() FROM penstock.tiers WHERE shift = {shift}")
