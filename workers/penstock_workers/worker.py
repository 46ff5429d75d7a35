"""The worker's main loop: keep leases, read, prepare, commit, and retry what fails; other tasks run
alongside.

The next commit is prepared while the last one is being stored. If anything fails, nothing has been
deleted: the worker forgets what it knew and reads its shards from the start again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from penstock.errors import Broken, PenstockError, Rejected, Transient
from penstock.failpoints import fail
from penstock_common.process.metrics import WorkerMetrics
from penstock_common.process.settings import WorkerSettings
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.prepare import Prepared, prepare
from penstock_workers.batches.writer_names import writer_name
from penstock_workers.commits.commit import Committer, Refused
from penstock_workers.commits.commit_pace import CommitPace
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.compaction.compaction import Compaction
from penstock_workers.guarded import run_guarded
from penstock_workers.quarantine.quarantine import Quarantine, Verdict
from penstock_workers.shards.flight_recorder import FlightRecorder
from penstock_workers.shards.in_thread import StallLimit, Unusable
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.queue import Budget, Entry, Queue, Selection
from penstock_workers.shards.reads import Read
from penstock_workers.sign import Sign
from penstock_workers.upkeep.mender import Mender
from penstock_workers.waiting import sleep, unless

__all__ = ["Worker"]

_LOG = logging.getLogger(__name__)
_MAX_PAUSE_S = 5.0
_MAX_BACKOFF_S = 10.0
_MAX_STEP_S = 900.0
"""The most that a commit, a pass over tiers, or loading what is known of many runs may take."""
_MAX_BATCH_S = 10.0
"""The most that one batch may take: it is small compared to a commit, and while it hangs, all wait."""
_MAX_DECODED_BYTES, _MAX_ELEMENTS = 256 * 2**20, 4_000_000
"""The most that a commit may take to decode."""

_BYTES_PER_POINT, _DECODED_PER_POINT = 8, 36
"""How many points entries hold is known only after decoding. A packed point can have fewer bytes; a
decoded one has at least 8. A million of them make one part in the store; a few more would make another."""


class Worker:
    """Moves batches of the shards it owns from the queue to the stores, until told to stop."""

    def __init__(
        self,
        settings: WorkerSettings,
        queue: Queue,
        leases: Leases,
        known: KnownState,
        committer: Committer,
        quarantine: Quarantine,
        compaction: Compaction,
        clock: StoreClock,
        mender: Mender,
        sign: Sign,
        recorder: FlightRecorder,
        metrics: WorkerMetrics,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._leases = leases
        self._known = known
        self._committer = committer
        self._quarantine = quarantine
        self._compaction = compaction
        self._clock = clock
        self._mender = mender
        self._sign = sign
        self._recorder = recorder
        self._metrics = metrics
        self._commit: asyncio.Task[None] | None = None
        self._commit_read = Read([])
        self._failures = 0
        self._pace = CommitPace(min_s=settings.commit_interval_s, rest_s=settings.commit_rest_s)
        self.is_at_fault = False
        """Whether it stopped by itself, since everything it read failed."""

    async def run(
        self, stop: asyncio.Event, background: Mapping[str, Coroutine[Any, Any, None]]
    ) -> None:
        """Work until `stop` is set, with these tasks in the background; then finish the commit in
        hand and release all shards."""
        await run_guarded(self._work(stop), background)
        await self._leave()
        if self.is_at_fault:
            await self._back_off(stop)

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and not self.is_at_fault:
            try:
                try:
                    await self._turn(stop)
                except Refused as refused:
                    await self._isolate(self._commit_read, refused.entries, refused.reason)
            except (PenstockError, RedisError, OSError, TimeoutError) as error:
                await self._recover(error, stop)

    async def _turn(self, stop: asyncio.Event) -> None:
        self._metrics.last_loop.set_to_current_time()
        self._sign.turned()
        await self._tend()
        # What is known holds for this store. Another one may be found during the rest.
        store = self._clock.store
        if await self._rest(stop):
            return
        read = self._quarantine.next_read(self._leases.epochs)
        await self._gather(read, stop)
        self._pace.read()
        epochs = dict(self._leases.epochs)
        if not epochs.keys() >= set(read.shards):
            return
        entries = await self._read(read)
        self._pace.found(sum(entry.decoded for entry in entries))
        if read.shards and self._queue.store != store:
            self._clock.require_check()  # another worker found that the store was replaced
            self._known.invalidate("store_replaced")
        if self._known.is_stale:
            return  # a batch that is no longer stored would be dropped as a repeat
        if read.is_isolated:
            read = replace(read, is_rest=not (read.entry_id or self._queue.has_more))
        else:
            self._compaction.is_behind = self._queue.has_more
        if not entries:
            await self._finish_commit()
            self._sign.progressed(read.shards)
            self._failures = 0
            self._quarantine.found_nothing(read)
            if not (read.is_isolated or self._quarantine.is_narrowing or self._may_rest):
                await sleep(self._settings.poll_s, stop)
            return
        for shard, count in Counter(entry.shard for entry in entries).items():
            self._metrics.entries_read.labels(str(shard)).inc(count)
        fail("worker.after_read")
        if read.is_isolated:
            await self._finish_commit()  # the next batch may crash this process
        if any(entry.is_dropped for entry in entries):
            await self._finish_commit()
            await self._quarantine.drop(entries)
            await self._forget("batches_dropped")
            return
        if read.is_counted:
            verdict = await self._quarantine.begin(read, entries)
            if verdict is not None:
                await self._conclude(entries, verdict)
                return
        self._recorder.reads(entries, is_counted=read.is_counted)
        prepared = await self._prepare(read, entries, epochs)
        await self._finish_commit()
        if prepared is not None:
            prepared.store = store
            self._pace.started()
            self._commit_read = read
            self._commit = asyncio.create_task(self._store(read, prepared), name="commit")

    async def _tend(self) -> None:
        gained, lost = await self._leases.tend()
        owned = set(self._leases.epochs)
        for shard in self._quarantine.shards - owned:
            self._quarantine.lost(shard)
        for shard in sorted(owned - self._quarantine.shards):
            owner_crashed = shard in self._leases.owner_crashed
            if owner_crashed:
                _LOG.warning("shard_owner_crashed shard=%d", shard)
            await self._quarantine.gained(shard, owner_crashed=owner_crashed)
            self._leases.owner_crashed.discard(shard)
        is_void = self._clock.is_due and await self._clock.check()
        if gained or lost or is_void or self._known.is_stale:
            await self._finish_commit()
            await self._forget("shards_changed" if gained or lost else "store_changed")
            self._sign.turned(_MAX_STEP_S)
            await self._known.resume(self._leases.epochs)
        self._metrics.shards.set(len(self._leases.epochs))

    async def _read(self, read: Read) -> list[Entry]:
        if read.entry_id:
            return await self._queue.fetch(read.shards[0], read.entry_id)
        quarantine, settings = self._quarantine, self._settings
        selections = [
            Selection(
                shard,
                read.writer,
                quarantine.start_of(shard, read.writer) if read.writer else "",
                quarantine.passed_over(shard, read.writer),
            )
            for shard in read.shards
        ]
        size = min(settings.commit_bytes, settings.commit_points * _BYTES_PER_POINT)
        decoded = min(_MAX_DECODED_BYTES, settings.commit_points * _DECODED_PER_POINT)
        return await self._queue.read(selections, Budget(read.limit, size, decoded, _MAX_ELEMENTS))

    async def _prepare(
        self, read: Read, entries: list[Entry], epochs: dict[int, int]
    ) -> Prepared | None:
        """What to commit; None if the entries cannot be processed together."""
        started, timeout_s = time.perf_counter(), self._settings.batch_timeout_s
        if len(entries) == 1:
            timeout_s = min(timeout_s, _MAX_BATCH_S)
        recorder, turned = self._recorder, partial(self._sign.turned, 2 * timeout_s)
        limit = StallLimit(timeout_s, lambda: recorder.steps, turned)
        turned()
        try:
            prepared = await prepare(entries, epochs, self._known, self._queue, recorder, limit)
        except Broken as error:
            await self._finish_commit()
            await self._isolate(read, entries, error)
            return None
        except (Transient, RedisError, OSError, TimeoutError):
            raise
        except (Unusable, Rejected) as error:
            # A seam: a batch that cannot be processed must not hold up those behind it.
            await self._finish_commit()
            to_blame = error.entry if isinstance(error, Unusable) else None
            await self._fail(read, entries, error.__cause__ or error, to_blame)
            return None
        self._metrics.fold_seconds.observe(time.perf_counter() - started)
        return prepared

    async def _isolate(self, read: Read, entries: list[Entry], error: BaseException) -> None:
        """A store refuses these entries for good, and what was prepared beside them depends on them.

        It is the entries' fault only if the stores take another write; raises if they do not.
        """
        _LOG.warning("commit_refused entries=%d detail=%s", len(entries), error)
        if await self._clock.check():
            await self._forget("store_replaced")
            return
        await self._clock.advance()
        await self._fail(read, entries, error)
        await self._forget("commit_refused")

    async def _fail(
        self,
        read: Read,
        entries: Sequence[Entry],
        error: BaseException,
        to_blame: Entry | None = None,
    ) -> None:
        self._metrics.errors.labels("batch").inc()
        self._sign.progressed()
        if len(entries) > 1:
            _LOG.warning("commit_unusable entries=%d error=%s", len(entries), type(error).__name__)
        verdict = await self._quarantine.failed(read, entries, error, to_blame)
        await self._conclude(entries, verdict)

    async def _conclude(self, entries: Sequence[Entry], verdict: Verdict) -> None:
        """Read these again, with their writers forgotten. Everything else stays known: if one bad batch
        made the worker forget it, all writers would wait until it is loaded again."""
        if verdict is Verdict.DEAD:
            self._metrics.batches.labels("dead_lettered").inc()
        elif verdict is Verdict.WORKER_AT_FAULT:
            self.is_at_fault = True
        self._known.forget_writers(writer_name(each.writer) for each in entries)
        for shard in {entry.shard for entry in entries}:
            self._queue.rewind(shard)
        self._pace.read_again()
        self._metrics.rewinds.inc()

    @property
    def _may_rest(self) -> bool:
        """Whether batches may gather for a while: nobody reads, little comes in, and nothing is amiss."""
        is_wanted = self._compaction.is_behind or self._queue.is_watched or self._pace.is_busy
        return self._quarantine.is_quiet and not is_wanted

    async def _rest(self, stop: asyncio.Event) -> bool:
        """Wait a while for somebody to want a commit; True if it is still too early to read."""
        left_s = self._pace.rest_s
        if left_s <= 0 or not self._may_rest:
            return False
        await self._finish_commit()
        wanted = self._queue.wait(self._leases.epochs, min(left_s, self._leases.due_in_s))
        return not await unless(stop, wanted)

    async def _gather(self, read: Read, stop: asyncio.Event) -> None:
        """Gather a trickle of entries for a short while, to avoid many small parts.

        Before the streams are read, so that what arrives meanwhile is in the next commit too.
        """
        if not (self._compaction.is_behind or self._quarantine.is_narrowing or read.is_isolated):
            await sleep(self._pace.gather_s, stop)
            if (left_s := self._pace.trickle_s) > 0:
                await unless(stop, self._queue.wait(self._leases.epochs, left_s))

    async def _store(self, read: Read, prepared: Prepared) -> None:
        started = time.perf_counter()
        async with self._compaction.commit_in_hand:
            with self._recorder.committing():
                lost = await self._committer.commit(prepared)
        self._sign.progressed(prepared.acknowledgements)
        self._failures = 0
        took_s = time.perf_counter() - started
        self._pace.ended(took_s)
        self._count(prepared, took_s)
        for shard in lost:
            _LOG.warning("shard_lost shard=%d", shard)
            self._metrics.errors.labels("fenced").inc()
            self._leases.forget(shard)
            self._known.invalidate("shard_lost")
        await self._quarantine.passed(read, prepared.entries, prepared.stored)

    async def _finish_commit(self) -> None:
        commit, self._commit = self._commit, None
        if commit is not None:
            self._sign.turned(_MAX_STEP_S)
            await commit

    async def _recover(self, error: Exception, stop: asyncio.Event) -> None:
        """Retry from the start of the queue, after a backoff that grows while nothing works."""
        await self._mender.met(error)
        kind = "queue" if isinstance(error, RedisError) else "store"
        self._metrics.errors.labels(kind).inc()
        self._failures += 1
        self._sign.waits(type(error).__name__)
        pause_s = min(_MAX_PAUSE_S, 0.1 * 2 ** min(self._failures, 10))
        _LOG.warning(
            "retrying error=%s detail=%s pause_s=%.1f", type(error).__name__, error, pause_s
        )
        if self._commit is not None:
            await asyncio.wait([self._commit])
            self._commit = None
        self._clock.require_check()
        await self._forget("retry")
        await sleep(pause_s, stop)

    async def _forget(self, reason: str) -> None:
        """Forget everything and read from the start."""
        self._sign.turned(_MAX_STEP_S)
        await self._compaction.forget(reason)
        self._metrics.rewinds.inc()
        for shard in self._quarantine.shards:
            self._queue.rewind(shard)
        self._pace.read_again()

    async def _leave(self) -> None:
        try:
            await self._finish_commit()
            await self._mender.note()
            await self._leases.leave()
        except (PenstockError, RedisError, OSError, TimeoutError) as error:
            # Nothing is lost: the entries are still queued, and the leases run out.
            _LOG.warning("left_in_haste error=%s", type(error).__name__)

    async def _back_off(self, stop: asyncio.Event) -> None:
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

    def _count(self, prepared: Prepared, took_s: float) -> None:
        metrics, now = self._metrics, time.time()
        metrics.commit_seconds.observe(took_s)
        metrics.commit_batches.observe(prepared.batches)
        metrics.points.inc(prepared.points)
        metrics.batches.labels("committed").inc(prepared.batches)
        metrics.batches.labels("duplicate").inc(prepared.duplicates)
        metrics.batches.labels("conflict").inc(prepared.conflicts)
        metrics.batches.labels("of_deleted_run").inc(prepared.refused)
        metrics.batches.labels("dead_lettered").inc(len(prepared.beyond))
        for entry in prepared.entries:
            metrics.delay_seconds.observe(max(0.0, now - entry.received / 1e6))
        metrics.last_commit.set(now)
