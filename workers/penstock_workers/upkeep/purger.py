"""The purger deletes the rows of deleted runs from the store, and finishes moves. Only one worker does,
the owner of shard 0.

Readers look at existing runs only, so nothing here is urgent, and the rows of many runs are deleted
together: a deletion rewrites the parts of a table that hold such rows. A commit in hand, or a worker
that does not know yet, may write rows after the deletion; the purger checks for them for a day.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from redis.exceptions import RedisError

from penstock.errors import PenstockError
from penstock.failpoints import fail
from penstock_common.process.metrics import WorkerMetrics
from penstock_storage.clickhouse.schema import RUN_TABLES
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore, RunRef, Tombstone
from penstock_storage.names import gone_name, record
from penstock_storage.run_rows import RunRows
from penstock_workers.upkeep.gauges import ELECTED
from penstock_workers.upkeep.mover import Mover

__all__ = ["Purger", "files_of_run_gone"]

_LOG = logging.getLogger(__name__)

_TURN_S, _IDLE_TURN_S = 1.0, 5.0
"""How often to check for work: while there is some, and otherwise."""
_LONG_S, _REST = 10.0, 20.0
"""After a deletion that took longer than this, the pause is this many times its length."""
_AGAIN_S = 60.0
_PURGE_UNTIL_S = 24 * 3600.0
_MAX_RUNS = 20_000
_MAX_WAIT_US = 3_600_000_000
_MOVED_FOR_S = 30.0
"""By then every commit that was prepared before a move is in the store, or never will be."""

Announce = Callable[[Sequence[RunRef], Sequence[RunRef]], Awaitable[None]]


async def files_of_run_gone(run: int, digests: Sequence[str]) -> None:
    """The hook for data outside the point store: called once nothing can bring a run back, with its
    number and the SHA-256 digests of its files. Contents that nothing else refers to may be deleted."""


class Purger:
    """Checks for work every few seconds, and does a bounded part of it."""

    def __init__(
        self,
        catalog: Catalog,
        points: PointStore,
        mover: Mover,
        announce: Announce,
        owned: Mapping[int, int],
        metrics: WorkerMetrics,
        *,
        until_s: float = _PURGE_UNTIL_S,
    ) -> None:
        self._catalog = catalog
        self._points = points
        self._rows = RunRows(points)
        self._mover = mover
        self._announce = announce
        self._owned = owned
        self._metrics = metrics
        self._until_us = int(until_s * 1e6)
        self._recorded: int | None = None
        self._seen = -1
        self._next_due = 0.0
        self._rest_until = 0.0
        self._started: float | None = None
        self._may_be_deleting = True
        """Whether the store may have deletions in hand, of this worker or of the one before it."""
        self._copied: set[int] = set()

    async def watch(self) -> None:
        """Run until cancelled."""
        is_busy = True
        while True:
            await asyncio.sleep(_TURN_S if is_busy else _IDLE_TURN_S)
            if ELECTED not in self._owned:
                self._metrics.unpurged.set(0)
                self._may_be_deleting = is_busy = True
                continue
            try:
                has_moved = await self._finish_moves()
                is_busy = await self.turn() or has_moved
            except (PenstockError, RedisError, OSError, TimeoutError) as error:
                _LOG.warning("purge_failed error=%s detail=%s", type(error).__name__, error)

    async def turn(self) -> bool:
        """One turn: what is deleted, and does the store have rows of it? Returns whether the next turn
        may have something to do."""
        last = await self._catalog.last_tombstone()
        if last != self._recorded:
            await self._record(last)
        if time.monotonic() < self._rest_until:
            return False
        now = time.time_ns() // 1000
        has_news = last != self._seen or now >= self._next_due
        if not has_news and not self._may_be_deleting:
            return False
        # A question for the store, which would cost most of what an idle installation costs if it were
        # asked at every turn.
        if await self._is_deleting():
            return True
        if not has_news:
            return False
        tombstones = await self._catalog.open_tombstones()
        self._metrics.unpurged.set(sum(not tombstone.purged_at for tombstone in tombstones))
        due = [tombstone for tombstone in tombstones if now >= self._due_at(tombstone)][:_MAX_RUNS]
        if due:
            await self._purge(due, now)
            return True
        self._seen = last
        self._next_due = min(map(self._due_at, tombstones), default=now + _MAX_WAIT_US)
        return False

    async def _purge(self, due: Sequence[Tombstone], now: int) -> None:
        for tombstone in due:
            if tombstone.moved_to and not tombstone.purged_at and tombstone.run not in self._copied:
                await self._mover.copy(tombstone.run, tombstone.moved_to)
                self._copied.add(tombstone.run)
        if not await self._delete([tombstone.run for tombstone in due]):
            # Otherwise a later turn finds them gone, once the store has finished.
            await self._note(due, now)

    async def _note(self, purged: Sequence[Tombstone], now: int) -> None:
        old = [tombstone for tombstone in purged if now >= tombstone.deleted_at + self._until_us]
        young = [tombstone for tombstone in purged if now < tombstone.deleted_at + self._until_us]
        for tombstone in old:
            await files_of_run_gone(tombstone.run, tombstone.digests)
        await self._catalog.note_purged([tombstone.number for tombstone in old], now, final=True)
        await self._catalog.note_purged([tombstone.number for tombstone in young], now, final=False)
        self._copied -= {tombstone.run for tombstone in purged}

    def _due_at(self, tombstone: Tombstone) -> float:
        """When to check next (µs): at once, then at intervals that double, and once at the end."""
        if not tombstone.purged_at:
            return tombstone.deleted_at + (_MOVED_FOR_S * 1e6 if tombstone.moved_to else 0)
        pause = max(_AGAIN_S * 1e6, tombstone.purged_at - tombstone.deleted_at)
        return min(tombstone.purged_at + pause, tombstone.deleted_at + self._until_us)

    async def _record(self, last: int) -> None:
        """Record deletions in the store too: a catalog restored from an older copy asks it."""
        if self._recorded is None:
            new = await self._catalog.open_tombstones()
        else:
            new = await self._catalog.tombstones(self._recorded)
            last = new[-1].number if new else last
        await record(
            self._points,
            [
                gone_name(
                    each.run, each.project_number, each.ref.run, each.deleted_at, each.moved_to
                )
                for each in new
            ],
        )
        self._recorded = last

    async def _delete(self, runs: Sequence[int]) -> bool:
        """Have the store delete the rows of these runs; returns whether it had any."""
        found = 0
        for table in RUN_TABLES:
            fail("worker.purge")
            if rows := await self._rows.count(table, runs):
                await self._rows.delete(table, runs)
                self._metrics.purged_rows.inc(rows)
            found += rows
        if found:
            self._started = time.monotonic()
            self._may_be_deleting = True
        return found > 0

    async def _is_deleting(self) -> bool:
        """Whether the store is still deleting, or resting after a long deletion."""
        self._may_be_deleting = await self._rows.is_deleting()
        if self._may_be_deleting:
            return True
        if self._started is not None:
            took_s = time.monotonic() - self._started
            self._started = None
            self._metrics.purge_seconds.observe(took_s)
            if took_s > _LONG_S:
                self._rest_until = time.monotonic() + _REST * took_s
                return True
        return False

    async def _finish_moves(self) -> bool:
        """Returns whether there were any."""
        moves = await self._catalog.moves()
        for move in moves:
            row = move.run
            await self._mover.copy(row.number, move.copy, to_project=move.project_number)
            fail("worker.before_switch")
            is_moved = await self._catalog.finish_move(row.number, time.time_ns() // 1000)
            _LOG.info("run_moved run=%d copy=%d done=%s", row.number, move.copy, is_moved)
            moved = (await self._catalog.run_rows([move.copy])).get(move.copy)
            if moved is not None:
                old = RunRef(row.entity, row.project, row.run)
                await self._announce([old], [RunRef(moved.entity, moved.project, moved.run)])
        return bool(moves)
