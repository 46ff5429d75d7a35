"""Tiers of series that pause, go on and repeat themselves; and of stores from before there were
several widths. Every row always equals a rebuild from the points."""

from __future__ import annotations

import itertools
from typing import Any, cast

import numpy as np
import pytest
from support.compactor import Bench
from support.marks import first_of
from support.tiers import wrong_tiers

from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.clickhouse.tiers import TIER_SHIFTS
from penstock_workers.compaction import compactor

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DIRTY = "SELECT count() FROM penstock.dirty FINAL WHERE dirty = 1"
_MARKS = "SELECT count() FROM penstock.dirty"
_TIERED = "SELECT max(tiered) FROM penstock.series WHERE run = {run}"
# Rows that may be trusted and are missing, or differ from a rebuild.
_WRONG = """
WITH rebuilt AS (
    SELECT key, run, lane, arrayJoin([8, 11, 14, 17]) AS shift, bitShiftRight(step, shift) AS bucket,
        minIf(v, isFinite(v)) AS lo, maxIf(v, isFinite(v)) AS hi, sumIf(v, isFinite(v)) AS total,
        countIf(isFinite(v)) AS n, countIf(NOT isFinite(v)) AS bad, min(step) AS a, max(step) AS z,
        argMin(v, step) AS oldest, argMax(v, step) AS newest
    FROM penstock.points FINAL WHERE run = {run} GROUP BY key, run, lane, shift, bucket
)
SELECT countIf(t.ver = 0 OR t.min != lo OR t.max != hi OR abs(t.sum - total) > 1e-6 OR t.count != n
    OR t.non_finite != bad OR t.first_step != a OR t.last_step != z
    OR reinterpretAsInt64(t.first) != reinterpretAsInt64(oldest)
    OR reinterpretAsInt64(t.last) != reinterpretAsInt64(newest))
FROM rebuilt AS b
LEFT JOIN (SELECT * FROM penstock.tiers FINAL WHERE run = {run}) AS t
    ON b.key = t.key AND b.lane = t.lane AND b.bucket = t.bucket AND b.shift = t.shift
WHERE bitShiftLeft(b.bucket + 1, b.shift)
    <= (SELECT max(tiered) FROM penstock.series WHERE run = {run})
"""


async def log(bench: Bench, run: int, first: int, end: int) -> None:
    steps = np.arange(first, end)
    values = np.sin(steps * 1.0)
    values[steps % 1_000 == 7] = np.nan
    await bench.log(1, run, 0, steps, values)


async def test_an_idle_series_is_tiered_to_its_end(store: ClickHouse) -> None:
    bench = Bench(store)
    await log(bench, 1, 0, 20_000)
    await bench.compact()
    assert await bench.count(_TIERED.format(run=1)) == 18_432  # whole buckets of 2^11 steps
    bench.now_s += 60
    await bench.compact()
    assert await bench.count(_TIERED.format(run=1)) == 20_224
    assert await bench.count(_WRONG.format(run=1)) == 0


async def test_a_series_that_goes_on_marks_its_last_bucket_once(store: ClickHouse) -> None:
    bench = Bench(store)
    await log(bench, 2, 0, 10_000)
    await bench.compact()
    bench.now_s += 60
    await bench.compact()
    assert await bench.count(_TIERED.format(run=2)) == 10_240
    before = await bench.count(_MARKS)
    for step in range(10_000, 10_100, 10):  # slower than any idle series
        bench.now_s += 4
        await log(bench, 2, step, step + 10)
        await bench.compact()
    assert await bench.count(_MARKS) == before + 1
    assert await bench.count(_DIRTY) == 1
    await log(bench, 2, 10_100, 10_600)  # into the next bucket: the open one is mended
    await bench.compact()
    assert await bench.count(_DIRTY) == 0
    assert await bench.count(_WRONG.format(run=2)) == 0
    await bench.settle()
    assert await bench.count(_WRONG.format(run=2)) == 0


async def test_slow_series_are_not_idle_between_their_points(store: ClickHouse) -> None:
    bench = Bench(store)
    await log(bench, 3, 0, 9_000)
    for step in range(9_000, 9_010):
        bench.now_s += 60
        await log(bench, 3, step, step + 1)
        await bench.compact()
        bench.now_s += 60
        await bench.compact()
    assert await bench.count(_TIERED.format(run=3)) == 8_192


async def test_points_stored_twice_count_once(store: ClickHouse) -> None:
    bench = Bench(store)
    await log(bench, 4, 0, 30_000)
    await bench.log(1, 4, 0, np.arange(5_000, 5_400), np.full(400, 3.5))
    await bench.log(1, 4, 0, np.arange(29_000, 29_500, 3), np.full(167, -3.5))
    await bench.compact()
    assert await bench.count(_WRONG.format(run=4)) == 0
    await bench.settle()
    assert await bench.count(_WRONG.format(run=4)) == 0


