"""The commit in hand: it is stored in a task of its own, while the next one is read and prepared.

There is at most one. Nothing is deleted from the queue before it is stored (see `commits.commit`), so a
commit that fails, or is given up, costs only time: its entries are read again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from penstock_common.process.metrics import WorkerMetrics
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.prepare import Prepared
from penstock_workers.commits.commit import Committer
from penstock_workers.commits.commit_pace import CommitPace
from penstock_workers.compaction.compaction import Compaction
from penstock_workers.quarantine.quarantine import Quarantine
from penstock_workers.shards.flight_recorder import FlightRecorder
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.reads import Read
from penstock_workers.sign import MAX_STEP_S, Sign

__all__ = ["CommitInHand"]

_LOG = logging.getLogger(__name__)


class CommitInHand:
    """Stores one commit at a time. `read`: what the last one's entries were read by."""

    def __init__(
        self,
        committer: Committer,
        compaction: Compaction,
        quarantine: Quarantine,
        leases: Leases,
        known: KnownState,
        pace: CommitPace,
        recorder: FlightRecorder,
        sign: Sign,
        metrics: WorkerMetrics,
    ) -> None:
        self._committer = committer
        self._compaction = compaction
        self._quarantine = quarantine
        self._leases = leases
        self._known = known
        self._pace = pace
        self._recorder = recorder
        self._sign = sign
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None
        self.read = Read([])

    def start(self, read: Read, prepared: Prepared) -> None:
        """Begin to store this. The last commit must be finished."""
        if self._task is not None:
            raise RuntimeError("a commit is in hand")
        self._pace.started()
        self.read = read
        self._task = asyncio.create_task(self._store(read, prepared), name="commit")

    async def finish(self) -> None:
        """Wait until it is stored, if there is one; raises what it fails with, as `Committer.commit` does."""
        task, self._task = self._task, None
        if task is not None:
            self._sign.turned(MAX_STEP_S)
            await task

    async def settle(self, shards: Iterable[int]) -> None:
        """As `finish`, and nothing else is queued in these shards."""
        await self.finish()
        self._sign.committed(shards)

    async def give_up(self) -> None:
        """Wait until it has ended, stored or not."""
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                _LOG.warning("commit_given_up error=%s", type(error).__name__)

    def abandon(self) -> None:
        """Break it off where it is, as if the process had been killed there."""
        if self._task is not None:
            self._task.cancel()

    async def _store(self, read: Read, prepared: Prepared) -> None:
        started = time.perf_counter()
        async with self._compaction.commit_in_hand:
            with self._recorder.committing():
                lost = await self._committer.commit(prepared)
        self._sign.committed(prepared.acknowledgements)
        took_s = time.perf_counter() - started
        self._pace.ended(took_s)
        _count(prepared, took_s, self._metrics)
        for shard in lost:
            _LOG.warning("shard_lost shard=%d", shard)
            self._metrics.errors.labels("fenced").inc()
            self._leases.forget(shard)
            self._known.invalidate("shard_lost")
        await self._quarantine.passed(read, prepared.entries, prepared.stored)


def _count(prepared: Prepared, took_s: float, metrics: WorkerMetrics) -> None:
    now = time.time()
    metrics.commit_seconds.observe(took_s)
    metrics.commit_batches.observe(prepared.batches)
    metrics.points.inc(prepared.points)
    metrics.batches.labels("committed").inc(prepared.batches)
    metrics.batches.labels("duplicate").inc(prepared.duplicates)
    metrics.batches.labels("conflict").inc(prepared.conflicts)
    metrics.batches.labels("of_deleted_run").inc(prepared.refused)
    metrics.batches.labels("dead_lettered").inc(len(prepared.beyond))
    for entry in prepared.entries:
        metrics.delay_seconds.observe(max(0.0, now - entry.received / 1e6))
    metrics.last_commit.set(now)
