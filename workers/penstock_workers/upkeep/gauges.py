"""Gauges of the queue and the store as a whole, reported by one worker only: the owner of shard 0.

Every worker would report the same values, and their sum would be wrong. A worker that loses shard 0
stops reporting them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock.errors import PenstockError
from penstock.failpoints import fail
from penstock_common.process.metrics import WorkerMetrics
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_common.queue.room import room_problem
from penstock_common.queue.scripts import LOOK
from penstock_storage.clickhouse.schema import COLUMNS
from penstock_storage.clickhouse.usage import (
    count_stored_runs,
    read_free_bytes,
    read_store_disks,
    read_table_usage,
)
from penstock_storage.contracts.interface import PointStore

__all__ = ["ELECTED", "Gauges"]

_LOG = logging.getLogger(__name__)
_QUEUE_EVERY_S = 5.0
_UNTIL_ELECTED_S = 0.5
_STORE_EVERY_S = 30.0
ELECTED = 0
"""The owner of this shard does what only one worker should."""


class Gauges:
    """Reads the values every few seconds while this worker owns shard 0; a scrape gets the last ones."""

    def __init__(
        self,
        redis: Redis,
        keys: RedisKeys,
        points: PointStore,
        owned: Mapping[int, int],
        metrics: WorkerMetrics,
        problems: Problems,
        *,
        disk_low_bytes: int,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._points = points
        self._owned = owned
        self._problems = problems
        self._disk_low_bytes = disk_low_bytes
        self._queue: list[Metric] = []
        self._store: list[Metric] = []
        self._incarnations: dict[int, bytes] = {}
        self._replaced = 0
        self._has_parked = True
        metrics.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        return [*self._queue, *self._store] if ELECTED in self._owned else []

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: most workers report none of it."""
        return []

    async def watch(self) -> None:
        """Read the values until cancelled."""
        store_due = 0.0
        while True:
            if ELECTED in self._owned:
                fail("worker.gauges")
                try:
                    self._queue = await self._look_at_queue()
                    if time.monotonic() >= store_due:
                        self._store = await self._look_at_store()
                        await self._look_at_disks()
                        store_due = time.monotonic() + _STORE_EVERY_S
                except (PenstockError, RedisError, OSError, TimeoutError) as error:
                    _LOG.warning("gauges_not_read error=%s", type(error).__name__)
            await asyncio.sleep(_QUEUE_EVERY_S if self._queue else _UNTIL_ELECTED_S)

    async def _look_at_queue(self) -> list[Metric]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for shard in range(SHARDS):
                pipeline.execute_command("EVAL", LOOK, 6, *self._names(shard))
            pipeline.execute_command("INFO", "memory")
            pipeline.execute_command("ZCARD", self._keys.workers())
            *found, memory, workers = await pipeline.execute()
        shards = [self._shard(shard, each) for shard, each in enumerate(found)]
        entries, sizes, ages, dead, owned, parked, parked_sizes, writers = zip(*shards, strict=True)
        await self._tell_of_parked(sum(writers), sum(parked))
        allowed = memory["maxmemory"] or memory["total_system_memory"]
        return [
            _by_shard("stream_entries", "Batches not yet committed (the exact backlog).", entries),
            _by_shard("stream_bytes", "Memory of each stream, estimated by Redis.", sizes),
            _by_shard(
                "stream_oldest_entry_seconds",
                "How long the oldest batch that is not committed has been queued; 0 if none is.",
                ages,
            ),
            _gauge("dead_letters", "Batches in the dead-letter streams.", sum(dead)),
            _gauge("parked_writers", "Writers whose batches keep failing.", sum(writers)),
            _gauge("parked_batches", "Batches of parked writers.", sum(parked)),
            _gauge("parked_bytes", "Bytes of the batches of parked writers.", sum(parked_sizes)),
            _gauge("shards_unowned", "Shards that no worker owns.", SHARDS - sum(owned)),
            _gauge("workers", "Live workers, by their last sign of life.", workers),
            _gauge(
                "queue_memory_used_ratio",
                "Redis' memory in use, of what it may use.",
                memory["used_memory"] / allowed,
            ),
            CounterMetricFamily(
                "penstock_queue_replaced_total",
                "Shards whose queue was found without its data; clients send again what was in it.",
                value=self._replaced,
            ),
            _gauge(
                "queue_last_check_timestamp_seconds", "When these values were read.", time.time()
            ),
        ]

    async def _tell_of_parked(self, writers: int, batches: int) -> None:
        if writers:
            text = (
                f"{batches} batches of {writers} writers keep failing and are kept out of the way."
            )
            await self._problems.tell("writers_parked", text, ttl_s=6 * _QUEUE_EVERY_S)
        elif self._has_parked:
            await self._problems.clear("writers_parked")
        self._has_parked = bool(writers)

    def _names(self, shard: int) -> list[str]:
        keys = self._keys
        return [
            keys.stream(shard), keys.dead(shard), keys.lease(shard), keys.incarnation(shard),
            keys.parked(shard), keys.parked_bytes(shard),
        ]  # fmt: skip

    def _shard(
        self, shard: int, found: Sequence[Any]
    ) -> tuple[int, int, float, int, int, int, int, int]:
        """(entries, bytes, age of the oldest entry in seconds, dead letters, 1 if owned, parked
        entries, their bytes, parked writers)."""
        entries, size, first, dead, owned, incarnation, *parked = found
        known = self._incarnations.get(shard)
        self._replaced += known is not None and incarnation != known
        if incarnation is not None:
            self._incarnations[shard] = incarnation
        age_s = 0.0
        if first is not None:
            age_s = max(0.0, time.time() - int(first.partition(b"-")[0]) / 1000)
        count, parked_size, writers = parked
        return entries, size or 0, age_s, dead, owned, count, int(parked_size or 0), writers

    async def _look_at_disks(self) -> None:
        """The disks of an external store: `penstock up` watches its own."""
        if self._disk_low_bytes <= 0:
            return
        for disk in await read_store_disks(self._points):
            problem = room_problem(
                f"The store's disk {disk.name}", f"store/{disk.name}", size=disk.total,
                free=disk.free, low_bytes=self._disk_low_bytes,
            )  # fmt: skip
            if problem is not None:
                await self._problems.tell(
                    problem.code, problem.text, subject=problem.subject, ttl_s=3 * _STORE_EVERY_S
                )

    async def _look_at_store(self) -> list[Metric]:
        usage = await read_table_usage(self._points)
        free = await read_free_bytes(self._points)
        runs = await count_stored_runs(self._points)
        sizes, parts, row_counts = zip(*usage.values(), strict=True)
        return [
            _by_table("store_bytes", "Bytes on disk of each table.", sizes),
            _by_table("store_parts", "Parts of each table that are not merged yet.", parts),
            _by_table("store_rows", "Rows of each table, repeats not yet merged away.", row_counts),
            _gauge("store_free_bytes", "Free space on the store's disks.", free),
            _gauge("store_runs", "Runs that have sent a batch.", runs),
        ]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"penstock_{name}", text, value=value)


def _by_shard(name: str, text: str, values: Sequence[float]) -> Metric:
    return _labelled(name, text, "shard", map(str, range(SHARDS)), values)


def _by_table(name: str, text: str, values: Sequence[float]) -> Metric:
    return _labelled(name, text, "table", COLUMNS, values)


def _labelled(
    name: str, text: str, label: str, labels: Iterable[str], values: Sequence[float]
) -> Metric:
    family = GaugeMetricFamily(f"penstock_{name}", text, labels=[label])
    for each, value in zip(labels, values, strict=True):
        family.add_metric([each], value)
    return family
