"""The worker's only loop: tend leases, read, prepare, commit; the compactor turns beside it.

The next commit is prepared while the last one is being stored. Whatever fails, nothing was freed:
the worker forgets what it thought it knew and reads its shards from the start again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter

from redis.exceptions import RedisError

from penstock.errors import Broken, PenstockError, Rejected, Transient
from penstock.failpoints import fail
from penstock_common.keys import SHARDS
from penstock_common.metrics import WorkerMetrics
from penstock_common.settings import WorkerSettings
from penstock_workers.caution import Caution
from penstock_workers.commit import Committer, Refused
from penstock_workers.compactor import Compactor
from penstock_workers.gauges import ELECTED, Gauges
from penstock_workers.guarded import run_guarded
from penstock_workers.leases import Leases
from penstock_workers.poison import DeadLetters, Verdict
from penstock_workers.prepare import Prepared, Unusable, prepare
from penstock_workers.presence import Presence
from penstock_workers.queue import Entry, Queue
from penstock_workers.resolver import Resolver
from penstock_workers.sign import Sign
from penstock_workers.store_clock import StoreClock
from penstock_workers.sweeper import Sweeper

__all__ = ["Worker"]

_LOG = logging.getLogger(__name__)
_COMPACT_EVERY_S = 1.0
_GAUGES_EVERY_S = 5.0
_LONGEST_PAUSE_S = 5.0
_LONGEST_STEP_S = 900.0
"""What a commit, a pass over tiers, or reading what is known of many runs may take."""
_REST, _LONGEST_GATHER = 2.0, 3.0
"""Without a backlog, commits start so many times their own length apart, but at most so many times the
least interval."""


class Worker:
    """Moves batches of the shards it owns from the queue to the stores, until told to stop."""

    def __init__(
        self,
        settings: WorkerSettings,
        queue: Queue,
        leases: Leases,
        resolver: Resolver,
        committer: Committer,
        compactor: Compactor,
        dead_letters: DeadLetters,
        presence: Presence,
        clock: StoreClock,
        gauges: Gauges,
        sweeper: Sweeper,
        sign: Sign,
        metrics: WorkerMetrics,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._leases = leases
        self._resolver = resolver
        self._committer = committer
        self._compactor = compactor
        self._dead_letters = dead_letters
        self._presence = presence
        self._clock = clock
        self._gauges = gauges
        self._sweeper = sweeper
        self._sign = sign
        self._metrics = metrics
        self._commit: asyncio.Task[None] | None = None
        self._in_hand = asyncio.Lock()
        self._compacting = asyncio.Lock()
        self._caution = Caution()
        self._failures = 0
        self._last_start = 0.0
        self._took_s = 0.0
        self._is_behind = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the commit in hand and give up all shards."""
        background = {
            "leases": self._leases.keep(),
            "compactor": self._compact(),
            "watch": self._watch(),
            "gauges": self._gauges.watch(),
            "sweeper": self._sweeper.watch(),
            "sign": self._sign.keep(),
        }
        await run_guarded(self._work(stop), background)
        await self._leave()

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                try:
                    await self._turn(stop)
                except Refused as refused:
                    await self._blame(refused.entries, refused.epochs, refused.reason)
            except (PenstockError, RedisError, OSError, TimeoutError) as error:
                await self._recover(error, stop)

    async def _turn(self, stop: asyncio.Event) -> None:
        self._metrics.last_loop.set_to_current_time()
        self._sign.turned()
        await self._tend()
        await self._pace(stop)
        epochs, store = dict(self._leases.epochs), self._clock.store
        shards, limit = self._caution.choose(epochs)
        entries = await self._read(shards, limit)
        if shards and self._queue.store != store:
            self._clock.doubt()  # another worker found that the store was replaced
            self._resolver.is_stale = True
            return
        self._is_behind = self._is_full(entries)
        if not entries:
            await self._finish_commit()
            self._sign.progressed(shards)
            self._failures = 0
            if shards and shards[0] in self._caution:
                self._trust(shards[0])  # nothing is left in it that could fail
            else:
                await _sleep(self._settings.poll_s, stop)
            return
        for shard, count in Counter(entry.shard for entry in entries).items():
            self._metrics.entries_read.labels(str(shard)).inc(count)
        fail("worker.after_read")
        is_suspect = shards[0] in self._caution and shards[0] in self._leases.suspects
        if is_suspect and not await self._begin(entries, epochs):
            return
        prepared = await self._prepare(entries, epochs)
        await self._finish_commit()
        if prepared is not None:
            prepared.store = store
            self._last_start = time.monotonic()
            self._commit = asyncio.create_task(self._store(prepared), name="commit")

    async def _tend(self) -> None:
        gained, lost = await self._leases.tend()
        for shard in lost:
            self._trust(shard)
        for shard in gained & self._leases.suspects:
            _LOG.warning("shard_suspect shard=%d", shard)
            self._caution.suspect(shard)
        is_void = self._clock.is_due and await self._clock.check()
        if gained or lost or is_void or self._resolver.is_stale:
            await self._finish_commit()
            await self._forget()
            self._sign.turned(_LONGEST_STEP_S)
            await self._resolver.resume(self._leases.epochs)
            self._resolver.is_stale = False
        self._metrics.shards.set(len(self._leases.epochs))

    def _trust(self, shard: int) -> None:
        """Read all of this shard again: it is empty, or was given up."""
        self._caution.trust(shard)
        self._leases.suspects.discard(shard)
        self._metrics.stopped.labels(str(shard)).set(0)

    async def _read(self, shards: list[int], limit: int) -> list[Entry]:
        return await self._queue.read(
            shards,
            limit_bytes=min(self._settings.commit_bytes, self._settings.commit_points * 9),
            limit=limit,
        )

    async def _begin(self, entries: list[Entry], epochs: dict[int, int]) -> bool:
        """Count a try of each entry of a shard whose last owner died, before it is made.

        False if they are not to be processed now: one that was tried before is looked at alone, and
        set aside if that was too often.
        """
        tries = await self._dead_letters.begin(entries)
        if max(tries) == 1 or (len(entries) == 1 and not self._dead_letters.is_spent(tries[0])):
            return True
        await self._finish_commit()
        if len(entries) == 1:
            reason = f"its worker died or hung {tries[0] - 1} times"
            epoch = epochs[entries[0].shard]
            verdict = await self._dead_letters.set_aside(entries[0], epoch, reason)
            await self._conclude(entries[0].shard, verdict)
        else:
            self._caution.suspect(entries[0].shard)
        await self._forget()
        return False

    async def _prepare(self, entries: list[Entry], epochs: dict[int, int]) -> Prepared | None:
        """What to commit; None if the entries cannot be processed together."""
        started = time.perf_counter()
        try:
            timeout_s = self._settings.batch_timeout_s
            self._sign.turned(2 * timeout_s)
            prepared = await prepare(entries, epochs, self._resolver, timeout_s=timeout_s)
        except Broken as error:
            await self._finish_commit()
            await self._blame(entries, epochs, error)
            return None
        except (Transient, RedisError, OSError, TimeoutError):
            raise
        except (Unusable, Rejected) as error:
            # A seam: a batch that cannot be processed must not stop those behind it.
            await self._finish_commit()
            await self._suspect(entries, epochs, error.__cause__ or error)
            return None
        self._metrics.fold_seconds.observe(time.perf_counter() - started)
        return prepared

    async def _blame(
        self, entries: list[Entry], epochs: dict[int, int], error: BaseException
    ) -> None:
        """A store refuses these entries for good, and what was prepared beside them counts on them.

        Only if the stores take another write is it the entries' fault; raises if they do not.
        """
        _LOG.warning("commit_refused entries=%d detail=%s", len(entries), error)
        if await self._clock.check():
            await self._forget()
            return
        await self._clock.advance()
        await self._suspect(entries, epochs, error)

    async def _suspect(
        self, entries: list[Entry], epochs: dict[int, int], error: BaseException
    ) -> None:
        self._metrics.errors.labels("batch").inc()
        self._sign.progressed()
        shard = entries[0].shard
        if len(entries) > 1:
            _LOG.warning("commit_unusable entries=%d error=%s", len(entries), type(error).__name__)
            self._caution.failed(Counter(entry.shard for entry in entries))
        else:
            self._caution.suspect(shard)
            verdict = await self._dead_letters.judge(entries[0], epochs[shard], error)
            await self._conclude(shard, verdict)
        await self._forget()

    async def _conclude(self, shard: int, verdict: Verdict) -> None:
        """Count what was set aside, and read the shard no more if that happens to too many."""
        if verdict is Verdict.DEAD:
            self._metrics.batches.labels("dead_lettered").inc()
            if await self._queue.is_in_storm(shard):
                verdict = Verdict.STORM
        if verdict is Verdict.STORM:
            _LOG.error("shard_stopped shard=%d", shard)
            self._caution.stopped.add(shard)
            self._metrics.stopped.labels(str(shard)).set(1)

    async def _pace(self, stop: asyncio.Event) -> None:
        """A trickle of entries is gathered for a little while, lest it make many small parts: longer
        where commits are costly, as those of thousands of runs are.

        Before the streams are read, so that what arrives meanwhile is in the next commit too.
        """
        if not self._is_behind and not self._caution:
            least_s = self._settings.commit_interval_s
            interval_s = min(_LONGEST_GATHER * least_s, max(least_s, _REST * self._took_s))
            await _sleep(self._last_start + interval_s - time.monotonic(), stop)

    def _is_full(self, entries: list[Entry]) -> bool:
        return sum(len(entry.raw) for entry in entries) * 4 >= self._settings.commit_bytes

    async def _store(self, prepared: Prepared) -> None:
        started = time.perf_counter()
        async with self._in_hand:
            lost = await self._committer.commit(prepared)
        self._failures = 0
        self._sign.progressed(prepared.settled)
        self._dead_letters.passed(prepared.entries)
        for shard in [shard for shard in prepared.settled if shard in self._caution]:
            self._caution.passed(shard)
            if shard not in self._caution:
                self._leases.suspects.discard(shard)
        self._took_s = time.perf_counter() - started
        self._count(prepared, self._took_s)
        for shard in lost:
            _LOG.warning("shard_lost shard=%d", shard)
            self._metrics.errors.labels("fenced").inc()
            self._leases.forget(shard)
            self._resolver.is_stale = True

    async def _finish_commit(self) -> None:
        commit, self._commit = self._commit, None
        if commit is not None:
            self._sign.turned(_LONGEST_STEP_S)
            await commit

    async def _recover(self, error: Exception, stop: asyncio.Event) -> None:
        """Start over from the queue, after a pause that grows while nothing works."""
        kind = "queue" if isinstance(error, RedisError) else "store"
        self._metrics.errors.labels(kind).inc()
        self._failures += 1
        self._sign.waits(type(error).__name__)
        pause_s = min(_LONGEST_PAUSE_S, 0.1 * 2 ** min(self._failures, 10))
        _LOG.warning(
            "retrying error=%s detail=%s pause_s=%.1f", type(error).__name__, error, pause_s
        )
        if self._commit is not None:
            await asyncio.wait([self._commit])
            self._commit = None
        self._clock.doubt()
        await self._forget()
        await _sleep(pause_s, stop)

    async def _forget(self) -> None:
        """Know nothing and read from the start.

        Not while tiers are being built: that pass may still raise watermarks in the store, and what
        is learnt next must not be older than they are. Stale until `resume` has found the unfinished
        tiers again: a series that gets no new point would otherwise stay dirty for ever.
        """
        self._sign.turned(_LONGEST_STEP_S)
        async with self._compacting:
            self._resolver.forget()
        self._resolver.is_stale = True
        self._metrics.rewinds.inc()
        for shard in range(SHARDS):
            self._queue.rewind(shard)

    async def _compact(self) -> None:
        pause_s = _COMPACT_EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            started = time.perf_counter()
            try:
                async with self._compacting:
                    built = await self._compactor.run_once(self._in_hand)
            except (PenstockError, RedisError, OSError, TimeoutError) as error:
                _LOG.warning("compaction_failed error=%s detail=%s", type(error).__name__, error)
                continue
            took_s = time.perf_counter() - started
            # Commits come first: while there is a backlog, tiers get a third of the time.
            pause_s = max(_COMPACT_EVERY_S, 2 * took_s if self._is_behind else 0.0)
            if built:
                self._metrics.tier_buckets.inc(built)
                self._metrics.compact_seconds.observe(took_s)

    async def _watch(self) -> None:
        while True:
            try:
                self._metrics.missing.set(self._resolver.missing_batches())
                if await self._clock.check():
                    self._resolver.is_stale = True
                elif ELECTED in self._leases.epochs:
                    await self._clock.advance()
                await self._watch_runs()
            except (PenstockError, RedisError, OSError, TimeoutError) as error:
                _LOG.warning("watch_failed error=%s", type(error).__name__)
            await asyncio.sleep(_GAUGES_EVERY_S if self._failures == 0 else 1.0)

    async def _watch_runs(self) -> None:
        changed = await self._presence.read_heartbeats()
        if ELECTED in self._leases.epochs:
            silent = await self._presence.bury()
            if silent:
                _LOG.warning("runs_silent count=%d", len(silent))
                self._metrics.silenced.inc(len(silent))
            changed += silent
        await self._committer.announce({}, changed)
        await self._committer.notices.tell()

    async def _leave(self) -> None:
        try:
            await self._finish_commit()
            await self._leases.leave()
        except (PenstockError, RedisError, OSError, TimeoutError) as error:
            # Nothing is lost: the entries are still queued, and the leases run out.
            _LOG.warning("left_in_haste error=%s", type(error).__name__)

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


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but wake up at once when told to stop."""
    if seconds > 0:
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass
