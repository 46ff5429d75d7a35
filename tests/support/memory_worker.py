"""A gateway's appender and a worker's steps over a queue, a store and a catalog in this process, for
tests of what a commit does: nothing runs by itself."""

from __future__ import annotations

import mmap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from hiredis import ReplyError
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError
from support.memory_store import MemoryPointStore
from support.redis import memory_redis

from penstock.wire import Batch, Frame, encode_batch
from penstock_common.process.bounds import Bounds
from penstock_common.process.metrics import GatewayMetrics, WorkerMetrics
from penstock_common.process.settings import WorkerSettings
from penstock_common.process.watchdog import Watchdog
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.redis_keys import RedisKeys
from penstock_ingest.append import Appended, Appender
from penstock_storage.catalog import SqlCatalog
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.prepare import Prepared, prepare
from penstock_workers.commits.bound_notices import BoundNotices
from penstock_workers.commits.commit import Committer
from penstock_workers.commits.commit_numbers import CommitNumbers
from penstock_workers.commits.liveness import Liveness
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.composition import Surroundings, compose
from penstock_workers.shards.flight_recorder import FlightRecorder
from penstock_workers.shards.in_thread import StallLimit
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.queue import Budget, Queue, Selection
from penstock_workers.worker import Worker as LoopingWorker

__all__ = ["KEYS", "Bench", "MemoryPipe", "frame", "running_bench"]

KEYS = RedisKeys()
BUDGET = Budget(1_000, 2**26, 2**28, 10**6)
SHARDS = range(16)


def frame(*steps: int, value: float = 0.5, keys: Sequence[str] = ("loss",)) -> Frame:
    """One value of each key at each step."""
    n = len(steps)
    columns = (np.array(steps, "<i8"), np.full(n, 1_000, "<i8"), np.full(n * len(keys), value))
    return Frame([*keys], *(column.tobytes() for column in columns))


class MemoryPipe:
    """What the appender asks of its connection."""

    server = "memory"

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def execute(self, command: tuple[Any, ...]) -> Any:
        try:
            return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError as error:
            return ReplyError(f"NOSCRIPT {error}")
        except ResponseError as error:
            return ReplyError(str(error))


@dataclass
class Worker:
    """What one worker process knows. All of them share the stores."""

    queue: Queue
    leases: Leases
    known: KnownState
    committer: Committer
    clock: StoreClock

    async def read(self) -> Prepared:
        """What there is to commit, from the start of the queue."""
        for shard in SHARDS:
            self.queue.rewind(shard)
        epochs = dict(self.leases.epochs)
        entries = await self.queue.read([Selection(shard) for shard in epochs], BUDGET)
        with FlightRecorder.opened(None) as recorder:
            limit = StallLimit(30, lambda: recorder.steps, lambda: None)
            return await prepare(
                entries, epochs, self.clock.store, self.known, self.queue, recorder, limit
            )

    async def commit(self) -> Prepared:
        prepared = await self.read()
        assert await self.committer.commit(prepared) == set()
        return prepared


@dataclass
class Bench:
    """Stores that are shared by whoever works on them."""

    redis: Redis
    points: MemoryPointStore
    catalog: SqlCatalog
    appender: Appender
    bounds: Bounds

    async def append(
        self, seq: int, *, run: str = "r", writer: str = "w", **batch: Any
    ) -> Appended:
        """Queue a batch of the project e/p, as a gateway does."""
        raw = encode_batch(Batch(project="p", run=run, writer=writer, seq=seq, **batch))
        return await self.appender.append("e", "p", run, writer, seq, raw)

    async def new_worker(self, name: str = "me") -> Worker:
        """A worker that has just started and holds every shard: whoever did has lost them."""
        await self.redis.delete(KEYS.workers(), *(KEYS.lease(shard) for shard in SHARDS))
        leases = Leases(self.redis, KEYS, lease_s=60, worker=name)
        await leases.tend()
        clock = StoreClock(self.redis, KEYS, self.points, self.catalog, WorkerMetrics())
        await clock.check()
        queue, known = Queue(self.redis, KEYS), KnownState(self.catalog, self.points, self.bounds)
        presence = Liveness(self.redis, KEYS, self.catalog, leases.epochs, silent_after_s=60)
        notices = BoundNotices(self.redis, KEYS, self.catalog, Problems(self.redis, KEYS))
        committer = Committer(
            self.redis, KEYS, queue, leases, self.points, self.catalog, known, presence, clock,
            notices, CommitNumbers(),
        )  # fmt: skip
        return Worker(queue, leases, known, committer, clock)

    async def compose(self, **settings: Any) -> LoopingWorker:
        """A whole worker, with what nothing but its turns does. It holds every shard once it turns."""
        await self.redis.delete(KEYS.workers(), *(KEYS.lease(shard) for shard in SHARDS))
        recorder = FlightRecorder(mmap.mmap(-1, 4_096))
        given = Surroundings(
            self.redis, self.points, self.catalog, recorder, Watchdog(), WorkerMetrics()
        )
        paced = {"commit_interval_s": 0.0, "commit_rest_s": 0.0} | settings
        composed = compose(WorkerSettings(**paced), given)
        await composed.clock.check()
        return composed.worker

    async def queued(self) -> int:
        return sum([int(await self.redis.xlen(KEYS.stream(shard))) for shard in SHARDS])

    async def letters(self) -> list[str]:
        """Why each dead letter is one."""
        found: list[Any] = [await self.redis.xrange(KEYS.dead(shard)) for shard in SHARDS]
        return [fields[b"reason"].decode() for each in found for _, fields in each]

    async def committed(self, writer: str) -> int | None:
        """What a gateway tells the writer of this key, such as e/p/r/w."""
        found = [await self.redis.hget(KEYS.committed(shard), writer) for shard in SHARDS]
        marks = [int(each) for each in found if each is not None]
        return marks[0] if marks else None

    async def stored(self) -> list[tuple[int, float, int]]:
        """(step, value, number of the batch) of every point."""
        found = await self.points.query("SELECT step, v, seq FROM penstock.points FINAL")
        columns = (found[name] for name in ("step", "v", "seq"))
        rows = zip(*columns, strict=True)
        return sorted((int(step), float(v), int(seq)) for step, v, seq in rows)


@asynccontextmanager
async def running_bench(catalog_url: str, **bounds: int) -> AsyncIterator[Bench]:
    """Empty stores; the catalog is at this URL, with these bounds, if any."""
    most = Bounds(**bounds)
    points, catalog = MemoryPointStore(), SqlCatalog(catalog_url, bounds=most)
    async with memory_redis() as redis:
        await points.setup()
        pipe = cast("Any", MemoryPipe(redis))
        yield Bench(redis, points, catalog, Appender(pipe, KEYS, GatewayMetrics()), most)
        await catalog.close()
        await points.close()
