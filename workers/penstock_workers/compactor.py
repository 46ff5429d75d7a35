"""Builds tiers behind the commits: coarse rows that make charts of long series cheap and exact.

Its invariant: for a series with watermark `tiered`, every bucket below it that is not marked dirty
has a tier row that is exact. Therefore the watermark known to commits is raised first, then the
commit in hand is awaited, then points are read: a point that comes later is late, and marks its
bucket.
"""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from penstock.wire import MAX_STEP
from penstock_storage.interface import PointStore
from penstock_workers.commit import Committer
from penstock_workers.fold import TIER_SHIFT, Columns, Ints
from penstock_workers.leases import Leases, versions
from penstock_workers.resolver import Resolver
from penstock_workers.series import NEVER, SeriesTable
from penstock_workers.tiers import build_statement, count_statement, dirty_columns, windows

__all__ = ["SHORTEST", "Compactor"]

Versions = npt.NDArray[np.uint64]

SHORTEST = 8_192
"""A series with fewer points has no tiers: reading its points is as cheap."""

_STEP_BUCKETS = 16
"""A watermark moves when at least this many buckets are complete."""

_DENSEST_GAP = 16
"""Points per bucket below which a tier would save too little to keep."""

_SERIES_PER_PASS = 512
_BUCKETS_PER_STATEMENT = 200_000


class Compactor:
    """Advances the tiers of the series in the resolver's table."""

    def __init__(
        self, points: PointStore, resolver: Resolver, committer: Committer, leases: Leases
    ) -> None:
        self._points = points
        self._resolver = resolver
        self._committer = committer
        self._leases = leases

    async def run_once(self, commit_in_hand: asyncio.Lock) -> int:
        """One pass: new buckets of up to 512 series, and all dirty ones. Returns series built."""
        table = self._resolver.table
        series = await self._ready(table)
        low, high = self._window(table, series)
        late, self._resolver.late = self._resolver.late, []
        if not len(series) and not late:
            return 0
        table.raise_tiered(series, high)
        async with commit_in_hand:
            number, epochs = self._committer.number, dict(self._leases.epochs)
        ver = versions(epochs, number, table.shard)
        try:
            await self._build(table, series, low, high, ver)
            await self._rebuild(table, late, ver)
        except BaseException:
            # The watermark in memory is ahead of the store's now: only a fresh start is safe.
            self._resolver.is_stale = True
            raise
        return len(series)

    async def _ready(self, table: SeriesTable) -> Ints:
        """Series whose watermark should move now."""
        size = len(table)
        held = np.isin(table.shard[:size], list(self._leases.epochs))
        first, last = table.first_step[:size], table.last_step[:size]
        complete = last >> TIER_SHIFT << TIER_SHIFT
        tiered = table.tiered[:size]
        has_tiers = tiered != NEVER
        grown = np.flatnonzero(
            held
            & has_tiers
            & (complete - np.where(has_tiers, tiered, 0) >= _STEP_BUCKETS << TIER_SHIFT)
        )[:_SERIES_PER_PASS]
        span = np.where(last > first, last - first, 0)
        # Count again only when a series has grown by half since it was found too short or sparse.
        long = held & ~has_tiers & (span >= SHORTEST) & (span >= 1.5 * table.counted[:size])
        return np.concatenate([grown, await self._long_enough(table, np.flatnonzero(long))])

    async def _long_enough(self, table: SeriesTable, series: Ints) -> Ints:
        """Those of these series that have enough points, densely enough, to deserve tiers."""
        series = series[:_SERIES_PER_PASS]
        if not len(series):
            return series
        first, last = table.first_step[series], table.last_step[series]
        statement = count_statement(windows(table, series, first, last + 1))
        counts = await self._points.query(statement)
        names = (counts[name] for name in ("key", "run", "lane", "points"))
        by_name = {tuple(map(int, row[:3])): int(row[3]) for row in zip(*names, strict=True)}
        columns = (table.key[series], table.run[series], table.lane[series])
        counted = np.array(
            [by_name.get(tuple(map(int, row)), 0) for row in zip(*columns, strict=True)]
        )
        table.counted[series] = last - first
        buckets = np.maximum(1, last - first >> TIER_SHIFT)
        chosen: Ints = series[(counted >= SHORTEST) & (counted >= _DENSEST_GAP * buckets)]
        return chosen

    def _window(self, table: SeriesTable, series: Ints) -> tuple[Ints, Ints]:
        """The steps whose buckets are to be built: from the watermark to the last whole bucket."""
        # A series without tiers is built from its very beginning, known here or not.
        low = np.maximum(table.tiered[series], -MAX_STEP)
        return low, table.last_step[series] >> TIER_SHIFT << TIER_SHIFT

    async def _build(
        self, table: SeriesTable, series: Ints, low: Ints, high: Ints, ver: Versions
    ) -> None:
        await self._insert_tiers(table, series, low, high, ver)
        if len(series):
            await self._points.insert("series", _watermarks(table, series, high))

    async def _rebuild(
        self, table: SeriesTable, late: list[tuple[Ints, Ints]], ver: Versions
    ) -> None:
        if not late:
            return
        pairs = np.unique(
            np.stack([np.concatenate(column) for column in zip(*late, strict=True)]), axis=1
        )
        # What belongs to shards that another worker has by now is that worker's to mend.
        pairs = pairs[:, ver[pairs[0]] != 0]
        series, buckets = pairs[0], pairs[1]
        low = buckets << TIER_SHIFT
        await self._insert_tiers(table, series, low, low + (1 << TIER_SHIFT), ver)
        clean = dirty_columns(table, series, buckets, is_dirty=False)
        await self._points.insert("dirty", {**clean, "ver": ver[series]})

    async def _insert_tiers(
        self, table: SeriesTable, series: Ints, low: Ints, high: Ints, ver: Versions
    ) -> None:
        """Build all buckets in these windows, in statements of bounded size, shard by shard."""
        for version in np.unique(ver[series]).tolist():
            mine = np.flatnonzero(ver[series] == version)
            start = np.maximum(low, table.first_step[series])
            for part in _parts(mine, (high - start)[mine] >> TIER_SHIFT):
                grouped = windows(table, series[part], low[part], high[part])
                await self._points.execute(build_statement(grouped, version))


def _parts(rows: Ints, buckets: Ints) -> list[Ints]:
    """`rows` cut so that each part builds a bounded number of buckets, and has few windows."""
    parts, start, total = [], 0, 0
    for at, count in enumerate(buckets.tolist()):
        if at > start and (total + count > _BUCKETS_PER_STATEMENT or at - start >= 500):
            parts.append(rows[start:at])
            start, total = at, 0
        total += count
    if start < len(rows):
        parts.append(rows[start:])
    return parts


def _watermarks(table: SeriesTable, series: Ints, high: Ints) -> Columns:
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
