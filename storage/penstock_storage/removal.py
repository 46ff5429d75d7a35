"""Deletes runs: first in the catalog, then in what other processes remember.

Once the catalog's transaction has ended, the run is gone for every reader that asks the catalog. The
rest notifies the other processes at once; if that fails, they notice within a second by themselves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.queue.news import publish
from penstock_common.queue.redis_keys import RedisKeys, run_path, shard_of, writer_key
from penstock_storage.contracts.catalog import TombstoneCatalog
from penstock_storage.contracts.interface import Tombstone

__all__ = ["Removal"]

_LOG = logging.getLogger(__name__)


class Removal:
    """Deletes runs and projects."""

    def __init__(self, catalog: TombstoneCatalog, redis: Redis, keys: RedisKeys) -> None:
        self._catalog = catalog
        self._redis = redis
        self._keys = keys

    async def delete_runs(self, runs: Sequence[int]) -> list[Tombstone]:
        """Delete the runs among these that exist, by number."""
        gone = await self._catalog.delete_runs(runs, _now())
        await self._tell(gone)
        return gone

    async def delete_project(self, project: int) -> list[Tombstone]:
        """Delete all runs of a project, by its number, and hide the project."""
        gone = await self._catalog.delete_project(project, _now())
        await self._tell(gone)
        return gone

    async def _tell(self, gone: Sequence[Tombstone]) -> None:
        try:
            await self._forget_positions(gone)
            await publish(self._redis, self._keys, deleted=[each.ref for each in gone])
        except (RedisError, OSError, TimeoutError) as error:
            _LOG.warning("deletion_not_announced error=%s", type(error).__name__)

    async def _forget_positions(self, gone: Sequence[Tombstone]) -> None:
        """The queue's positions of these writers must not be used for a later run."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for each in gone:
                path = run_path(*each.ref)
                shard = shard_of(path)
                fields = [
                    writer_key(path, writer)
                    for writer in sorted(each.writers)
                    if not writer.startswith("http-")  # keeps counting across runs
                ]
                if fields:
                    for name in (
                        self._keys.committed(shard),
                        self._keys.digests(shard),
                        self._keys.dead_seqs(shard),
                    ):
                        pipeline.execute_command("HDEL", name, *fields)
                pipeline.execute_command("HDEL", self._keys.heartbeats(shard), path)
            await pipeline.execute()


def _now() -> int:
    return time.time_ns() // 1000
