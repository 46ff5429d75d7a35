"""One commit: points and everything that belongs to them, then the committed numbers, then the queue.

The order is the guarantee. A crash at any point leaves the entries in the queue; committing them
again writes the same rows under the same keys. Positions are published, and entries deleted, only
once everything before them is durable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from redis.asyncio import Redis

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, PenstockError, Transient
from penstock.failpoints import fail
from penstock_common.queue.entries import Entry
from penstock_common.queue.news import publish
from penstock_common.queue.redis_keys import RedisKeys
from penstock_storage.commits.positions import PositionRow, insert_positions
from penstock_storage.contracts.catalog import RunCatalog
from penstock_storage.contracts.interface import PointStore, RunRef
from penstock_workers.batches.fold import Columns, Folded
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.prepare import Prepared
from penstock_workers.batches.tiers import dirty_columns
from penstock_workers.commits.bound_notices import BoundNotices
from penstock_workers.commits.commit_numbers import CommitNumbers, version, versions
from penstock_workers.commits.liveness import Liveness
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.queue import Queue

__all__ = ["Committer", "Refused"]

_MAX_INSERT_ROWS = 1_000_000
"""Rows per insert: more would not become one atomic part."""


class Refused(Broken):
    """A store refuses this commit for good: one of its entries may be at fault."""

    def __init__(self, prepared: Prepared, reason: Broken) -> None:
        super().__init__(str(reason))
        self.entries: list[Entry] = prepared.entries
        self.epochs = prepared.epochs
        self.reason = reason


class Committer:
    """Writes commits to the stores and acknowledges them to the queue."""

    def __init__(
        self,
        redis: Redis,
        keys: RedisKeys,
        queue: Queue,
        leases: Leases,
        points: PointStore,
        catalog: RunCatalog,
        known: KnownState,
        liveness: Liveness,
        clock: StoreClock,
        notices: BoundNotices,
        numbers: CommitNumbers,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._queue = queue
        self._leases = leases
        self._points = points
        self._catalog = catalog
        self._known = known
        self._liveness = liveness
        self._clock = clock
        self._numbers = numbers
        self.notices = notices

    async def commit(self, prepared: Prepared) -> set[int]:
        """Store it all and delete its entries; returns the shards that another worker owns by now.

        Raises `Transient` or `Refused` if a store did not take it: then nothing was deleted.
        """
        number = self._numbers.next()
        if prepared.beyond:  # at once: more batches arrive until the gateways know
            await self.notices.tell(prepared.beyond)
        try:
            await self._store(prepared, number)
            fail("worker.after_points")
            await self._catalog_changes(prepared)
            await self._require_same_store(prepared)
            await self._store_committed(prepared, number)
        except Broken as error:
            raise Refused(prepared, error) from error
        fail("worker.before_acknowledge")
        lost = await self._queue.acknowledge(
            {
                shard: (self._leases.owner(prepared.epochs[shard]), acknowledgement)
                for shard, acknowledgement in prepared.acknowledgements.items()
            }
        )
        fail("worker.after_acknowledge")
        if prepared.folded:
            folded = prepared.folded
            self._known.table.note_steps(folded.touched, folded.first, folded.last)
        await self.announce(prepared.advanced, prepared.changed)
        return lost

    async def _store(self, prepared: Prepared, number: int) -> None:
        folded = prepared.folded
        if folded:
            # Before the points: a reader must never rely on a tier that lacks one of them.
            await self._mark_dirty(folded, prepared.epochs, number)
        try:
            async with asyncio.TaskGroup() as inserts:
                if folded:
                    inserts.create_task(self._insert("points", folded.points))
                    inserts.create_task(self._insert("times", folded.times))
                    inserts.create_task(self._insert("series", folded.series))
                if prepared.taken:
                    inserts.create_task(self._insert("batches", prepared.taken))
                if prepared.values:
                    inserts.create_task(self._insert("values", prepared.values))
                if prepared.console:
                    inserts.create_task(self._insert("console", prepared.console))
        except* PenstockError as group:
            raise group.exceptions[0] from None

    async def _mark_dirty(self, folded: Folded, epochs: dict[int, int], number: int) -> None:
        series, buckets = folded.late(self._known.table)
        if len(series):
            self._known.mark_late(series, buckets)
            columns = dirty_columns(self._known.table, series, buckets, is_dirty=True)
            shards = self._known.table.shard[series]
            ver = versions(epochs, number, shards)
            await self._insert("dirty", {**columns, "ver": ver})

    async def _insert(self, table: str, columns: Columns) -> None:
        rows = len(next(iter(columns.values())))
        for start in range(0, rows, _MAX_INSERT_ROWS):
            part = slice(start, start + _MAX_INSERT_ROWS)
            await self._points.insert(
                table, {name: _sliced(column, part) for name, column in columns.items()}
            )

    async def _catalog_changes(self, prepared: Prepared) -> None:
        runs = {run for writers in prepared.committed.values() for run, _ in writers}
        if prepared.outlived:
            await self._known.set_outlived(sorted(prepared.outlived))
        revived = await self._liveness.note_data(runs)
        prepared.changed.update(revived)
        if prepared.changes:
            await self._catalog.apply_changes(prepared.changes, int(time.time() * 1e6))

    async def _require_same_store(self, prepared: Prepared) -> None:
        """What is known of earlier batches must be true of the store that is about to be written: an
        older copy of it would otherwise claim batches that it has lost."""
        if self._clock.is_due:
            await self._clock.check()
        if prepared.store != self._clock.store:
            raise Transient("the store was replaced", code=ErrorCode.STORE_REPLACED)

    async def _store_committed(self, prepared: Prepared, number: int) -> None:
        rows = [
            PositionRow(
                run, committed.lane, writer, committed.low, sorted(committed.gaps),
                sorted(committed.dead), version(prepared.epochs[shard], number),
            )
            for shard, writers in prepared.committed.items()
            for (run, writer), committed in writers.items()
        ]  # fmt: skip
        if rows:
            await insert_positions(self._points, rows)

    async def announce(self, advanced: Mapping[RunRef, int], changed: Iterable[RunRef]) -> None:
        """Tell every web process which runs advanced, to which step, and which changed. Best effort:
        pages also poll."""
        await publish(self._redis, self._keys, advanced=advanced, changed=changed)


def _sliced(column: Any, part: slice) -> Any:
    return tuple(each[part] for each in column) if isinstance(column, tuple) else column[part]
