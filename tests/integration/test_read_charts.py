"""Charts equal a brute-force computation over all points, whatever is tiered, dirty, late or cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import pytest
from support.fuzzing import seeds
from support.series import Bucket, SeriesData, brute_force, lane_row, store_series

from penstock_storage.charts import chart_reader as charts
from penstock_storage.charts import sources, windows
from penstock_storage.charts.attempts import attempt_ends
from penstock_storage.charts.chart_reader import Chart, ChartQuery, ChartReader, LaneMode
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.contracts.interface import LaneRow

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = count(1)


def random_points(rng: np.random.Generator, size: int) -> dict[int, float]:
    """Dense, strided or sparse steps around 0 or far from it; some values are not finite."""
    base = int(rng.choice([0, 0, -3_000, 1_000_000, 2**52, -(2**52)]))
    kind = rng.integers(3)
    if kind == 0:
        steps = base + np.arange(size)
    elif kind == 1:
        steps = base + np.arange(size) * int(rng.integers(2, 100))
    else:
        steps = base + np.sort(rng.integers(-(2 ** int(rng.integers(8, 30))), 2**20, size))
    values = rng.normal(size=size)
    values[rng.random(size) < 0.05] = np.nan
    values[rng.random(size) < 0.02] = np.inf
    if rng.random() < 0.1:
        values[:] = -np.inf
    return dict(zip(steps.tolist(), values.tolist(), strict=True))


def random_series(rng: np.random.Generator, key: int, run: int, lane: int) -> SeriesData:
    early = random_points(rng, int(rng.integers(1, 4_000)))
    steps = sorted(early)
    data = SeriesData(key, run, lane, early)
    if rng.random() < 0.7:
        reach = steps[int(rng.integers(len(steps)))]
        data.tiered = reach if rng.random() < 0.5 else ((reach >> 8) + 1) << 8
    late = rng.choice([0, 0, 1, 3, 40])
    for step in rng.integers(steps[0] - 300, steps[-1] + 300, late).tolist():
        data.late[step] = float(rng.choice([rng.normal(), np.nan]))
    for step in rng.choice(steps, min(int(late), len(steps)), replace=False).tolist():
        data.late[step] = 7.5
    return data


def expected(
    series: Sequence[SeriesData],
    lanes: Sequence[LaneRow],
    mode: LaneMode,
    width: int,
    span: tuple[float, float],
) -> dict[tuple[object, ...], dict[int, Bucket]]:
    firsts: dict[tuple[int, int], int] = {}
    for s in series:
        first = min(s.points)
        firsts[s.run, s.lane] = min(firsts.get((s.run, s.lane), first), first)
    ends = {} if mode == "all" else attempt_ends(lanes, firsts)
    ranks = {(lane.run, lane.lane): lane.rank for lane in lanes}
    curves: dict[tuple[object, ...], list[dict[int, float]]] = {}
    for s in sorted(series, key=lambda s: (ranks[s.run, s.lane], s.lane)):
        end = ends.get((s.run, s.lane), 2**62)
        shown = {
            step: v for step, v in s.points.items() if span[0] <= step <= span[1] and step < end
        }
        rank = ranks[s.run, s.lane]
        sub: tuple[object, ...] = {
            "latest": (None, None),
            "rank": (None, rank),
            "all": (s.lane, rank),
        }[mode]
        if shown:
            curves.setdefault((s.key, s.run, *sub), []).append(shown)
    shift = width.bit_length() - 1
    return {curve: dict(brute_force(found, shift)) for curve, found in curves.items()}


def check(chart: Chart, want: dict[tuple[object, ...], dict[int, Bucket]]) -> None:
    shift = chart.width.bit_length() - 1
    assert {(c.key, c.run, c.lane, c.rank) for c in chart.curves} == set(want)
    for curve in chart.curves:
        buckets = want[curve.key, curve.run, curve.lane, curve.rank]
        assert (curve["step"] >> shift).tolist() == sorted(buckets)
        rows = [buckets[bucket] for bucket in sorted(buckets)]
        for name in ("step", "first_step", "count", "non_finite", "min", "max", "last"):
            np.testing.assert_array_equal(
                curve[name], [getattr(row, name) for row in rows], err_msg=name
            )
        means = [row.mean for row in rows]
        np.testing.assert_allclose(curve["mean"], means, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", seeds(24, smoke=6))
async def test_equals_brute_force(
    store: ClickHouse, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    # Few points are read whole; what is longer, or was, is planned.
    monkeypatch.setattr(charts, "_WHOLE_ROWS", int(rng.choice([-1, 500, 250_000])))
    if seed % 3 == 1:  # as if there were so many rows that the store must group them
        monkeypatch.setattr(sources, "_MAX_ROWS", 0)
    if seed % 3 == 2:  # as if there were so many windows that they take several statements
        monkeypatch.setattr(windows, "_MAX_WINDOWS", 5)
        monkeypatch.setattr(windows, "_MAX_GROUPS", 2)
    runs = [next(_numbers) for _ in range(int(rng.integers(1, 4)))]
    keys = [1, 2, 3][: int(rng.integers(1, 4))]
    lanes = [
        lane_row(run, lane, rank=int(rng.integers(2)), started=int(rng.integers(100)))
        for run in runs
        for lane in range(int(rng.integers(1, 4)))
    ]
    series = [
        random_series(rng, key, lane.run, lane.lane)
        for key in keys
        for lane in lanes
        if rng.random() < 0.9
    ]
    if series:
        await store_series(store, series)

    async def lanes_of(runs: Sequence[int]) -> list[LaneRow]:
        return [lane for lane in lanes if lane.run in runs]

    reader = ChartReader(store, lanes_of)
    steps = sorted(step for s in series for step in s.points) or [0]
    for mode in ("latest", "rank", "all"):
        lo, hi = sorted(int(step) for step in rng.choice(steps, 2))
        for span in ((None, None), (lo, hi), (lo + 1, None)):
            buckets = int(rng.choice([1, 7, 60, 500, 10_000]))
            query = ChartQuery(runs, keys, buckets, mode, lo=span[0], hi=span[1])
            chart = await reader.read(query)
            inside = (
                -np.inf if span[0] is None else span[0],
                np.inf if span[1] is None else span[1],
            )
            check(chart, expected(series, lanes, mode, chart.width, inside))
            for curve in chart.curves:
                assert len(curve["step"]) <= max(buckets, 2)
