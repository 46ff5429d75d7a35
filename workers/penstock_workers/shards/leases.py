"""Leases: which shards this worker owns, shared evenly among live workers. Epochs are fencing tokens.

A lease expires when its owner goes silent. The next owner of the shard has a higher epoch, and
everything that carries a version in the store is versioned by the epoch.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib

from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock.ids import new_worker_id
from penstock_common.queue.lease_scripts import ACQUIRE, RELEASE, RENEW, SIGN
from penstock_common.queue.redis_keys import SHARDS, RedisKeys

__all__ = ["Leases"]

_LOG = logging.getLogger(__name__)
_EVERY_S = 2.0


class Leases:
    """This worker's shards, each with the epoch under which it is held."""

    def __init__(self, redis: Redis, keys: RedisKeys, *, lease_s: float, worker: str = "") -> None:
        self._redis = redis
        self._keys = keys
        self._lease_s = lease_s
        self._next = 0.0
        self._told: set[int] = set()
        self.worker = worker or new_worker_id()
        self.epochs: dict[int, int] = {}
        self.owner_crashed: set[int] = set()
        """Shards whose last owner died before it committed anything, as of when they were acquired: a poison
        batch may have crashed it."""

    @property
    def due_in_s(self) -> float:
        """When `tend` has something to do again."""
        return max(0.0, self._next - time.monotonic())

    def owner(self, epoch: int) -> str:
        """The content of a shard's lease while it is ours under this epoch."""
        return f"{self.worker}:{epoch}"

    async def tend(self) -> tuple[set[int], set[int]]:
        """Release shards beyond a fair share, acquire free ones.

        Returns the shards (gained, lost) since the last call. Works every two seconds, or five times a
        second while this worker has less than its fair share.
        """
        if time.monotonic() < self._next and self.epochs.keys() == self._told:
            return set(), set()
        if time.monotonic() >= self._next:
            share = await self._share()
            for shard in sorted(self.epochs)[share:]:
                await self.release(shard)
            await self._acquire(share)
            self._next = time.monotonic() + (_EVERY_S if len(self.epochs) >= share else 0.2)
        held, told = set(self.epochs), self._told
        self._told = held
        return held - told, told - held

    async def keep(self) -> None:
        """Renew the leases until cancelled: a commit may take longer than a lease."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self._renew()
            except (RedisError, OSError, TimeoutError) as error:
                _LOG.warning("leases_not_renewed error=%s", type(error).__name__)

    def forget(self, shard: int) -> None:
        """Forget a shard that another worker turned out to own."""
        self.epochs.pop(shard, None)
        self._next = 0.0

    async def release(self, shard: int) -> None:
        """Release this shard for another worker at once. Does nothing if it is no longer ours."""
        epoch = self.epochs.pop(shard, None)
        if epoch is not None:
            names = (self._keys.lease(shard), self._keys.tried(shard))
            await self._redis.eval(RELEASE, 2, *names, self.owner(epoch))

    async def leave(self) -> None:
        """Release everything, at shutdown."""
        for shard in list(self.epochs):
            await self.release(shard)
        await self._redis.zrem(self._keys.workers(), self.worker)

    async def _renew(self) -> None:
        ttl_ms = str(round(self._lease_s * 1000))
        held = dict(self.epochs)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for shard, epoch in held.items():
                name, owner = self._keys.lease(shard), self.owner(epoch)
                pipeline.execute_command("EVAL", RENEW, 1, name, owner, ttl_ms)
            renewed = await pipeline.execute()
        # `tend` runs concurrently: a shard may have been released, and even acquired again, meanwhile.
        for (shard, epoch), is_ours in zip(held.items(), renewed, strict=True):
            if not is_ours and self.epochs.get(shard) == epoch:
                del self.epochs[shard]

    async def _share(self) -> int:
        """The most shards that each live worker should have."""
        now, workers = time.time(), self._keys.workers()
        gone_since = str(now - self._lease_s)
        live = await self._redis.eval(SIGN, 1, workers, self.worker, str(now), gone_since)
        return -(-SHARDS // max(1, int(live)))

    async def _acquire(self, share: int) -> None:
        ttl_ms, now_s = round(self._lease_s * 1000), int(time.time())
        # Each worker starts at another shard, so that workers that start together do not collide.
        first = zlib.crc32(self.worker.encode()) % SHARDS
        for shard in ((first + i) % SHARDS for i in range(SHARDS)):
            if len(self.epochs) >= share:
                return
            if shard in self.epochs:
                continue
            names = (self._keys.lease(shard), self._keys.epoch(shard), self._keys.tried(shard))
            epoch, died = await self._redis.eval(
                ACQUIRE, 3, *names, self.worker, str(ttl_ms), str(now_s)
            )
            if epoch:
                self.epochs[shard] = int(epoch)
                if died:
                    self.owner_crashed.add(shard)
                else:
                    self.owner_crashed.discard(shard)
