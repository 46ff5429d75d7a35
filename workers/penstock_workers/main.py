"""The worker process. Exits with 0 after a signal, with `AT_FAULT` when everything it read
failed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import uvloop

from penstock_common.http.exporter import metrics_server
from penstock_common.process import logs
from penstock_common.process.lifecycle import (
    close_all,
    die_with_parent,
    spare_collector,
    stop_on_signals,
)
from penstock_common.process.metrics import WorkerMetrics
from penstock_common.process.patience import ToldToStop, patiently
from penstock_common.process.settings import WorkerSettings, load
from penstock_common.process.watchdog import Watchdog, watchdog_of
from penstock_common.queue.connection import connect
from penstock_storage.connect import open_catalog, open_points, set_up
from penstock_storage.names import reconcile
from penstock_workers.composition import Surroundings, compose
from penstock_workers.shards.flight_recorder import Death, FlightRecorder, left_behind

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
    metrics = WorkerMetrics()
    async with metrics_server(
        metrics,
        watchdog=watchdog,
        socket=settings.metrics_socket,
        listen=settings.metrics_listen,
    ):
        redis = connect(settings.redis_url, timeout_s=10)
        points = open_points(settings.store_url, settings.store_token)
        catalog = open_catalog(settings.catalog_url, settings.bounds)
        given = Surroundings(redis, points, catalog, recorder, watchdog, metrics)
        try:
            return await _work(settings, stop, given, deaths)
        except ToldToStop:
            return 0
        finally:
            await close_all(redis.aclose, points.close, catalog.close)


async def _work(
    settings: WorkerSettings, stop: asyncio.Event, given: Surroundings, deaths: Iterable[Death]
) -> int:
    points, catalog, watchdog = given.points, given.catalog, given.watchdog

    async def prepare() -> None:
        with watchdog.extended():
            await set_up(catalog, points)

    await patiently(prepare, stop)
    # A catalog restored from an older copy must not assign a number twice.
    await patiently(partial(reconcile, catalog, points), stop)
    composed = compose(settings, given)
    await patiently(composed.clock.check, stop)
    for death in deaths:
        await patiently(partial(composed.records.blame, death), stop)
    spare_collector()
    background = composed.background()
    watchdog.ready()
    stopping = watchdog.spawn(_note_stop(stop, watchdog), "end", ends=True)
    await composed.worker.run(stop, background)
    stopping.cancel()
    return AT_FAULT if composed.worker.is_at_fault else 0


async def _note_stop(stop: asyncio.Event, watchdog: Watchdog) -> None:
    await stop.wait()
    watchdog.stopping()


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
