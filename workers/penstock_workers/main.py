"""The worker process. Exits with 0 after a signal, with `AT_FAULT` when everything it read
failed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import uvloop

from penstock_common.http.exporter import metrics_server
from penstock_common.process import logs
from penstock_common.process.lifecycle import (
    die_with_parent,
    spare_collector,
    stop_on_signals,
)
from penstock_common.process.metrics import WorkerMetrics
from penstock_common.process.patience import patiently
from penstock_common.process.settings import WorkerSettings, load
from penstock_common.process.watchdog import Watchdog, watchdog_of
from penstock_common.queue.connection import connect
from penstock_common.queue.news import publish
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.redis_keys import RedisKeys
from penstock_storage.connect import open_catalog, open_points
from penstock_storage.contracts.interface import RunRef
from penstock_storage.names import reconcile
from penstock_workers.batches.known_state import KnownState
from penstock_workers.commits.bound_notices import BoundNotices
from penstock_workers.commits.commit import Committer
from penstock_workers.commits.commit_numbers import CommitNumbers
from penstock_workers.commits.dead_letters import DeadLetters
from penstock_workers.commits.liveness import Liveness
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.compaction.compaction import Compaction
from penstock_workers.compaction.compactor import Compactor
from penstock_workers.quarantine.quarantine import Quarantine
from penstock_workers.quarantine.quarantine_records import QuarantineRecords
from penstock_workers.shards.flight_recorder import Death, FlightRecorder, left_behind
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.queue import Queue
from penstock_workers.sign import Sign
from penstock_workers.upkeep.gauges import Gauges
from penstock_workers.upkeep.mender import Mender
from penstock_workers.upkeep.mover import Mover
from penstock_workers.upkeep.purger import Purger
from penstock_workers.upkeep.upkeep import Upkeep
from penstock_workers.worker import Worker

__all__ = ["AT_FAULT", "main", "run"]

AT_FAULT = 75


async def run(settings: WorkerSettings, stop: asyncio.Event, watchdog: Watchdog) -> int:
    """Work with these settings until `stop` is set; returns the exit status."""
    folder = Path(settings.worker_folder) if settings.worker_folder else None
    deaths = left_behind(folder) if folder else []
    with FlightRecorder.opened(folder) as recorder:
        return await _run(settings, stop, watchdog, recorder, deaths)


async def _run(
    settings: WorkerSettings,
    stop: asyncio.Event,
    watchdog: Watchdog,
    recorder: FlightRecorder,
    deaths: Iterable[Death],
) -> int:
    keys, metrics = RedisKeys(settings.prefix), WorkerMetrics()
    redis = connect(settings.redis_url, timeout_s=10)
    points = open_points(settings.store_url, settings.store_token)
    catalog = open_catalog(settings.catalog_url, settings.bounds)
    try:
        await patiently(points.setup, stop)
        await patiently(catalog.setup, stop)
        # A catalog restored from an older copy must not assign a number twice.
        await reconcile(catalog, points)
        problems = Problems(redis, keys)
        clock = StoreClock(redis, keys, points, catalog, metrics)
        await patiently(clock.check, stop)
        queue, known = Queue(redis, keys), KnownState(catalog, points, settings.bounds)
        leases = Leases(redis, keys, lease_s=settings.lease_s, worker=settings.worker_name)
        liveness = Liveness(
            redis, keys, catalog, leases.epochs, silent_after_s=settings.silent_after_s
        )
        problems = Problems(redis, keys)
        notices = BoundNotices(redis, keys, catalog, problems)
        numbers = CommitNumbers()
        committer = Committer(
            redis, keys, queue, leases, points, catalog, known, liveness, clock, notices, numbers
        )
        compactor = Compactor(points, known, numbers, leases)
        compaction = Compaction(compactor, known, metrics)
        upkeep = Upkeep(known, clock, leases, liveness, committer, numbers, metrics)
        dead_letters = DeadLetters(queue, leases, numbers, catalog, points)
        records = QuarantineRecords(redis, keys, leases, problems)
        for death in deaths:
            await patiently(partial(records.blame, death), stop)
        quarantine = Quarantine(records, dead_letters, max_deliveries=settings.max_deliveries)
        known.deletions.listen(liveness.forget)
        is_embedded = settings.store_url.startswith("unix://")
        gauges = Gauges(
            redis, keys, points, leases.epochs, metrics, problems,
            disk_low_bytes=0 if is_embedded else settings.disk_low_bytes,
        )  # fmt: skip
        mover = Mover(catalog, points)

        async def announce(deleted: Sequence[RunRef], changed: Sequence[RunRef]) -> None:
            await publish(redis, keys, changed=changed, deleted=deleted)

        purger = Purger(
            catalog, points, mover, announce, leases.epochs, metrics,
            until_s=settings.purge_until_s,
        )  # fmt: skip
        mender = Mender(
            points, catalog, clock, leases.epochs, problems, metrics,
            partial(known.invalidate, "store_mended"),
        )  # fmt: skip
        sign = Sign(redis, keys, leases.worker, leases.epochs, watchdog)
        worker = Worker(
            settings, queue, leases, known, committer, quarantine, compaction, clock, mender,
            sign, recorder, metrics,
        )  # fmt: skip
        spare_collector()
        async with metrics_server(
            metrics,
            watchdog=watchdog,
            socket=settings.metrics_socket,
            listen=settings.metrics_listen,
        ):
            background = {
                "leases": leases.keep(),
                "compaction": compaction.watch(),
                "upkeep": upkeep.watch(),
                "gauges": gauges.watch(),
                "purger": purger.watch(),
                "mender": mender.watch(compaction.building, compaction.commit_in_hand),
                "sign": sign.keep(),
            }
            watchdog.ready()
            await worker.run(stop, background)
        return AT_FAULT if worker.is_at_fault else 0
    finally:
        await redis.aclose()
        await points.close()
        await catalog.close()


async def _main(settings: WorkerSettings, watchdog: Watchdog) -> int:
    return await run(settings, stop_on_signals(asyncio.get_running_loop()), watchdog)


def main() -> None:
    """Entry of `penstock worker`."""
    die_with_parent()
    settings = load(WorkerSettings, environ=os.environ)
    logs.setup("worker", settings.log_level, secrets=settings.secrets)
    watchdog = watchdog_of(settings.patience_s)
    if status := uvloop.run(watchdog.run(_main(settings, watchdog))):
        sys.exit(status)


if __name__ == "__main__":
    main()
