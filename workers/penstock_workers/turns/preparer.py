"""Prepares a commit, within a time limit: a batch that makes it stand still ends this process, and the flight
recorder tells the next one which batch that was."""

from __future__ import annotations

import time
from functools import partial

from penstock_common.process.metrics import WorkerMetrics
from penstock_common.process.settings import WorkerSettings
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.prepare import Prepared, prepare
from penstock_workers.shards.flight_recorder import FlightRecorder
from penstock_workers.shards.in_thread import StallLimit
from penstock_workers.shards.queue import Queue
from penstock_workers.sign import Sign
from penstock_workers.turns.reader import Reading

__all__ = ["Preparer"]

_MAX_BATCH_S = 10.0
"""The most that one batch may take: it is small compared to a commit, and while it hangs, all wait."""


class Preparer:
    """Turns what was read into what a commit writes."""

    def __init__(
        self,
        settings: WorkerSettings,
        known: KnownState,
        queue: Queue,
        recorder: FlightRecorder,
        sign: Sign,
        metrics: WorkerMetrics,
    ) -> None:
        self._timeout_s = settings.batch_timeout_s
        self._known = known
        self._queue = queue
        self._recorder = recorder
        self._sign = sign
        self._metrics = metrics

    async def prepare(self, reading: Reading, store: str) -> Prepared:
        """What to commit to the store with this id; raises as `batches.prepare` does."""
        started, timeout_s, recorder = time.perf_counter(), self._timeout_s, self._recorder
        if len(reading.entries) == 1:
            timeout_s = min(timeout_s, _MAX_BATCH_S)
        recorder.reads(reading.entries, is_counted=reading.read.is_counted)
        turned = partial(self._sign.turned, 2 * timeout_s)
        limit = StallLimit(timeout_s, lambda: recorder.steps, turned)
        turned()
        prepared = await prepare(
            reading.entries, reading.epochs, store, self._known, self._queue, recorder, limit
        )
        self._metrics.fold_seconds.observe(time.perf_counter() - started)
        return prepared
