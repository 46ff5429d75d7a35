"""A worker's chores every few seconds: the store's clock, and the liveness of runs."""

from __future__ import annotations

import asyncio
import logging
import time

from redis.exceptions import RedisError

from penstock.errors import PenstockError
from penstock_common.process.metrics import WorkerMetrics
from penstock_common.queue.redis_keys import SHARDS
from penstock_workers.batches.known_state import KnownState
from penstock_workers.commits.commit import Committer
from penstock_workers.commits.commit_numbers import CommitNumbers
from penstock_workers.commits.liveness import Liveness
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.shards.leases import Leases
from penstock_workers.upkeep.gauges import ELECTED

__all__ = ["Upkeep"]

_LOG = logging.getLogger(__name__)
_EVERY_S, _AFTER_FAILURE_S = 5.0, 1.0
_ADVANCE_S, _IDLE_ADVANCE_S = 10.0, 60.0
"""How often to advance the clock, and how often although nothing is committed: each time costs the store a
write."""
_CHECK_S = 30.0
"""How often to check it although nothing is committed and no connection is new: that costs queries."""


class Upkeep:
    """Does the chores, and announces what changed."""

    def __init__(
        self,
        known: KnownState,
        clock: StoreClock,
        leases: Leases,
        liveness: Liveness,
        committer: Committer,
        numbers: CommitNumbers,
        metrics: WorkerMetrics,
    ) -> None:
        self._known = known
        self._clock = clock
        self._leases = leases
        self._liveness = liveness
        self._committer = committer
        self._numbers = numbers
        self._metrics = metrics
        self._checked_with, self._check_at = -1, 0.0
        self._advanced_with, self._advanced_at = -1, float("-inf")

    async def watch(self) -> None:
        """Run until cancelled."""
        while True:
            pause_s = _EVERY_S
            try:
                await self._run_once()
            except (PenstockError, RedisError, OSError, TimeoutError) as error:
                _LOG.warning("watch_failed error=%s", type(error).__name__)
                pause_s = _AFTER_FAILURE_S
            await asyncio.sleep(pause_s)

    async def _is_other_store(self, *, always: bool) -> bool:
        """Whether everything this worker knew of the store is void. It asks the store only if that may have
        changed, or `always`."""
        now, commits = time.monotonic(), self._numbers.last
        is_new = self._clock.is_due or commits != self._checked_with or now >= self._check_at
        if not (always or is_new) and await self._clock.is_published():
            return False
        is_other = await self._clock.check()
        self._checked_with, self._check_at = commits, now + _CHECK_S
        return is_other

    @property
    def _advances(self) -> bool:
        """Whether the clocks should go on: only the owner of shard 0 sees to that."""
        is_alone = len(self._leases.epochs) == SHARDS
        is_idle = is_alone and self._numbers.last == self._advanced_with
        pause_s = _IDLE_ADVANCE_S if is_idle else _ADVANCE_S
        return ELECTED in self._leases.epochs and time.monotonic() >= self._advanced_at + pause_s

    async def _advance(self) -> None:
        commits = self._numbers.last
        await self._clock.advance()
        self._advanced_with, self._advanced_at = commits, time.monotonic()

    async def _run_once(self) -> None:
        self._metrics.missing.set(self._known.missing_batches())
        advances = self._advances
        # An older copy of the store whose clock went on could no longer be told from the store itself.
        if await self._is_other_store(always=advances):
            self._known.invalidate("store_replaced")
        elif advances:
            await self._advance()
        changed = await self._liveness.read_heartbeats()
        if ELECTED in self._leases.epochs:
            silent = await self._liveness.mark_crashed()
            if silent:
                _LOG.warning("runs_silent count=%d", len(silent))
                self._metrics.marked_crashed.inc(len(silent))
            changed += silent
        await self._committer.announce({}, changed)
        await self._committer.notices.tell()
