"""What the worker does when something fails: it retries, finds out what is to blame, or stops as the one at
fault."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from redis.exceptions import RedisError

from penstock_common.process.metrics import WorkerMetrics
from penstock_common.queue.entries import Entry
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.writer_names import writer_name
from penstock_workers.quarantine.quarantine import Quarantine, Verdict
from penstock_workers.shards.in_thread import Unusable
from penstock_workers.shards.reads import Read
from penstock_workers.sign import Sign
from penstock_workers.turns.holdings import Holdings
from penstock_workers.turns.reader import Reader
from penstock_workers.upkeep.mender import Mender
from penstock_workers.waiting import sleep

__all__ = ["Recovery"]

_LOG = logging.getLogger(__name__)
_MAX_PAUSE_S = 5.0
_MAX_BACKOFF_S = 10.0


class Recovery:
    """Decides between a failure of the surroundings, which is retried, and one of the batches, which the
    quarantine judges."""

    def __init__(
        self,
        holdings: Holdings,
        quarantine: Quarantine,
        known: KnownState,
        reader: Reader,
        mender: Mender,
        sign: Sign,
        metrics: WorkerMetrics,
    ) -> None:
        self._holdings = holdings
        self._quarantine = quarantine
        self._known = known
        self._reader = reader
        self._mender = mender
        self._sign = sign
        self._metrics = metrics
        self._is_at_fault = False

    @property
    def is_at_fault(self) -> bool:
        """Whether the worker has to stop, since everything that it read failed."""
        return self._is_at_fault

    # -- the stores or the queue

    async def met(self, error: Exception) -> float:
        """A store or the queue failed; returns how long (s) to wait before the next try: longer while nothing
        works."""
        await self._mender.met(error)
        kind = "queue" if isinstance(error, RedisError) else "store"
        self._metrics.errors.labels(kind).inc()
        retries = self._sign.waits(type(error).__name__)
        pause_s: float = min(_MAX_PAUSE_S, 0.1 * 2 ** min(retries, 10))
        _LOG.warning(
            "retrying error=%s detail=%s pause_s=%.1f", type(error).__name__, error, pause_s
        )
        return pause_s

    async def start_over(self, pause_s: float, stop: asyncio.Event) -> None:
        """Forget everything, wait this long, and read from the start. No commit is in hand."""
        await self._holdings.distrust()
        await sleep(pause_s, stop)

    # -- batches

    async def refused(self, read: Read, entries: list[Entry], error: BaseException) -> None:
        """A store refuses these entries for good, and what was prepared beside them depends on them.

        It is the entries' fault only if the stores take another write; raises if they do not.
        """
        _LOG.warning("commit_refused entries=%d detail=%s", len(entries), error)
        if await self._holdings.is_replaced():
            return
        await self._holdings.prove_writable()
        await self._judge(read, entries, error)
        await self._holdings.forget("commit_refused")

    async def unusable(self, read: Read, entries: list[Entry], error: Exception) -> None:
        """These entries could not be processed together."""
        to_blame = error.entry if isinstance(error, Unusable) else None
        await self._judge(read, entries, error.__cause__ or error, to_blame)

    async def _judge(
        self, read: Read, entries: list[Entry], error: BaseException, to_blame: Entry | None = None
    ) -> None:
        self._metrics.errors.labels("batch").inc()
        self._sign.progressed()
        if len(entries) > 1:
            _LOG.warning("commit_unusable entries=%d error=%s", len(entries), type(error).__name__)
        self.conclude(entries, await self._quarantine.failed(read, entries, error, to_blame))

    def conclude(self, entries: Sequence[Entry], verdict: Verdict) -> None:
        """Read these again, with their writers forgotten. Everything else stays known: if one bad batch
        made the worker forget it, all writers would wait until it is loaded again."""
        if verdict is Verdict.DEAD:
            self._metrics.batches.labels("dead_lettered").inc()
        elif verdict is Verdict.WORKER_AT_FAULT:
            self._is_at_fault = True
        self._known.forget_writers(writer_name(each.writer) for each in entries)
        self._reader.rewind({entry.shard for entry in entries})

    # -- the end

    async def back_off(self, stop: asyncio.Event) -> None:
        """Report the fault for a while, longer each time, before the next process tries."""
        self._metrics.at_fault.set(1)
        try:
            times = await self._quarantine.note_fault()
        except (RedisError, OSError, TimeoutError):
            times = 1
        pause_s = min(_MAX_BACKOFF_S, 0.5 * 2 ** min(times, 10))
        self._sign.turned(_MAX_BACKOFF_S)
        _LOG.critical("worker_at_fault times=%d restart_in_s=%.1f", times, pause_s)
        await sleep(pause_s, stop)
