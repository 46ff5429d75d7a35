"""How a worker process is put together."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.asyncio import Redis

from penstock_common.process.metrics import WorkerMetrics
from penstock_common.process.settings import WorkerSettings
from penstock_common.process.watchdog import Watchdog
from penstock_common.queue.news import publish
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.redis_keys import RedisKeys
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore, RunRef
from penstock_workers.batches.known_state import KnownState
from penstock_workers.commits.bound_notices import BoundNotices
from penstock_workers.commits.commit import Committer
from penstock_workers.commits.commit_numbers import CommitNumbers
from penstock_workers.commits.commit_pace import CommitPace
from penstock_workers.commits.dead_letters import DeadLetters
from penstock_workers.commits.liveness import Liveness
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.compaction.compaction import Compaction
from penstock_workers.compaction.compactor import Compactor
from penstock_workers.quarantine.quarantine import Quarantine
from penstock_workers.quarantine.quarantine_records import QuarantineRecords
from penstock_workers.shards.flight_recorder import FlightRecorder
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.queue import Queue
from penstock_workers.sign import Sign
from penstock_workers.turns.commit_in_hand import CommitInHand
from penstock_workers.turns.holdings import Holdings
from penstock_workers.turns.preparer import Preparer
from penstock_workers.turns.reader import Reader
from penstock_workers.turns.recovery import Recovery
from penstock_workers.upkeep.gauges import Gauges
from penstock_workers.upkeep.mender import Mender
from penstock_workers.upkeep.mover import Mover
from penstock_workers.upkeep.purger import Purger
from penstock_workers.upkeep.upkeep import Upkeep
from penstock_workers.worker import Worker

__all__ = ["Composed", "Surroundings", "compose"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker process is given."""

    redis: Redis
    points: PointStore
    catalog: Catalog
    recorder: FlightRecorder
    watchdog: Watchdog
    metrics: WorkerMetrics


@dataclass(frozen=True, slots=True)
class Composed:
    """A worker whose store has not been checked yet; `background` makes the tasks that run beside it."""

    worker: Worker
    clock: StoreClock
    records: QuarantineRecords
    background: Callable[[], dict[str, Coroutine[Any, Any, None]]]


def compose(settings: WorkerSettings, given: Surroundings) -> Composed:
    """Put a worker together. Nothing runs yet, and nothing is asked of the stores."""
    keys, redis, points = RedisKeys(settings.prefix), given.redis, given.points
    catalog, recorder, metrics = given.catalog, given.recorder, given.metrics
    problems = Problems(redis, keys)
    clock = StoreClock(redis, keys, points, catalog, metrics)
    leases = Leases(redis, keys, lease_s=settings.lease_s, worker=settings.worker_name)
    queue, known, numbers = (
        Queue(redis, keys),
        KnownState(catalog, points, settings.bounds),
        CommitNumbers(),
    )
    liveness = Liveness(redis, keys, catalog, leases.epochs, silent_after_s=settings.silent_after_s)
    known.deletions.listen(liveness.forget)
    notices = BoundNotices(redis, keys, catalog, problems)
    committer = Committer(
        redis, keys, queue, leases, points, catalog, known, liveness, clock, notices, numbers
    )
    records = QuarantineRecords(redis, keys, leases, problems)
    dead_letters = DeadLetters(queue, leases, numbers, catalog, points)
    quarantine = Quarantine(records, dead_letters, max_deliveries=settings.max_deliveries)
    sign = Sign(redis, keys, leases.worker, leases.epochs, given.watchdog)
    mender = Mender(
        points, catalog, clock, leases.epochs, problems, metrics,
        partial(known.invalidate, "store_mended"),
    )  # fmt: skip

    # The steps of a turn.
    pace = CommitPace(min_s=settings.commit_interval_s, rest_s=settings.commit_rest_s)
    reader = Reader(settings, queue, leases, quarantine, pace, metrics)
    compactor = Compactor(points, known, numbers, leases)
    compaction = Compaction(compactor, known, metrics, lambda: reader.is_behind)
    holdings = Holdings(leases, quarantine, clock, known, compaction, reader, mender, sign, metrics)
    preparer = Preparer(settings, known, queue, recorder, sign, metrics)
    commit = CommitInHand(
        committer, compaction, quarantine, leases, known, pace, recorder, sign, metrics
    )
    recovery = Recovery(holdings, quarantine, known, reader, mender, sign, metrics)
    worker = Worker(
        holdings, reader, quarantine, preparer, commit, recovery, drain_s=settings.drain_s
    )

    # What runs beside it.
    upkeep = Upkeep(known, clock, leases, liveness, committer, numbers, metrics)
    is_embedded = settings.store_url.startswith("unix://")
    gauges = Gauges(
        redis, keys, points, leases.epochs, metrics, problems,
        disk_low_bytes=0 if is_embedded else settings.disk_low_bytes,
    )  # fmt: skip

    async def announce(deleted: Sequence[RunRef], changed: Sequence[RunRef]) -> None:
        await publish(redis, keys, changed=changed, deleted=deleted)

    purger = Purger(
        catalog, points, Mover(catalog, points), announce, leases.epochs, metrics,
        until_s=settings.purge_until_s,
    )  # fmt: skip

    def background() -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "leases": leases.keep(),
            "compaction": compaction.watch(),
            "upkeep": upkeep.watch(),
            "gauges": gauges.watch(),
            "purger": purger.watch(),
            "mender": mender.watch(compaction.building, compaction.commit_in_hand),
            "sign": sign.keep(),
        }

    return Composed(worker, clock, records, background)
