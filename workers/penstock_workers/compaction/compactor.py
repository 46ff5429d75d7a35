"""The compactor builds tiers after the commits: rollup rows that make charts of long series cheap and
exact.

Its invariant: for a series with watermark `tiered`, every bucket of any width that lies below it
and contains no dirty bucket of the narrowest width has an exact tier row. Therefore the watermark
that commits see is raised first, then the commit in hand is awaited, then points are read: a point
that comes later is late, and marks its bucket dirty.

An active series gets its complete buckets; an idle one also its last, partial bucket, so that its
charts need no points. When it continues after all, that bucket is dirty and stays open until it is
full, or the series is idle again.

A pass is done part by part, each with everything that is new of its series. Each finished part
counts at once, so an interrupted pass is not wasted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.wire import MAX_STEP
from penstock_storage.clickhouse.tier_statements import (
    count_statement,
    fine_statement,
    points_condition,
    stored_statement,
    tiers_conditions,
)
from penstock_storage.clickhouse.tiers import TIER_SHIFT, TIER_SHIFTS
from penstock_storage.contracts.interface import Columns as StoreColumns
from penstock_storage.contracts.interface import PointStore
from penstock_workers.batches.fold import Columns, Ints
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.series import NEVER, SeriesIndex
from penstock_workers.batches.tiers import (
    dirty_columns,
    fold_up,
    join_buckets,
    select_rows,
    tier_columns,
    windows,
)
from penstock_workers.commits.commit_numbers import CommitNumbers, versions
from penstock_workers.shards.leases import Leases

__all__ = ["MIN_STEPS", "Compactor", "PassInterrupted"]

Versions = npt.NDArray[np.uint64]

MIN_STEPS = 8_192
"""A series with fewer points has no tiers: reading its points is as cheap."""

_STEP_BUCKETS = 16
"""The watermark of an active series moves when at least this many buckets are complete."""

_DENSEST_GAP = 16
"""Points per bucket below which a tier would save too little to keep."""

_MAX_SERIES_PER_PASS = 2_048
_MAX_LATE_PER_SERIES = 256
_WINDOWS_PER_STATEMENT = 512
_BUCKETS_PER_STATEMENT = 200_000
_LOOK_S = 10.0
"""How often to look for series to build although nothing was committed: they become idle."""


class PassInterrupted(Exception):
    """The pass was asked to stop."""


class Compactor:
    """Advances the tiers of the series in the known state's table."""

    def __init__(
        self, points: PointStore, known: KnownState, numbers: CommitNumbers, leases: Leases
    ) -> None:
        self._points = points
        self._known = known
        self._numbers = numbers
        self._leases = leases
        self._mended_to = -1
        self._is_interrupted = False
        self._looked_with, self._look_at = -1, 0.0

    def interrupt(self) -> None:
        """Stop the running pass before its next statement, by raising `PassInterrupted`. The statement
        that is running is waited for."""
        self._is_interrupted = True
        self._looked_with = -1

    async def run_once(self, commit_in_hand: asyncio.Lock) -> int:
        """One pass: new buckets of many series, and dirty ones of many. Returns series built."""
        self._is_interrupted = False
        commits = self._numbers.last
        if self._has_nothing_new(commits):
            return 0
        table = self._known.table
        series, low, high, counted = await self._ready(table)
        late = self._take_late(table)
        if not len(series) and not len(late[0]):
            if not counted:
                self._looked_with, self._look_at = commits, time.monotonic() + _LOOK_S
            return 0
        table.raise_tiered(series, high)
        async with commit_in_hand:
            # A number of its own, so that what this pass writes is newer than everything written
            # before it, and older than the dirty rows of any later commit.
            number = self._numbers.next()
            ver = versions(dict(self._leases.epochs), number, table.shard)
        try:
            await self._build(table, (series, low, high), late, ver)
        except BaseException:
            # The watermark in memory is ahead of the store's now: only a fresh start is safe.
            self._known.invalidate("tiers_not_built")
            raise
        return len(series)

    def _has_nothing_new(self, commits: int) -> bool:
        """Whether the last pass found nothing to do, and nothing was committed since."""
        is_known = commits == self._looked_with and not self._known.has_late
        return is_known and time.monotonic() < self._look_at

    async def _ready(self, table: SeriesIndex) -> tuple[Ints, Ints, Ints, int]:
        """Series whose watermark should move now, the steps to build, and how many series were counted for
        it: (series, low, high, counted)."""
        view = table.view()
        first, last, tiered, idle = view.first_step, view.last_step, view.tiered, view.is_idle
        owned = np.zeros(256, np.bool_)
        owned[list(self._leases.epochs)] = True
        held, has_tiers = owned[view.shard], tiered != NEVER
        # Complete buckets of the second width, so that these are seldom pieced together.
        whole = last >> TIER_SHIFTS[1] << TIER_SHIFTS[1]
        high = np.where(idle, (last >> TIER_SHIFT) + 1 << TIER_SHIFT, whole)
        steps = np.where(has_tiers, high - tiered, 0)
        wanted = np.where(idle, 1, _STEP_BUCKETS << TIER_SHIFT)
        grown = np.flatnonzero(held & has_tiers & (steps >= wanted))
        grown = grown[np.argsort(-steps[grown], kind="stable")][:_MAX_SERIES_PER_PASS]
        span = np.where(last > first, last - first, 0)
        # Count again when a series has grown by half since it was found too short or sparse, and once
        # when it becomes idle: points that arrive out of order fill a range long after it was spanned.
        counted = np.where(idle, view.counted, np.abs(view.counted))
        awake = np.flatnonzero(counted != view.counted)
        table.set_counted(awake, counted[awake])
        is_due = (span >= 1.5 * np.abs(counted)) | (idle & (counted >= 0))
        long = np.flatnonzero(held & ~has_tiers & (span >= MIN_STEPS) & is_due)
        series = np.concatenate([grown, await self._long_enough(table, long)])
        # A series without tiers is built from its beginning, known here or not.
        low = np.maximum(tiered[series], -MAX_STEP)
        begin = np.maximum(low, first[series] >> TIER_SHIFT << TIER_SHIFT)
        most = _BUCKETS_PER_STATEMENT << TIER_SHIFT
        return series, low, np.minimum(high[series], begin + most), len(long)

    async def _long_enough(self, table: SeriesIndex, series: Ints) -> Ints:
        """The series among these that have enough points, densely enough, for tiers to pay."""
        series = series[:_WINDOWS_PER_STATEMENT]
        if not len(series):
            return series
        first, last = table.first_step[series], table.last_step[series]
        statement = count_statement(windows(table, series, first, last + 1))
        counts = await self._query(statement)
        names = (counts[name] for name in ("key", "run", "lane", "points"))
        by_name = {tuple(map(int, row[:3])): int(row[3]) for row in zip(*names, strict=True)}
        columns = (table.key[series], table.run[series], table.lane[series])
        counted = np.array(
            [by_name.get(tuple(map(int, row)), 0) for row in zip(*columns, strict=True)]
        )
        spans = np.where(table.is_idle(series), first - last, last - first)
        table.set_counted(series, spans)
        buckets = np.maximum(1, last - first >> TIER_SHIFT)
        chosen: Ints = series[(counted >= MIN_STEPS) & (counted >= _DENSEST_GAP * buckets)]
        return chosen

    def _take_late(self, table: SeriesIndex) -> tuple[Ints, Ints]:
        """The dirty (series, bucket) pairs to rebuild now, sorted; the others stay for later."""
        series, buckets = self._known.take_late()
        if not len(series):
            return series, buckets
        # While points keep arriving in a series' last bucket, it stays dirty and is rebuilt once.
        is_open = ~table.is_idle(series) & (buckets == table.last_step[series] >> TIER_SHIFT)
        table.set_open(series, np.full(len(series), NEVER))
        table.set_open(series[is_open], buckets[is_open])
        place = np.arange(len(series)) - np.searchsorted(series, series)
        now = ~is_open & (place < _MAX_LATE_PER_SERIES)
        now &= np.isin(series, self._next_late(np.unique(series[now])))
        if not now.all():
            self._known.mark_late(series[~now], buckets[~now])
        return series[now], buckets[now]

    def _next_late(self, series: Ints) -> Ints:
        """The series among these (ascending) whose turn it is: round robin, after the last pass's."""
        begin = int(np.searchsorted(series, self._mended_to, side="right"))
        turn = np.roll(series, -begin)[:_MAX_SERIES_PER_PASS]
        self._mended_to = int(turn[-1]) if len(turn) else -1
        return turn

    async def _build(
        self,
        table: SeriesIndex,
        new: tuple[Ints, Ints, Ints],
        late: tuple[Ints, Ints],
        ver: Versions,
    ) -> None:
        series, low, high = new
        # Buckets in shards that another worker owns by now are that worker's to rebuild.
        late_series, buckets = (column[ver[late[0]] != 0] for column in late)
        mended, first, end = join_buckets(late_series, buckets)
        whole_from = np.full(len(ver), MAX_STEP)
        whole_from[series] = low
        columns = zip(new, (mended, first << TIER_SHIFT, end << TIER_SHIFT), strict=True)
        work = _Work(*(np.concatenate(pair) for pair in columns))
        for part in work.parts(table):
            levels = await self._levels(table, part, whole_from)
            if len(levels[TIER_SHIFT]["series"]):
                await self._insert("tiers", tier_columns(table, levels, ver))
            done = np.isin(series, part.series)
            if done.any():
                await self._insert("series", _watermarks(table, series[done], high[done]))
            done = np.isin(late_series, part.series)
            if done.any():
                clean = dirty_columns(table, late_series[done], buckets[done], is_dirty=False)
                await self._insert("dirty", {**clean, "ver": ver[late_series[done]]})

    async def _levels(
        self, table: SeriesIndex, part: _Work, whole_from: Ints
    ) -> dict[int, Columns]:
        """All tier rows, by shift, that the points in these windows belong to."""
        levels = {TIER_SHIFT: await self._narrowest(table, part)}
        stored = await self._stored(table, levels[TIER_SHIFT], whole_from)
        for finer, coarser in pairwise(TIER_SHIFTS):
            rows = fold_up([levels[finer], stored[finer]], coarser - finer)
            whole = (rows["bucket"] + 1) << coarser <= table.tiered[rows["series"]]
            levels[coarser] = {name: column[whole] for name, column in rows.items()}
        return levels

    async def _narrowest(self, table: SeriesIndex, part: _Work) -> Columns:
        where = points_condition(windows(table, *part))
        rows = select_rows(table, await self._query(fine_statement(where, final=False)))
        repeated = np.flatnonzero(rows["repeats"])
        if not len(repeated):
            return rows
        found = []
        pairs = np.unique(np.stack([rows["series"][repeated], rows["bucket"][repeated]]), axis=1)
        series, first, end = join_buckets(pairs[0], pairs[1])
        for again in _Work(series, first << TIER_SHIFT, end << TIER_SHIFT).parts(table):
            where = points_condition(windows(table, *again))
            answer = await self._query(fine_statement(where, final=True))
            found.append(select_rows(table, answer))
        return fold_up([*found, rows], 0)

    async def _stored(
        self, table: SeriesIndex, fine: Columns, whole_from: Ints
    ) -> dict[int, Columns]:
        """Rows that this pass does not rebuild, but needs for coarser ones, by shift."""
        conditions = []
        for finer, coarser in pairwise(TIER_SHIFTS):
            pairs = np.stack([fine["series"], fine["bucket"] >> (coarser - TIER_SHIFT)])
            series, parent = np.unique(pairs, axis=1)
            ends = (parent + 1) << coarser <= table.tiered[series]
            lacks = ends & (parent << coarser < whole_from[series])
            series, first = series[lacks], parent[lacks] << (coarser - finer)
            grouped = windows(table, series, first, first + (1 << (coarser - finer)))
            conditions += tiers_conditions(finer, grouped)
        found = [{name: column[:0] for name, column in fine.items()}]
        found[0]["shift"] = np.empty(0, np.uint8)
        for start in range(0, len(conditions), 2 * _WINDOWS_PER_STATEMENT):
            some = conditions[start : start + 2 * _WINDOWS_PER_STATEMENT]
            found.append(select_rows(table, await self._query(stored_statement(some))))
        rows = {name: np.concatenate([each[name] for each in found]) for name in found[-1]}
        return {
            shift: {name: column[rows["shift"] == shift] for name, column in rows.items()}
            for shift in TIER_SHIFTS
        }

    # The store is called through these only: here a pass can be interrupted.

    async def _query(self, statement: str) -> StoreColumns:
        self._check()
        return await self._points.query(statement)

    async def _insert(self, name: str, columns: StoreColumns) -> None:
        self._check()
        await self._points.insert(name, columns)

    def _check(self) -> None:
        if self._is_interrupted:
            raise PassInterrupted


