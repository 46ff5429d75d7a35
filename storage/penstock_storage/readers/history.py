"""Full-resolution history of a run as JSON lines, page by page, in bounded memory.

A page has as many steps as hold about `_MAX_PAGE_POINTS` points: many thousands for a few keys, a
hundred for ten thousand. Repeats of points are read too: dropping them while the page is sorted costs
next to nothing, while the store's FINAL would take most of the time. Closing the iterator stops the
reading.

A run's history is what its script logged. System metrics have lanes and steps of their own and form a
separate history. Alerts are in neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from penstock_storage.charts.attempts import attempt_ends, contested_runs
from penstock_storage.charts.plan import FOREVER
from penstock_storage.charts.series import int_list, read_first_steps, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns, LaneRow, PointStore, RunRow
from penstock_storage.readers.rows import KeyColumn, LanePlace, Page

__all__ = ["HistoryQuery", "origin_us", "read_ends", "read_history"]

_MAX_PAGE_POINTS = 1_000_000
_FIRST_POINTS = 100_000
_GROWTH = 4
_MAX_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Rows of one run with `lo` <= step < `hi`.

    `names` are the project's keys by number; a row must have all of `keys` (none: any row).
    `origin_us` is when the run began. With `by_lane` every lane keeps its rows; else ranks are merged,
    each with its latest attempt, and the lowest rank's value wins. `is_system`: the lanes with system
    metrics instead of the others. `steps`: only these, ascending, between `lo` and `hi`. `is_bare`:
    NaN and ±Inf are written bare, as Python does, not as strings.
    """

    run: int
    lanes: Sequence[LaneRow]
    names: Mapping[int, str]
    keys: Sequence[int] = ()
    lo: int = -FOREVER
    hi: int = FOREVER
    origin_us: int = 0
    by_lane: bool = False
    is_system: bool = False
    steps: Sequence[int] | None = None
    is_bare: bool = False

    def own_lanes(self) -> list[LaneRow]:
        """The lanes to read."""
        return [lane for lane in self.lanes if lane.is_system == self.is_system]


async def read_history(store: PointStore, query: HistoryQuery) -> AsyncGenerator[bytes, None]:
    """JSON lines in step order, in chunks."""
    reader = await _Reader.open(store, query)
    if reader is None:
        return
    pages = reader.pages()
    # The store reads the next page while this one is formatted.
    coming = asyncio.create_task(anext(pages, None))
    try:
        while page := await coming:
            coming = asyncio.create_task(anext(pages, None))
            lines = page.lines()
            while chunk := await asyncio.to_thread(next, lines, b""):
                yield chunk
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await pages.aclose()


