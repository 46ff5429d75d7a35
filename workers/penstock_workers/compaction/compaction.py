"""Schedules the compactor: tiers are built alongside the commits, which come first."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from penstock.errors import PenstockError
from penstock_common.process.metrics import WorkerMetrics
from penstock_workers.batches.known_state import KnownState
from penstock_workers.compaction.compactor import Compactor, PassInterrupted

__all__ = ["Compaction"]

_LOG = logging.getLogger(__name__)
_EVERY_S = 1.0


class Compaction:
    """Runs the compactor. `commit_in_hand` is held while a commit is being stored, `building` while
    tiers are built. `is_behind` tells whether there is a backlog."""

    def __init__(
        self,
        compactor: Compactor,
        known: KnownState,
        metrics: WorkerMetrics,
        is_behind: Callable[[], bool],
    ) -> None:
        self._compactor = compactor
        self._known = known
        self._metrics = metrics
        self._is_behind = is_behind
        self.building = asyncio.Lock()
        self.commit_in_hand = asyncio.Lock()

    async def forget(self, reason: str) -> None:
        """Clear what is known, for this reason (a word for the log).

        Not while tiers are being built: that pass may still raise watermarks in the store, and what
        is read next must not be older than they are. So the pass, which may take minutes, is
        interrupted. The known state is stale until `resume` has found the unfinished tiers again: a
        series that gets no new point would otherwise stay dirty for ever.
        """
        self._compactor.interrupt()
        async with self.building:
            self._known.forget(reason)

    async def watch(self) -> None:
        """Build until cancelled."""
        pause_s = _EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            started = time.perf_counter()
            try:
                async with self.building:
                    built = await self._compactor.run_once(self.commit_in_hand)
            except PassInterrupted:
                continue
            except (PenstockError, RedisError, OSError, TimeoutError) as error:
                _LOG.warning("compaction_failed error=%s detail=%s", type(error).__name__, error)
                continue
            took_s = time.perf_counter() - started
            # While there is a backlog, tiers get a third of the time.
            pause_s = max(_EVERY_S, 2 * took_s if self._is_behind() else 0.0)
            if built:
                self._metrics.tier_buckets.inc(built)
                self._metrics.compact_seconds.observe(took_s)