class _Work(NamedTuple):
    """Windows of steps, `low` <= step < `high`, that are rebuilt."""

    series: Ints
    low: Ints
    high: Ints

    def parts(self, table: SeriesIndex) -> Iterator[_Work]:
        """The same in parts of bounded size, each with all windows of its series: a coarse row is
        then made once, of all that is new."""
        order = np.argsort(self.series, kind="stable")
        series, low, high = (column[order] for column in self)
        buckets = (high - np.maximum(low, table.first_step[series])) >> TIER_SHIFT
        heads = np.flatnonzero(np.append(True, series[1:] != series[:-1])[: len(series)])
        counts = np.add.reduceat(buckets, heads).tolist() if len(heads) else []
        begin, total = 0, 0
        for head, count in zip(heads.tolist(), counts, strict=True):
            is_large = total + count > _BUCKETS_PER_STATEMENT
            if head > begin and (is_large or head - begin >= _WINDOWS_PER_STATEMENT):
                yield _Work(series[begin:head], low[begin:head], high[begin:head])
                begin, total = head, 0
            total += count
        if begin < len(series):
            yield _Work(series[begin:], low[begin:], high[begin:])


def _watermarks(table: SeriesIndex, series: Ints, high: Ints) -> Columns:
    """Rows of `series` that raise the watermark and leave everything else as it is."""
    count = len(series)
    return {
        "run": table.run[series],
        "key": table.key[series],
        "lane": table.lane[series],
        "first_step": table.first_step[series],
        "last_step": table.last_step[series],
        "last": (np.zeros(count, np.uint64), np.full(count, -np.inf)),
        "kinds": np.zeros(count, np.uint8),
        "tiered": high,
    }