@pytest.mark.parametrize("seed", first_of(*range(3)))
async def test_late_points_reach_every_width(store: ClickHouse, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bench, run = Bench(store), 10 + seed
    await log(bench, run, 0, 140_000)
    await bench.compact()
    for _ in range(4):
        late = np.unique(rng.integers(-500, 140_000, 20))
        await bench.log(1, run, 0, late, rng.normal(size=len(late)) * 100)
        last = int(bench.known.table.last_step.max())
        await log(bench, run, last + 1, last + int(rng.integers(1, 9_000)))
        if rng.random() < 0.5:
            bench.now_s += 100
        await bench.compact()
    await bench.settle()
    assert await bench.count(_WRONG.format(run=run)) == 0
    assert await bench.count(_DIRTY) == 0


class InterruptingStore:
    """Passes everything on; before the n-th statement the pass is interrupted."""

    def __init__(self, store: ClickHouse, bench: Bench, n: int) -> None:
        self._store, self._bench, self._left = store, bench, n

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._bench.compactor.interrupt()

    async def query(self, sql: str) -> Any:
        self._count()
        return await self._store.query(sql)

    async def insert(self, table: str, columns: Any) -> None:
        self._count()
        await self._store.insert(table, columns)


@pytest.mark.heavy
@pytest.mark.parametrize("few", [1, pytest.param(3, marks=pytest.mark.smoke)])
async def test_a_pass_may_be_interrupted_anywhere(
    store: ClickHouse, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """What it has done counts, and the rest is done later."""
    monkeypatch.setattr(compactor, "_WINDOWS_PER_STATEMENT", few)  # parts of few series
    bench, run = Bench(store), 30 + few
    rng = np.random.default_rng(few)
    for key in range(6):
        await bench.log(key, run, 0, np.arange(20_000), rng.normal(size=20_000))
    await bench.compact(6)
    for key in range(6):
        late = np.unique(rng.integers(-500, 15_000, 20))
        await bench.log(key, run, 0, late, rng.normal(size=len(late)) * 100)
        await bench.log(key, run, 0, np.arange(20_000, 30_000), rng.normal(size=10_000))
    points, interrupted, dirty = bench.compactor._points, 0, []
    for n in itertools.count(1):
        bench.compactor._points = cast("Any", InterruptingStore(store, bench, n))
        try:
            await bench.compact()
            break
        except compactor.PassInterrupted:
            assert bench.known.is_stale
            interrupted += 1
            await bench.resume()
        dirty.append(await bench.count(_DIRTY))
    bench.compactor._points = points
    assert interrupted > 3
    assert dirty[-1] < dirty[0]
    await bench.settle()
    assert (await wrong_tiers(store))[1] == 0
    assert await bench.count(_DIRTY) == 0


async def test_of_many_dirty_series_all_get_their_turn(
    store: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compactor, "_MAX_SERIES_PER_PASS", 4)
    bench, run = Bench(store), 40
    for key in range(10):
        await bench.log(key, run, 0, np.arange(10_000), np.full(10_000, float(key)))
    await bench.compact(5)
    steps = np.arange(100, 140)
    for key in range(10):
        await bench.log(key, run, 0, steps, np.full(40, 50.0))
    for _ in range(3):  # the first ones get new points all the time
        for key in range(4):
            await bench.log(key, run, 0, steps, np.full(40, 60.0))
        await bench.compact()
    dirty = "SELECT groupUniqArray(key) FROM penstock.dirty FINAL WHERE dirty = 1 AND run = 40"
    found = await store.query(f"SELECT arraySort(({dirty})) AS keys")
    assert set(np.asarray(found["keys"][0]).tolist()) <= {0, 1, 2, 3}
    await bench.compact(3)
    assert await bench.count(f"{_DIRTY} AND run = 40") == 0
    assert (await wrong_tiers(store))[1] == 0


async def test_a_store_with_one_width_gets_the_others_at_setup(store: ClickHouse) -> None:
    bench = Bench(store)
    await log(bench, 20, -3_000, 150_000)
    await bench.settle()
    widths = "SELECT uniqExact(shift) FROM penstock.tiers WHERE run = 20"
    assert await bench.count(widths) == len(TIER_SHIFTS)
    await store.execute(
        "DELETE FROM penstock.tiers WHERE shift != 8 SETTINGS lightweight_deletes_sync = 2"
    )
    await store.insert(
        "meta", {"name": ["schema_version"], "value": ["1"], "ver": np.array([999], "u8")}
    )
    assert await bench.count(widths) == 1
    await store.setup()
    assert await bench.count(widths) == len(TIER_SHIFTS)
    assert await bench.count(_WRONG.format(run=20)) == 0
    await log(bench, 20, 150_000, 170_000)
    await bench.settle()
    assert await bench.count(_WRONG.format(run=20)) == 0
