"""Client reports in the header of each batch, summed up in metrics.

A report covers the time since the writer's previous batch and is counted with the batch: once, however
often the batch is sent. Reports are not trusted: anything but a sensible number counts as 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from penstock.wire import Batch
from penstock_common.process.metrics import VERSION, GatewayMetrics

__all__ = ["ClientReports"]

_MAX_COUNT = 2**40
_MAX_WRITERS = 20_000
_FORGET_S = 60.0


class ClientReports:
    """The sums of one gateway process. Spool sizes are those of recently active writers."""

    def __init__(
        self, metrics: GatewayMetrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dropped = metrics.client_dropped
        self._retries = metrics.client_retries
        self._ours = metrics.client_batches.labels(VERSION)
        self._others = metrics.client_batches.labels("other")
        self._clock = clock
        self._spools: dict[tuple[str, str, str], tuple[float, int]] = {}
        metrics.client_spool_bytes.set_function(self.spool_bytes)

    def note(self, batch: Batch) -> None:
        """Add the report of a new batch."""
        client = batch.client
        (self._ours if client.get("version") == VERSION else self._others).inc()
        if client:
            self._dropped.inc(_number(client.get("dropped")))
            self._retries.inc(_number(client.get("retries")))
            if "spool_bytes" in client:
                self._note_spool(batch, _number(client["spool_bytes"]))

    def spool_bytes(self) -> int:
        """The sum of the last reports of the writers active in the last minute."""
        oldest = self._clock() - _FORGET_S
        self._spools = {name: each for name, each in self._spools.items() if each[0] >= oldest}
        return sum(size for _, size in self._spools.values())

    def _note_spool(self, batch: Batch, size: int) -> None:
        name = (batch.project, batch.run, batch.writer)
        if name in self._spools or len(self._spools) < _MAX_WRITERS:
            self._spools[name] = (self._clock(), size)


def _number(value: Any) -> int:
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else 0
