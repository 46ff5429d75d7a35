"""What this worker knows of the store and the catalog, about the shards that it owns: numbers of runs, keys and
lanes, what is committed of each writer, ranges of series, buckets whose tiers are out of date.

The catalog assigns a number once; here it is cached. It is written to the store's `names` table before its
first point, so that a catalog restored from an older copy can never assign it again.

Invariants:

- What is known holds for one store, and for the shards that were owned when it was learned. Code that finds
  that it may no longer hold calls `invalidate`; nothing is judged by it from then on until `resume`.
- `forget` empties it and leaves it stale: until `resume` has asked the store, unfinished tiers are unknown.
- An invalidation that comes while `resume` is asking is not lost: it may be about the answer.
- Only methods change it. Others read its attributes, and call methods of the objects that these hold.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

import numpy as np

from penstock.wire import MAX_STEP, Batch
from penstock.wire.records import known_records
from penstock_common.process.bounds import DEFAULT_BOUNDS, Bounds
from penstock_common.queue.redis_keys import run_path, shard_of
from penstock_storage.commits.positions import StoredPosition, read_positions
from penstock_storage.commits.unfinished import (
    read_dirty_buckets,
    read_long_series,
    read_unfinished_runs,
)
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore, RunChange, RunRef, RunRow
from penstock_storage.contracts.lanes import UNSAID, LaneStart
from penstock_storage.names import gone_name, lane_name, outlived_name, record, start_name
from penstock_storage.readers.alerts import ALERT_KEY
from penstock_workers.batches.attempt_order import AttemptOrder
from penstock_workers.batches.committed import CommittedSeqs
from penstock_workers.batches.deletions import BatchRouter
from penstock_workers.batches.digests import Digests
from penstock_workers.batches.fold import Ints
from penstock_workers.batches.left_out import LeftOut
from penstock_workers.batches.run_keys import RunKeyLimit
from penstock_workers.batches.series import NEVER, KnownSeries, SeriesIndex
from penstock_workers.batches.writer_names import WriterName

__all__ = ["KnownState"]

_LOG = logging.getLogger(__name__)

_MAX_RUNS, _MAX_WRITERS, _MAX_SERIES, _MAX_KEYS = 200_000, 400_000, 2_000_000, 2_000_000
"""Kept in memory: when there is more, everything is forgotten between two commits."""
_MAX_BEYOND = 10_000
_EDITS_EVERY_S = 1.0


class KnownState:
    """What this worker knows of runs, keys, writers and series.

    `runs`: their catalog rows. `writers`: the committed numbers of each. `beyond`: numbers of writers beyond
    a bound, all of them dead. `table`: the series. `attempts`: whose attempt was resumed by another.
    `edited`: keys of summaries that an edit set, by run. `digests`: of recent batches. `deletions`: where
    batches of deleted and moved runs belong.
    """

    def __init__(
        self,
        catalog: Catalog,
        points: PointStore,
        bounds: Bounds = DEFAULT_BOUNDS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._points = points
        self._clock = clock
        self._run_keys = RunKeyLimit(catalog, points, bounds.keys_per_run)
        self._invalidations = self._resumed = 0
        self.digests = Digests(points)
        self.deletions = BatchRouter(catalog)
        self.deletions.listen(self._lose)
        self._clear()

    def _clear(self) -> None:
        self.table = SeriesIndex(self._clock)
        self.runs: dict[RunRef, RunRow] = {}
        self.writers: dict[WriterName, CommittedSeqs] = {}
        self.beyond: dict[WriterName, CommittedSeqs] = {}
        self.attempts = AttemptOrder()
        self.edited: dict[int, set[str]] = {}
        self._edits_read_at = float("-inf")
        self._shards: dict[RunRef, int] = {}
        """The shard whose owner writes to a moved run, by the run's current name."""
        self._began: dict[WriterName, int] = {}
        """When new writers started (µs), by the server's clock."""
        self._left_out: dict[RunRef, int] = {}
        """How many values of a run are not stored, since it has too many keys."""
        self._late: list[tuple[Ints, Ints]] = []
        self._keys: dict[int, dict[str, int]] = {}
        self._run_keys.forget()
        self.digests.forget()

    # -- whether it holds

    @property
    def is_stale(self) -> bool:
        """Whether what is known here may no longer hold: forget it all before the next commit."""
        return self._invalidations > self._resumed

    def invalidate(self, reason: str) -> None:
        """What is known may no longer hold, for this reason (a word for the log)."""
        self._invalidations += 1
        _LOG.info("known_state_stale reason=%s", reason)

    def forget(self, reason: str) -> None:
        """Forget everything, for this reason. Not while a commit or a pass over tiers is under way: both hold
        indices into the table."""
        self.invalidate(reason)
        self._clear()

    async def resume(self, shards: Container[int]) -> None:
        """Ask the store what an earlier owner of these shards left unfinished, even if no new point of it
        ever comes; what is learned from now on holds."""
        invalidations = self._invalidations
        runs = {
            run: shard
            for run, path in (await read_unfinished_runs(self._points)).items()
            if (shard := shard_of(path)) in shards
        }
        if runs:
            await self._learn_series(runs)
        self._resumed = invalidations

    def forget_writers(self, names: Iterable[WriterName]) -> None:
        """What is known of these writers no longer holds for the store: ask it again. A writer of a moved
        run may be given under its earlier name."""
        for ref, writer in names:
            for each in (ref, *self._shards):
                self.writers.pop((each, writer), None)
                self.beyond.pop((each, writer), None)

    def _lose(self, ref: RunRef) -> None:
        """A run of this name was deleted: the next one has another number."""
        if self.runs.pop(ref, None) is not None:
            for name in [name for name in self.writers if name[0] == ref]:
                del self.writers[name]

    # -- buckets whose tiers have to be rebuilt

    @property
    def has_late(self) -> bool:
        """Whether there is something to take."""
        return bool(self._late)

    def mark_late(self, series: Ints, buckets: Ints) -> None:
        """The tier rows of these (series, bucket) pairs are older than their points."""
        self._late.append((series, buckets))

    def take_late(self) -> tuple[Ints, Ints]:
        """All (series, bucket) pairs that were marked since the last time, sorted, each once. Who does not
        rebuild one of them marks it again."""
        late, self._late = self._late, []
        if not late:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        pairs = np.stack([np.concatenate(column) for column in zip(*late, strict=True)])
        series, buckets = np.unique(pairs, axis=1)
        return series, buckets

    # -- what batches tell

    def note_began(self, name: WriterName, at: int) -> None:
        """When a writer started (µs, by the server's clock); 0 if unknown."""
        if at and name not in self.writers:
            self._began.setdefault(name, at)

    def note_shard(self, ref: RunRef, shard: int) -> None:
        """The batches of this moved run, under its current name, come through this shard."""
        self._shards[ref] = shard

    def note_beyond(self, name: WriterName, before: int) -> None:
        """This writer is beyond a bound: all of its numbers above `before` are dead."""
        self.beyond[name] = CommittedSeqs(0, before)

    def count_left_out(self, left_out: LeftOut) -> dict[RunRef, RunChange]:
        """Count the values that a commit leaves out; returns the changes that record it on their runs."""
        return left_out.changes(self.runs, self._left_out)

    # -- what it asks for

    async def read_edits(self) -> None:
        """Learn which runs' summaries were edited, at most every second."""
        now = time.monotonic()
        if now - self._edits_read_at >= _EDITS_EVERY_S:
            self.edited = await self._catalog.edited_summaries()
            self._edits_read_at = now

    async def learn(
        self, batches: dict[WriterName, list[Batch]], before: Mapping[WriterName, int]
    ) -> dict[WriterName, str]:
        """Look up, or have assigned, the numbers of all names in these batches that are not known yet.
        `before`: for each writer whose batches the queue numbers, the number before the first one here.

        Returns the writers beyond a bound, each with what there are too many of: runs or writers. Keys
        beyond their bound get no number (see `key_numbers`).
        """
        # Not right now: the commit in hand and the compactor hold indices into the table.
        if self._is_large():
            self.invalidate("too_large")
        if len(self.beyond) > _MAX_BEYOND:
            self.beyond.clear()
        names = await self._learn_runs({ref for ref, _ in batches})
        refused = {name: "runs" for name in batches if name[0] not in self.runs}
        names += await self._learn_writers(_without(batches, refused), before)
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
        for (ref, _), at in self._began.items():  # data that waited on its machine, maybe for days
            began[ref] = min(at, began.get(ref, at))
        rows = await self._catalog.ensure_runs(new, began)
        self.runs.update(rows)
        await self._learn_series(
            {
                row.number: self._shards.get(ref, shard_of(_path(ref)))
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
        """Learn ranges and watermarks of the series of these runs (with their shards) that existed before
        this worker, and the buckets that earlier owners left dirty."""
        for each in await read_long_series(self._points, shards):
            self.table.learn(
                KnownSeries(
                    each.key, each.run, each.lane, shards[each.run], each.first_step, each.last_step,
                    each.tiered,
                )
            )  # fmt: skip
        if dirty := await read_dirty_buckets(self._points, shards):
            series = [
                self.table.learn(
                    KnownSeries(
                        each.key, each.run, each.lane, shards[each.run], MAX_STEP, NEVER, NEVER
                    )
                )
                for each in dirty
            ]
            buckets = np.array([each.bucket for each in dirty], np.int64)
            self.mark_late(np.array(series, np.int64), buckets)

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
        for entry in known_records(batch.records):
            if entry["t"] == "value":
                yield entry["key"]
            elif entry["t"] == "alert":
                yield ALERT_KEY

    async def _learn_writers(
        self, batches: dict[WriterName, list[Batch]], before: Mapping[WriterName, int]
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
            starts[number, writer] = LaneStart(*first.start, self._began.pop((ref, writer), 0))
        # If a writer has no lane yet, no number below those that come now is in the store.
        numbered = [
            (run, name[1]) for name, (run, *_) in zip(new, asked, strict=True) if name in before
        ]
        known = await self._catalog.known_writers(numbered) if numbered else {}
        lanes = await self._catalog.ensure_lanes(asked, starts)
        stored = await read_positions(self._points, sorted({run for run, *_ in asked}))
        await self._run_keys.count({run for run, _ in stored})
        for name, (run, writer, *_) in zip(new, asked, strict=True):
            if (run, writer) in lanes:
                low = 0 if (run, writer) in known else before.get(name, 0)
                position = stored.get((run, writer), StoredPosition(0, low, (), ()))
                self.writers[name] = CommittedSeqs(
                    lanes[(run, writer)], position.low, position.gaps, position.dead
                )
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


def _path(ref: RunRef) -> str:
    return run_path(ref.entity, ref.project, ref.run)


def _without(
    batches: dict[WriterName, list[Batch]], refused: Container[WriterName]
) -> dict[WriterName, list[Batch]]:
    return {name: each for name, each in batches.items() if name not in refused}
