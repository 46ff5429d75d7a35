"""Detects that the store or the catalog was replaced by an older copy of itself.

A clock is kept in the catalog, the store and Redis, written in that order. So a store or catalog whose
clock is behind that of Redis was rolled back: the store gets a new id, by which clients see that they
must send again what they still hold, and the positions in Redis are deleted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from redis.asyncio import Redis

from penstock_common.process.metrics import WorkerMetrics
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_common.queue.scripts import ADVANCE
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore
from penstock_storage.names import reconcile

__all__ = ["StoreClock"]

_LOG = logging.getLogger(__name__)


class StoreClock:
    """`store` is the id of the store that this worker's knowledge is about; '' before `check`."""

    def __init__(
        self,
        redis: Redis,
        keys: RedisKeys,
        points: PointStore,
        catalog: Catalog,
        metrics: WorkerMetrics,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._points = points
        self._catalog = catalog
        self._metrics = metrics
        self._in_use = asyncio.Lock()
        self._connections = -1
        self._highest = 0
        self.store = ""

    @property
    def is_due(self) -> bool:
        """Whether there is a new connection to the store since the last check: it may be another store."""
        return self._points.connections != self._connections

    def require_check(self) -> None:
        """Something went wrong: check the clocks before going on."""
        self._connections = -1

    async def is_published(self) -> bool:
        """Whether Redis holds the id of the store that was checked: it may have been wiped since, or
        another worker may have renewed the id."""
        return bool(await self._redis.get(self._keys.store()) == self.store.encode())

    async def check(self) -> bool:
        """Compare the clocks; True if everything this worker knew of the store is void."""
        async with self._in_use:
            names = (self._keys.clock(), self._keys.store())
            found: list[Any] = await self._redis.mget(*names)
            clock, published = found
            self._highest = max(self._highest, int(clock or 0))
            (store, stored), kept = await self._points.id_and_clock(), await self._catalog.clock()
            is_older = min(stored, kept) < self._highest
            if is_older:
                await self._renew(stored, kept)
                store = await self._points.store_id()
            told = published.decode() if published is not None else None
            if is_older or (told is not None and told != store):
                await self._forget_positions()
            if told != store:
                await self._redis.set(self._keys.store(), store)
            is_other = self.store not in ("", store)
            self.store = store
            self._connections = self._points.connections
            return is_other

    async def renew(self) -> None:
        """The store has lost a part of its data: give it a new id, so that clients send again what they
        hold."""
        async with self._in_use:
            self.store = await self._points.renew_id()
            await self._forget_positions()
            await self._redis.set(self._keys.store(), self.store)

    async def advance(self) -> None:
        """Set the clocks to now. The store was checked just before.

        Never during a check: one that has read the store's clock already would find it behind this one.
        """
        async with self._in_use:
            at = max(time.time_ns() // 1000, self._highest + 1)
            await self._catalog.set_clock(at)
            await self._points.set_clock(at)
            await self._redis.eval(ADVANCE, 1, self._keys.clock(), str(at))
            self._highest = at

    async def _forget_positions(self) -> None:
        """Positions hold for one store only: delete them."""
        await self._redis.delete(
            *(
                name
                for shard in range(SHARDS)
                for name in (
                    self._keys.committed(shard),
                    self._keys.digests(shard),
                    self._keys.dead_seqs(shard),
                )
            )
        )

    async def _renew(self, stored: int, kept: int) -> None:
        what = "store" if stored < self._highest else "catalog"
        behind_s = (self._highest - min(stored, kept)) / 1e6
        _LOG.error("rolled_back what=%s behind_s=%.0f", what, behind_s)
        self._metrics.rollbacks.inc()
        await self._points.renew_id()
        # Numbers that the copy does not know were assigned nevertheless.
        await reconcile(self._catalog, self._points)
        await self._catalog.set_clock(self._highest)
        await self._points.set_clock(self._highest)
