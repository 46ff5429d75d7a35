"""Batches that cannot be processed: tried again a few times, then kept aside with the reason."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum

import numpy as np

from penstock_common.keys import split_writer_key
from penstock_storage.interface import Catalog, PointStore, RunRef
from penstock_workers.applied import AppliedSet
from penstock_workers.commit import Committer
from penstock_workers.leases import Leases, version
from penstock_workers.queue import Entry, Queue, Settled, WriterMark

__all__ = ["DeadLetters", "Verdict"]

_LOG = logging.getLogger(__name__)


class Verdict(Enum):
    """What became of a batch that cannot be processed."""

    AGAIN = "again"
    DEAD = "dead"
    STORM = "storm"
    """It stays: so many others were put aside that its shard must not be read on."""


class DeadLetters:
    """Moves a batch to its shard's dead-letter stream, so that those behind it can pass."""

    def __init__(
        self,
        queue: Queue,
        leases: Leases,
        committer: Committer,
        catalog: Catalog,
        points: PointStore,
        *,
        max_deliveries: int,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._committer = committer
        self._catalog = catalog
        self._points = points
        self._max_deliveries = max_deliveries
        self._begun: set[bytes] = set()

    async def begin(self, entries: Sequence[Entry]) -> list[int]:
        """Count a try of each entry before it is made, as it may end this process; returns the
        tries of each, this one included."""
        new = [entry for entry in entries if entry.id not in self._begun]
        counted = dict(zip(new, await self._queue.note_tries(new), strict=True)) if new else {}
        self._begun |= {entry.id for entry in new}
        return [counted.get(entry) or await self._queue.tries(entry) for entry in entries]

    def passed(self, entries: Sequence[Entry]) -> None:
        """These are committed."""
        if self._begun:
            self._begun -= {entry.id for entry in entries}

    def is_spent(self, tries: int) -> bool:
        """Whether a batch that was begun so often, and never ended well, is not begun again."""
        return tries > self._max_deliveries

    async def judge(self, entry: Entry, epoch: int, error: BaseException) -> Verdict:
        """This entry failed alone: count it, and set it aside if it was the last time.

        The store learns first that the number is dead, so that the writer's mark can pass it and a
        repeat of it is not tried again.
        """
        if await self._queue.is_in_storm(entry.shard):
            return Verdict.STORM
        if entry.id in self._begun:
            self._begun.discard(entry.id)
            failures = await self._queue.tries(entry)
        else:
            (failures,) = await self._queue.note_tries([entry])
        _LOG.warning(
            "batch_failed shard=%d seq=%d failures=%d error=%s",
            entry.shard, entry.seq, failures, type(error).__name__, exc_info=error,
        )  # fmt: skip
        if failures < self._max_deliveries:
            return Verdict.AGAIN
        return await self.set_aside(entry, epoch, f"{type(error).__name__}: {error}")

    async def set_aside(self, entry: Entry, epoch: int, reason: str) -> Verdict:
        """Make a dead letter of this entry, unless its shard is in a storm."""
        if await self._queue.is_in_storm(entry.shard):
            return Verdict.STORM
        applied = await self._mark_dead(entry, epoch)
        mark = WriterMark(applied.low, tuple(sorted(applied.dead)))
        settled = Settled({entry.writer: mark}, [entry], [(entry, reason[:500])])
        await self._queue.settle({entry.shard: (self._leases.owner(epoch), settled)})
        return Verdict.DEAD

    async def _mark_dead(self, entry: Entry, epoch: int) -> AppliedSet:
        entity, project, run, writer = split_writer_key(entry.writer)
        ref = RunRef(entity, project, run)
        if await self._catalog.tombstones_of([ref]) and not await self._catalog.numbers_of([ref]):
            return AppliedSet(0, entry.seq, dead=[entry.seq])  # no mark may bring the run back
        number = (await self._catalog.ensure_runs([ref]))[ref].number
        lanes = await self._catalog.ensure_lanes([(number, writer, 0, 0)])
        found = await self._points.query(
            "SELECT low, gaps, dead FROM penstock.applied FINAL "
            "WHERE run = {run:UInt32} AND writer = {writer:String}",
            {"run": number, "writer": writer},
        )
        applied = AppliedSet(lanes[(number, writer)])
        for low, gaps, dead in zip(found["low"], found["gaps"], found["dead"], strict=True):
            applied = AppliedSet(applied.lane, int(low), gaps, dead)
        # A number of its own: newer than what was written before, older than any commit that comes.
        self._committer.number += 1
        applied.dead.add(entry.seq)
        applied.add(entry.seq)
        await self._points.insert(
            "applied",
            {
                "run": np.array([number], np.uint32),
                "lane": np.array([applied.lane], np.uint16),
                "writer": [writer],
                "low": np.array([applied.low], np.uint32),
                "gaps": [sorted(applied.gaps)],
                "dead": [sorted(applied.dead)],
                "ver": np.array([version(epoch, self._committer.number)], np.uint64),
            },
        )
        return applied
