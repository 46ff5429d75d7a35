"""The dead-letter queue: batches that cannot be processed are kept with the reason, so that those
behind them can pass."""

from __future__ import annotations

import logging

from penstock.errors import PenstockError, Transient
from penstock_common.queue.entries import Entry
from penstock_common.queue.redis_keys import split_writer_key
from penstock_storage.commits.positions import PositionRow, insert_positions, read_position
from penstock_storage.contracts.catalog import RunCatalog
from penstock_storage.contracts.interface import PointStore, RunRef
from penstock_workers.batches.committed import CommittedSeqs
from penstock_workers.commits.commit_numbers import CommitNumbers, version
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.queue import Acknowledgement, CommittedPosition, Queue

__all__ = ["DeadLetters"]

_LOG = logging.getLogger(__name__)
_MAX_REASON_CHARS = 500


class DeadLetters:
    """Moves a batch to its shard's dead-letter stream.

    No run and no lane is created for it, and no error of a store keeps it in the queue. If the store
    knows its writer, the number is stored as dead first, so that the writer's position can pass it.
    Otherwise only the queue remembers the number, until the first batch of this writer is stored.
    """

    def __init__(
        self,
        queue: Queue,
        leases: Leases,
        numbers: CommitNumbers,
        catalog: RunCatalog,
        points: PointStore,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._numbers = numbers
        self._catalog = catalog
        self._points = points

    async def dead_letter(self, entry: Entry, reason: str) -> None:
        """Make this entry a dead letter, if its shard is still ours."""
        await self._remove(entry, [(entry, reason[:_MAX_REASON_CHARS])])

    async def drop(self, entry: Entry) -> None:
        """Delete this entry, as an operator asked; its number is dead, as a dead letter's is."""
        await self._remove(entry, [])

    async def _remove(self, entry: Entry, letters: list[tuple[Entry, str]]) -> None:
        epoch = self._leases.epochs.get(entry.shard)
        if epoch is None:
            return
        (dead,) = await self._queue.dead_numbers([(entry.shard, entry.writer)])
        position = CommittedPosition(None, tuple(sorted({*dead, entry.seq})))
        try:
            committed = await self._mark_dead(entry, epoch)
        except Transient:
            raise
        except PenstockError as error:
            _LOG.warning("dead_number_not_stored seq=%d detail=%s", entry.seq, error)
            committed = None
        if committed is not None:
            position = CommittedPosition(committed.low, tuple(sorted(committed.dead)))
        acknowledgement = Acknowledgement({entry.writer: position}, [entry], letters)
        await self._queue.acknowledge({entry.shard: (self._leases.owner(epoch), acknowledgement)})

    async def _mark_dead(self, entry: Entry, epoch: int) -> CommittedSeqs | None:
        """Store the number as dead; returns the writer's numbers, None if the store does not know it."""
        entity, project, run, writer = split_writer_key(entry.writer)
        ref = RunRef(entity, project, run)
        number = (await self._catalog.numbers_of([ref])).get(ref)
        if number is None:
            return None
        position = await read_position(self._points, number, writer)
        if position is None:
            return None
        committed = CommittedSeqs(*position)
        committed.add_dead(entry.seq)
        # A number of its own: newer than anything written before, older than the next commit.
        ver = version(epoch, self._numbers.next())
        gaps, dead = sorted(committed.gaps), sorted(committed.dead)
        row = PositionRow(number, committed.lane, writer, committed.low, gaps, dead, ver)
        await insert_positions(self._points, [row])
        return committed
