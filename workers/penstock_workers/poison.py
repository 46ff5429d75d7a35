"""Batches that cannot be processed: tried again a few times, then kept aside with the reason."""

from __future__ import annotations

import logging

import numpy as np

from penstock_common.keys import split_writer_key
from penstock_storage.interface import Catalog, PointStore, RunRef
from penstock_workers.applied import AppliedSet
from penstock_workers.leases import Leases, version
from penstock_workers.queue import Entry, Queue, Settled

__all__ = ["DeadLetters"]

_LOG = logging.getLogger(__name__)


class DeadLetters:
    """Moves a batch to its shard's dead-letter stream, so that those behind it can pass."""

    def __init__(
        self,
        queue: Queue,
        leases: Leases,
        catalog: Catalog,
        points: PointStore,
        *,
        max_deliveries: int,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._catalog = catalog
        self._points = points
        self._max_deliveries = max_deliveries

    async def give_up(self, entry: Entry, epoch: int, error: Exception) -> bool:
        """Count a failure of this entry; True if it was the last one and the entry is set aside.

        The store learns first that the number is dead, so that the writer's mark can pass it and a
        repeat of it is not tried again.
        """
        failures = await self._queue.note_failure(entry)
        _LOG.warning(
            "batch_failed shard=%d seq=%d failures=%d error=%s",
            entry.shard, entry.seq, failures, type(error).__name__, exc_info=error,
        )  # fmt: skip
        if failures < self._max_deliveries:
            return False
        applied = await self._mark_dead(entry, epoch)
        reason = f"{type(error).__name__}: {error}"[:500]
        settled = Settled({entry.writer: applied.low}, [entry], [(entry, reason)])
        await self._queue.settle({entry.shard: (self._leases.owner(epoch), settled)})
        return True

    async def _mark_dead(self, entry: Entry, epoch: int) -> AppliedSet:
        entity, project, run, writer = split_writer_key(entry.writer)
        ref = RunRef(entity, project, run)
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
                "ver": np.array([version(epoch, 0xFFFFFFFF)], np.uint64),
            },
        )
        return applied
