"""Resolves names to numbers: of runs, keys and lanes. The catalog assigns them once; here they are cached.

A number is written to the store's `names` table before its first point, so that a catalog restored
from an older copy can never assign it again.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Sequence

import numpy as np

from penstock.wire import MAX_STEP, Batch
from penstock_common.process.bounds import DEFAULT_BOUNDS, Bounds
from penstock_common.queue.redis_keys import run_path, shard_of, split_writer_key
from penstock_storage.contracts.interface import Catalog, PointStore, RunRef, RunRow
from penstock_storage.contracts.lanes import UNSAID, LaneStart
from penstock_storage.names import gone_name, lane_name, outlived_name, record, start_name
from penstock_storage.readers.alerts import ALERT_KEY
from penstock_workers.batches.attempt_order import AttemptOrder
from penstock_workers.batches.committed import CommittedSeqs
from penstock_workers.batches.deletions import BatchRouter
from penstock_workers.batches.digests import Digests
from penstock_workers.batches.fold import Ints
from penstock_workers.batches.run_keys import RunKeyLimit
from penstock_workers.batches.series import NEVER, KnownSeries, SeriesIndex

__all__ = ["Resolver", "WriterName", "writer_name"]

WriterName = tuple[RunRef, str]

_MAX_RUNS, _MAX_WRITERS, _MAX_SERIES, _MAX_KEYS = 200_000, 400_000, 2_000_000, 2_000_000
"""Kept in memory: when there is more, everything is forgotten between two commits."""
_MAX_BEYOND = 10_000
_EDITS_EVERY_S = 1.0

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
    """What this worker knows of runs, keys, writers and their committed numbers.

    `shards`: for a moved run, by its current name, the shard whose owner writes to it. `before`: for
    each writer whose batches the queue numbers, the number before the first one that came. `beyond`:
    numbers of writers beyond a bound, all of them dead. `began`: when new writers started, by the server's
    clock; `attempts`: whose attempt was resumed by another; `edited`: keys of summaries that an edit set. `left_out`: how many values of a run are not
    stored, since it has too many keys. `table` holds series, `late` the (series, bucket) pairs whose
    tiers have to be rebuilt. `is_stale` asks the worker to forget everything before the next commit.
    """

    def __init__(
        self, catalog: Catalog, points: PointStore, bounds: Bounds = DEFAULT_BOUNDS
    ) -> None:
        self._catalog = catalog
        self._points = points
        self._run_keys = RunKeyLimit(catalog, points, bounds.keys_per_run)
        self.digests = Digests(points)
        self.deletions = BatchRouter(catalog)
        self.deletions.listeners.append(self._lose)
        self.forget()

    def forget(self) -> None:
        """Forget everything: after a failure, or when shards change hands."""
        self.table = SeriesIndex()
        self.runs: dict[RunRef, RunRow] = {}
        self.shards: dict[RunRef, int] = {}
        self.before: dict[WriterName, int] = {}
        self.writers: dict[WriterName, CommittedSeqs] = {}
        self._keys: dict[int, dict[str, int]] = {}
        self._run_keys.forget()
        self.beyond: dict[WriterName, CommittedSeqs] = {}
        self.left_out: dict[RunRef, int] = {}
        self.began: dict[WriterName, int] = {}
        self.attempts = AttemptOrder()
        self.edited: dict[int, set[str]] = {}
        self._edits_read_at = float("-inf")
        self.late: list[tuple[Ints, Ints]] = []
        self.is_stale = False
        self.digests.forget()

    async def read_edits(self) -> None:
        """Learn which runs' summaries were edited, at most every second."""
        now = time.monotonic()
        if now - self._edits_read_at >= _EDITS_EVERY_S:
            self.edited = await self._catalog.edited_summaries()
            self._edits_read_at = now

    def note_began(self, name: WriterName, at: int) -> None:
        """When a writer started (µs, by the server's clock); 0 if unknown."""
        if at and name not in self.writers:
            self.began.setdefault(name, at)

    def mark_stale(self) -> None:
        """What is known here no longer holds for the store."""
        self.is_stale = True

    def forget_writers(self, names: Iterable[WriterName]) -> None:
        """What is known of these writers no longer holds for the store: ask it again. A writer of a moved
        run may be given under its earlier name."""
        for ref, writer in names:
            for each in (ref, *self.shards):
                self.writers.pop((each, writer), None)
                self.beyond.pop((each, writer), None)

    def _lose(self, ref: RunRef) -> None:
        """A run of this name was deleted: the next one has another number."""
        if self.runs.pop(ref, None) is not None:
            for name in [name for name in self.writers if name[0] == ref]:
                del self.writers[name]

    async def learn(self, batches: dict[WriterName, list[Batch]]) -> dict[WriterName, str]:
        """Look up, or have assigned, the numbers of all names in these batches that are not known yet.

        Returns the writers beyond a bound, each with what there are too many of: runs or writers. Keys
        beyond their bound get no number (see `key_numbers`).
        """
        # Not right now: the commit in hand and the compactor hold indices into the table.
        if self._is_large():
            self.is_stale = True
        if len(self.beyond) > _MAX_BEYOND:
            self.beyond.clear()
        names = await self._learn_runs({ref for ref, _ in batches})
        refused = {name: "runs" for name in batches if name[0] not in self.runs}
        names += await self._learn_writers(_without(batches, refused))
        refused |= {
            name: "writers" for name in batches if name not in self.writers and name not in refused
        }
        names += await self._learn_keys(_without(batches, refused))
        if names:
            await record(self._points, names)
        return refused

    def _is_large(self) -> bool:
        return (
            len(self.runs) > _MAX_RUNS
            or len(self.writers) > _MAX_WRITERS
            or len(self.table) > _MAX_SERIES
            or sum(map(len, self._keys.values())) > _MAX_KEYS
        )

    async def resume(self, shards: Container[int]) -> None:
        """Learn the series of these shards whose tiers an earlier owner left unfinished, even if no new
        point of theirs ever comes."""
        found = await self._points.query(_UNFINISHED)
        columns = (found[name] for name in ("run", "name", "project"))
        left = {}
        for run, name, project in zip(*columns, strict=True):
            shard = shard_of(f"{project}/{name}")
            if shard in shards:
                left[int(run)] = shard
        if left:
            await self._learn_series(left)

    async def set_outlived(self, lanes: Sequence[tuple[int, int]]) -> None:
        """What these lanes (run, lane) claimed to replace goes on."""
        await record(self._points, [outlived_name(run, lane) for run, lane in lanes])
        await self._catalog.set_outlived(lanes)
        places = {each for lane in lanes for each in self.attempts.forget(*lane)}
        self.attempts.learn([], await self._catalog.newest_attempts(places))

    def key_numbers(self, run: RunRow, keys: Iterable[str]) -> list[int | None]:
        """The numbers of keys that `learn` was given; None for keys beyond the run's bound."""
        known, of_run = self._keys[run.project_number], self._run_keys
        return [known.get(key) if of_run.has(run.number, key) else None for key in keys]

    def missing_batches(self) -> int:
        """How many batches are missing below numbers that came: on their way, or lost."""
        return sum(
            max(each.gaps) - each.low - len(each.gaps)
            for each in self.writers.values()
            if each.gaps
        )

    async def _learn_runs(self, refs: set[RunRef]) -> list[tuple[str, int, int, str]]:
        new = [ref for ref in refs if ref not in self.runs]
        if not new:
            return []
        began: dict[RunRef, int] = {}
        for (ref, _), at in self.began.items():  # data that waited on its machine, maybe for days
            began[ref] = min(at, began.get(ref, at))
        rows = await self._catalog.ensure_runs(new, began)
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
        """Learn ranges and watermarks of series that existed before this worker."""
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
        wanted: dict[RunRef, dict[str, None]] = {}
        for name, each in batches.items():
            keys = wanted.setdefault(name[0], {})
            for batch in each:
                keys.update(dict.fromkeys(self._new_keys(name, batch)))
        await self._run_keys.admit({self.runs[ref].number: keys for ref, keys in wanted.items()})
        by_project: dict[int, set[str]] = {}
        for ref, keys in wanted.items():
            run = self.runs[ref]
            known = self._keys.setdefault(run.project_number, {})
            by_project.setdefault(run.project_number, set()).update(
                key for key in keys if key not in known and self._run_keys.has(run.number, key)
            )
        names: list[tuple[str, int, int, str]] = []
        for project, new in by_project.items():
            if new:
                numbers = await self._catalog.ensure_keys(project, sorted(new))
                self._keys[project].update(numbers)
                names += [("key", number, project, key) for key, number in numbers.items()]
        return names

    def _new_keys(self, name: WriterName, batch: Batch) -> Iterator[str]:
        """The keys of a batch, except those of frames that were seen before."""
        run, lane = self.runs[name[0]].number, self.writers[name].lane
        for frame in batch.frames:
            if self.table.of_frame(run, lane, tuple(frame.keys)) is None:
                yield from frame.keys
        for entry in batch.records:
            if entry["t"] == "value":
                yield entry["key"]
            elif entry["t"] == "alert":
                yield ALERT_KEY

    async def _learn_writers(
        self, batches: dict[WriterName, list[Batch]]
    ) -> list[tuple[str, int, int, str]]:
        new = [name for name in batches if name not in self.writers]
        if not new:
            return []
        asked: list[tuple[int, str, int, int]] = []
        starts: dict[tuple[int, str], LaneStart] = {}
        for ref, writer in new:
            first = batches[(ref, writer)][0]
            number = self.runs[ref].number
            asked.append((number, writer, first.rank, first.writer_started))
            starts[number, writer] = LaneStart(*first.start, self.began.pop((ref, writer), 0))
        # If a writer has no lane yet, no number below those that come now is in the store.
        numbered = [
            (run, name[1])
            for name, (run, *_) in zip(new, asked, strict=True)
            if name in self.before
        ]
        known = await self._catalog.known_writers(numbered) if numbered else {}
        lanes = await self._catalog.ensure_lanes(asked, starts)
        stored = await self._stored_positions(sorted({run for run, *_ in asked}))
        await self._run_keys.count({run for run, _ in stored})
        for name, (run, writer, *_) in zip(new, asked, strict=True):
            if (run, writer) in lanes:
                before = 0 if (run, writer) in known else self.before.get(name, 0)
                low, gaps, dead = stored.get((run, writer), (before, [], []))
                self.writers[name] = CommittedSeqs(lanes[(run, writer)], low, gaps, dead)
        rows = await self._catalog.known_writers(lanes)
        places = {(row.run, row.rank) for row in rows.values()}
        self.attempts.learn(rows.values(), await self._catalog.newest_attempts(places))
        fresh = [row for name, row in rows.items() if name not in stored]
        return [
            *(
                ("lane", row.lane, row.run, lane_name(row.rank, row.started, row.writer))
                for row in fresh
            ),
            *(start_name(row.run, row.lane, row.start) for row in fresh if row.start != UNSAID),
        ]

    async def _stored_positions(
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


def writer_name(key: str) -> WriterName:
    """The run and the writer of a writer key."""
    entity, project, run, writer = split_writer_key(key)
    return RunRef(entity, project, run), writer


def _path(ref: RunRef) -> str:
    return run_path(ref.entity, ref.project, ref.run)


def _without(
    batches: dict[WriterName, list[Batch]], refused: Container[WriterName]
) -> dict[WriterName, list[Batch]]:
    return {name: each for name, each in batches.items() if name not in refused}
