"""Names into numbers: runs, keys and lanes, handed out by the catalog once and remembered here.

A number is written to the store's `names` table before its first point, so that a catalog restored
from an older copy can never hand it out again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import numpy as np

from penstock.wire import MAX_STEP, Batch
from penstock_common.keys import run_path, shard_of
from penstock_storage.alerts import ALERT_KEY
from penstock_storage.interface import Catalog, PointStore, RunRef, RunRow
from penstock_storage.names import gone_name, lane_name, record
from penstock_workers.applied import AppliedSet
from penstock_workers.deletions import Deletions
from penstock_workers.digests import Digests
from penstock_workers.fold import Ints
from penstock_workers.series import NEVER, KnownSeries, SeriesTable

__all__ = ["Resolver", "WriterName"]

WriterName = tuple[RunRef, str]

_MOST_RUNS, _MOST_SERIES = 200_000, 2_000_000
"""What is kept in memory: when there is more, all is forgotten between two commits."""

# Runs with dirty buckets, or with series whose tiers end before they do.
_UNFINISHED = """
SELECT r.id AS run, r.name AS name, p.name AS project
FROM (SELECT id, name, project FROM penstock.names FINAL WHERE kind = 'run') AS r
JOIN (SELECT id, name FROM penstock.names FINAL WHERE kind = 'project') AS p ON p.id = r.project
WHERE r.id IN (
    SELECT run FROM penstock.dirty FINAL WHERE dirty = 1
    UNION DISTINCT
    SELECT run FROM (
        SELECT run, min(first_step) AS a, max(last_step) AS z, max(tiered) AS t
        FROM penstock.series GROUP BY run, key, lane
    ) WHERE z - a >= 8192 AND z >= t
)
"""


class Resolver:
    """What this worker knows of runs, keys, writers and their applied sets.

    `shards` has the shard whose owner writes to a run that was moved, by the name that it has now.
    `before` has the last number that batches of an earlier run had, where the queue numbers them by
    the name of their run. `table` holds series, `late` the (series, bucket) pairs whose tiers have to be built again.
    `is_stale` asks the worker to forget it all before the next commit.
    """

    def __init__(self, catalog: Catalog, points: PointStore) -> None:
        self._catalog = catalog
        self._points = points
        self.digests = Digests(points)
        self.deletions = Deletions(catalog)
        self.deletions.listeners.append(self._lose)
        self.forget()

    def forget(self) -> None:
        """Know nothing: after a failure, or when shards change hands."""
        self.table = SeriesTable()
        self.runs: dict[RunRef, RunRow] = {}
        self.shards: dict[RunRef, int] = {}
        self.before: dict[WriterName, int] = {}
        self.writers: dict[WriterName, AppliedSet] = {}
        self._keys: dict[int, dict[str, int]] = {}
        self.late: list[tuple[Ints, Ints]] = []
        self.is_stale = False
        self.digests.forget()

    def _lose(self, ref: RunRef) -> None:
        """A run of this name was deleted: the next one has another number."""
        if self.runs.pop(ref, None) is not None:
            for name in [name for name in self.writers if name[0] == ref]:
                del self.writers[name]

    async def learn(self, batches: dict[WriterName, list[Batch]]) -> None:
        """Look up, or hand out, every name in these batches that is not known yet."""
        # Not at once: the commit in hand, and the compactor, hold indices into the table.
        if len(self.runs) > _MOST_RUNS or len(self.table) > _MOST_SERIES:
            self.is_stale = True
        names: list[tuple[str, int, int, str]] = []
        names += await self._learn_runs({ref for ref, _ in batches})
        names += await self._learn_keys(batches)
        if names:
            await record(self._points, names)
        await self._learn_writers(batches)

    async def resume(self, shards: Container[int]) -> None:
        """Meet the series of these shards whose tiers were left unfinished by an earlier owner,
        even if no new point of theirs ever comes."""
        found = await self._points.query(_UNFINISHED)
        columns = (found[name] for name in ("run", "name", "project"))
        left = {}
        for run, name, project in zip(*columns, strict=True):
            shard = shard_of(f"{project}/{name}")
            if shard in shards:
                left[int(run)] = shard
        if left:
            await self._learn_series(left)

    def key_numbers(self, project: int, keys: Iterable[str]) -> list[int]:
        """The numbers of keys that `learn` has seen."""
        known = self._keys[project]
        return [known[key] for key in keys]

    def missing_batches(self) -> int:
        """Numbers below ones that came, of batches that have not come: on their way, or lost."""
        return sum(
            max(each.gaps) - each.low - len(each.gaps)
            for each in self.writers.values()
            if each.gaps
        )

    async def _learn_runs(self, refs: set[RunRef]) -> list[tuple[str, int, int, str]]:
        new = [ref for ref in refs if ref not in self.runs]
        if not new:
            return []
        rows = await self._catalog.ensure_runs(new)
        self.runs.update(rows)
        await self._learn_series(
            {
                row.number: self.shards.get(ref, shard_of(_path(ref)))
                for ref, row in rows.items()
            }
        )  # fmt: skip
        projects = {
            ("project", row.project_number, 0, f"{row.entity}/{row.project}")
            for row in rows.values()
        }
        runs = [("run", row.number, row.project_number, row.run) for row in rows.values()]
        # Before a later run of the same id, the store must know that the earlier one is gone.
        gone = [
            gone_name(each.run, each.project_number, ref.run, each.deleted_at, each.moved_to)
            for ref in new
            for each in self.deletions.of(ref)
        ]
        return [*projects, *gone, *runs]

    async def _learn_series(self, shards: dict[int, int]) -> None:
        """Ranges and watermarks of series that were there before this worker."""
        found = await self._points.query(
            "SELECT key, run, lane, min(first_step) AS first, max(last_step) AS last, "
            "max(tiered) AS below FROM penstock.series WHERE run IN {runs:Array(UInt32)} "
            "GROUP BY key, run, lane HAVING last - first >= 4096",
            {"runs": list(shards)},
        )
        columns = (found[name] for name in ("key", "run", "lane", "first", "last", "below"))
        for row in zip(*columns, strict=True):
            key, run, lane, first, last, below = map(int, row)
            self.table.learn(KnownSeries(key, run, lane, shards[run], first, last, below))
        await self._learn_dirty(shards)

    async def _learn_dirty(self, shards: dict[int, int]) -> None:
        """Buckets that earlier owners left dirty."""
        found = await self._points.query(
            "SELECT key, run, lane, bucket FROM penstock.dirty FINAL "
            "WHERE dirty = 1 AND run IN {runs:Array(UInt32)}",
            {"runs": list(shards)},
        )
        columns = (found[name] for name in ("key", "run", "lane", "bucket"))
        rows = [tuple(map(int, row)) for row in zip(*columns, strict=True)]
        if rows:
            series = [
                self.table.learn(KnownSeries(key, run, lane, shards[run], MAX_STEP, NEVER, NEVER))
                for key, run, lane, _ in rows
            ]
            buckets = np.array([bucket for *_, bucket in rows], np.int64)
            self.late.append((np.array(series, np.int64), buckets))

    async def _learn_keys(
        self, batches: dict[WriterName, list[Batch]]
    ) -> list[tuple[str, int, int, str]]:
        wanted: dict[int, set[str]] = {}
        for (ref, _), each in batches.items():
            project = self.runs[ref].project_number
            known = self._keys.setdefault(project, {})
            for batch in each:
                wanted.setdefault(project, set()).update(
                    key for key in _keys(batch) if key not in known
                )
        names: list[tuple[str, int, int, str]] = []
        for project, keys in wanted.items():
            if keys:
                numbers = await self._catalog.ensure_keys(project, sorted(keys))
                self._keys[project].update(numbers)
                names += [("key", number, project, key) for key, number in numbers.items()]
        return names

    async def _learn_writers(self, batches: dict[WriterName, list[Batch]]) -> None:
        new = [name for name in batches if name not in self.writers]
        if not new:
            return
        asked = []
        for ref, writer in new:
            first = batches[(ref, writer)][0]
            asked.append((self.runs[ref].number, writer, first.rank, first.writer_started))
        lanes = await self._catalog.ensure_lanes(asked)
        stored = await self._stored_marks(sorted({run for run, *_ in asked}))
        await record(
            self._points,
            [
                ("lane", lanes[(run, writer)], run, lane_name(rank, started, writer))
                for run, writer, rank, started in asked
                if (run, writer) not in stored
            ],
        )
        for name, (run, writer, *_) in zip(new, asked, strict=True):
            low, gaps, dead = stored.get((run, writer), (self.before.get(name, 0), [], []))
            self.writers[name] = AppliedSet(lanes[(run, writer)], low, gaps, dead)

    async def _stored_marks(
        self, runs: list[int]
    ) -> dict[tuple[int, str], tuple[int, list[int], list[int]]]:
        found = await self._points.query(
            "SELECT run, writer, low, gaps, dead FROM penstock.applied FINAL "
            "WHERE run IN {runs:Array(UInt32)}",
            {"runs": runs},
        )
        columns = (found[name] for name in ("run", "writer", "low", "gaps", "dead"))
        return {
            (int(run), writer): (int(low), list(gaps), list(dead))
            for run, writer, low, gaps, dead in zip(*columns, strict=True)
        }


def _path(ref: RunRef) -> str:
    return run_path(ref.entity, ref.project, ref.run)


def _keys(batch: Batch) -> Iterable[str]:
    for frame in batch.frames:
        yield from frame.keys
    for entry in batch.records:
        if entry["t"] == "value":
            yield entry["key"]
        elif entry["t"] == "alert":
            yield ALERT_KEY