class _Reader:
    """Reads the pages of one run."""

    def __init__(
        self,
        store: PointStore,
        query: HistoryQuery,
        lanes: list[LanePlace],
        keys: list[KeyColumn],
        texts: set[int],
    ) -> None:
        self._store = store
        self._query = query
        self._lanes = lanes
        self._keys = keys
        self._texts = texts
        if len(keys) <= 5_000:
            self._wanted = int_list(key.number for key in keys)
        else:  # too many to name in a statement
            self._wanted = f"SELECT key FROM {DATABASE}.series WHERE run = {int(query.run)}"

    @classmethod
    async def open(cls, store: PointStore, query: HistoryQuery) -> _Reader | None:
        """A reader for the run, or None if there are no rows to read."""
        numbers, texts, ends = await asyncio.gather(
            _numeric_keys(store, query), _value_keys(store, query), read_ends(store, query)
        )
        wanted = set(query.keys) or set(numbers) | texts
        if not wanted or not wanted <= set(numbers) | texts:
            return None
        keys = [
            KeyColumn(key, query.names[key], numbers.get(key, 0))
            for key in sorted(wanted)
            if key in query.names
        ]
        # Lower ranks win; lanes of one rank do not overlap within their ends.
        order = sorted(query.own_lanes(), key=LaneRow.precedence)
        lanes = [LanePlace(lane.lane, lane.rank, ends.get(lane.lane, FOREVER)) for lane in order]
        if query.by_lane:
            lanes.sort(key=lambda lane: (lane.rank, lane.lane))
        if not keys or not lanes:
            return None
        return cls(store, query, lanes, keys, texts & wanted)

    async def pages(self) -> AsyncGenerator[Page, None]:
        """The run page by page; the first page is small, so that it arrives soon."""
        if self._query.steps is not None:
            async for page in self._pages_of(self._query.steps):
                yield page
            return
        # Exact if every step has every key.
        lo, rows = self._query.lo, max(1, _FIRST_POINTS // len(self._keys))
        while lo < self._query.hi:
            found = await self._read(lo, rows)
            if found is None:  # more points than a page may hold
                rows = max(1, rows // _GROWTH)
                continue
            page, lo, size = found
            yield page
            dense = rows * _MAX_PAGE_POINTS // max(size, 1)
            rows = max(1, min(dense, rows * _GROWTH, _MAX_PAGE_POINTS))

    async def _pages_of(self, steps: Sequence[int]) -> AsyncGenerator[Page, None]:
        rows = max(1, min(_MAX_STEPS, _MAX_PAGE_POINTS // len(self._keys)))
        waiting = [steps[at : at + rows] for at in range(0, len(steps), rows)][::-1]
        while waiting:
            some = waiting.pop()
            span = f"step >= {int(some[0])} AND step <= {int(some[-1])}"
            found = await self._read_page(f"{span} AND step IN ({int_list(some)})")
            if found is not None:
                yield found[0]
            elif len(some) > 1:
                half = len(some) // 2
                waiting += [some[half:], some[:half]]

    async def _read(self, lo: int, rows: int) -> tuple[Page, int, int] | None:
        """The next `rows` logged steps from `lo` on, the start of the following page, and the number of
        points; None if there are too many."""
        hi = self._query.hi
        if hi - lo > rows:
            hi = await self._end_of_page(lo, rows)
        found = await self._read_page(f"step >= {lo} AND step < {hi}")
        return None if found is None else (found[0], hi, found[1])

    async def _read_page(self, steps: str) -> tuple[Page, int] | None:
        """The rows of these steps (a condition), and the number of points; None if there are too many."""
        span = f"run = {int(self._query.run)} AND {steps}"
        limit = _MAX_PAGE_POINTS * 2 + len(self._keys) * len(self._lanes)
        points, times, values = await asyncio.gather(
            self._read_points(span, limit), self._read_times(span), self._read_values(span)
        )
        size = len(points["key"]) if points else 0
        if size >= limit:
            return None
        page = Page(
            keys=self._keys,
            lanes=self._lanes,
            points=points,
            times=times,
            values=values,
            origin_us=self._query.origin_us,
            by_lane=self._query.by_lane,
            is_complete=bool(self._query.keys),
            is_bare=self._query.is_bare,
        )
        return page, size

    async def _end_of_page(self, lo: int, rows: int) -> int:
        found = await select(
            self._store,
            f"SELECT max(step) AS last, count() AS rows FROM (SELECT step FROM {DATABASE}.times"
            f" WHERE run = {int(self._query.run)} AND {self._in_lanes()}"
            f" AND step >= {lo} AND step < {self._query.hi} ORDER BY step LIMIT {int(rows)})",
        )
        if int(found["rows"][0]) < rows:
            return self._query.hi
        return int(found["last"][0]) + 1

    def _in_lanes(self) -> str:
        if len(self._lanes) == 1:  # read in the order of the primary key, up to LIMIT
            return f"lane = {self._lanes[0].lane}"
        return f"lane IN ({int_list(lane.lane for lane in self._lanes)})"

    async def _read_points(self, span: str, limit: int) -> Columns:
        return await select(
            self._store,
            f"SELECT key, lane, step, v, seq FROM {DATABASE}.points"
            f" PREWHERE key IN ({self._wanted}) AND {span} LIMIT {limit}",
        )

    async def _read_times(self, span: str) -> Columns:
        return await select(
            self._store, f"SELECT lane, step, t, seq FROM {DATABASE}.times PREWHERE {span}"
        )

    async def _read_values(self, span: str) -> Columns:
        if not self._texts:
            return {}
        return await select(
            self._store,
            f"SELECT key, lane, step, json FROM {DATABASE}.values FINAL"
            f" PREWHERE key IN ({int_list(self._texts)}) AND {span}",
        )


async def _numeric_keys(store: PointStore, query: HistoryQuery) -> dict[int, int]:
    """The kinds of each key with points in the run."""
    where = f"run = {int(query.run)}"
    lanes = query.own_lanes()
    if len(lanes) < len(query.lanes):
        where += f" AND lane IN ({int_list(lane.lane for lane in lanes)})" if lanes else " AND 0"
    columns = await select(
        store,
        f"SELECT key, groupBitOr(s.kinds) AS kinds FROM {DATABASE}.series AS s"
        f" WHERE {where} GROUP BY key",
    )
    if not columns:
        return {}
    key, kinds = np.asarray(columns["key"]), np.asarray(columns["kinds"])
    return dict(zip(key.tolist(), kinds.tolist(), strict=True))


async def _value_keys(store: PointStore, query: HistoryQuery) -> set[int]:
    if not query.names:
        return set()
    # The table is ordered by key: only the project's own keys need to be read.
    columns = await select(
        store,
        f"SELECT DISTINCT key FROM {DATABASE}.values"
        f" WHERE key BETWEEN {int(min(query.names))} AND {int(max(query.names))}"
        f" AND run = {int(query.run)} AND kind != 'alert'",
    )
    return set(np.asarray(columns["key"]).tolist()) if columns else set()


async def read_ends(store: PointStore, query: HistoryQuery) -> dict[int, int]:
    """Where each lane ends in the latest attempt."""
    lanes = query.own_lanes()
    if query.by_lane or not contested_runs(lanes):
        return {}
    found = attempt_ends(lanes, await read_first_steps(store, [query.run]))
    return {lane: end for (_, lane), end in found.items()}


def origin_us(row: RunRow, lanes: Sequence[LaneRow]) -> int:
    """When the run began: the earliest known start of a writer."""
    return min((lane.started for lane in lanes if lane.started > 0), default=row.created_at)
