"""The worker's main loop. Other tasks run alongside.

A turn: tend the leases; if the shards or the store changed, forget everything and ask again. Rest, if nobody
waits. Read. Let the quarantine see what was read. Prepare it, while the last commit is being stored. Wait for
that, and begin to store this.

Invariants:

- Nothing is deleted from the queue before it is stored. So whatever fails, everything can be forgotten, and
  the shards read from their start again.
- The store's id is taken before the rest. Batches are judged only if the store is still that one, and
  what is known still holds: otherwise a batch that clients send again, since the store lost it, would be
  dropped as a repeat.
- At most one commit is in hand. It is finished before anything is judged, forgotten, or read one by one:
  what it stores changes all three.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from redis.exceptions import RedisError

from penstock.errors import Broken, PenstockError, Rejected
from penstock.failpoints import fail
from penstock_workers.batches.prepare import Prepared
from penstock_workers.commits.commit import Refused
from penstock_workers.guarded import run_guarded
from penstock_workers.quarantine.quarantine import Quarantine
from penstock_workers.shards.in_thread import Unusable
from penstock_workers.turns.commit_in_hand import CommitInHand
from penstock_workers.turns.holdings import Holdings
from penstock_workers.turns.preparer import Preparer
from penstock_workers.turns.reader import Reader, Reading
from penstock_workers.turns.recovery import Recovery

__all__ = ["Worker"]

_LOG = logging.getLogger(__name__)
_SURROUNDINGS = (PenstockError, RedisError, OSError, TimeoutError)
"""What the stores and the queue raise while they do not work."""
_ABANDON_S = 1.0


class Worker:
    """Moves batches of the shards it owns from the queue to the stores, until told to stop."""

    def __init__(
        self,
        holdings: Holdings,
        reader: Reader,
        quarantine: Quarantine,
        preparer: Preparer,
        commit: CommitInHand,
        recovery: Recovery,
        *,
        drain_s: float,
    ) -> None:
        """`drain_s`: how long the turn and the commit in hand may take once it has to stop."""
        self._holdings = holdings
        self._reader = reader
        self._quarantine = quarantine
        self._preparer = preparer
        self._commit = commit
        self._recovery = recovery
        self._drain_s = drain_s

    @property
    def is_at_fault(self) -> bool:
        """Whether it stopped by itself, since everything it read failed."""
        return self._recovery.is_at_fault

    async def run(
        self, stop: asyncio.Event, background: Mapping[str, Coroutine[Any, Any, None]]
    ) -> None:
        """Work until `stop` is set, with these tasks in the background; then finish the commit in
        hand and release all shards."""
        await run_guarded(self._work(stop), background)
        await self._leave()
        if self.is_at_fault:
            await self._recovery.back_off(stop)

    async def _work(self, stop: asyncio.Event) -> None:
        """Turn until `stop` is set. The batches in hand then may still be stored, unless that takes too long:
        they stay queued, and the next owner of their shards stores them."""
        turning = asyncio.create_task(self._turn_until(stop), name="turns")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait([turning, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await asyncio.wait([turning], timeout=self._drain_s)
        if turning.done():
            await turning
            return
        _LOG.warning("commit_left_behind drain_s=%.1f", self._drain_s)
        turning.cancel()
        self._commit.abandon()
        await asyncio.wait([turning], timeout=_ABANDON_S)

    async def _turn_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and not self.is_at_fault:
            await self.turn(stop)
        try:
            await self._commit.finish()
        except (Refused, *_SURROUNDINGS) as error:
            _LOG.warning("commit_left_behind error=%s", type(error).__name__)

    async def turn(self, stop: asyncio.Event) -> None:
        """One turn. Whatever fails in it is judged, or has been waited for and is tried again in the next
        one."""
        try:
            try:
                await self._advance(stop)
            except Refused as refused:
                read, entries = self._commit.read, refused.entries
                await self._recovery.refused(read, entries, refused.reason)
        except _SURROUNDINGS as error:
            pause_s = await self._recovery.met(error)
            await self._commit.give_up()
            await self._recovery.start_over(pause_s, stop)

    async def _advance(self, stop: asyncio.Event) -> None:
        if reason := await self._holdings.changed():
            await self._commit.finish()
            await self._holdings.learn_again(reason)
        store = self._holdings.store  # another one may be found during the rest
        if (left_s := self._reader.rest_s) > 0:
            await self._commit.finish()
            if not await self._reader.rest(left_s, stop):
                return
        reading = await self._reader.read(stop)
        if reading is None or not self._holdings.may_judge(reading, store):
            return
        if not reading.entries:
            await self._commit.settle(reading.read.shards)
            self._quarantine.found_nothing(reading.read)
            await self._reader.pause(reading.read, stop)
            return
        fail("worker.after_read")
        if await self._is_kept_back(reading):
            return
        prepared = await self._prepare(reading, store)
        await self._commit.finish()
        if prepared is not None:
            self._commit.start(reading.read, prepared)

    async def _is_kept_back(self, reading: Reading) -> bool:
        """Whether these are not to be prepared now: an operator dropped some, or the quarantine has enough
        of them."""
        read, entries = reading.read, reading.entries
        if read.is_isolated or reading.has_dropped:
            await self._commit.finish()  # the next batch may crash this process
        if reading.has_dropped:
            await self._quarantine.drop(entries)
            await self._holdings.forget("batches_dropped")
            return True
        verdict = await self._quarantine.begin(read, entries) if read.is_counted else None
        if verdict is not None:
            self._recovery.conclude(entries, verdict)
        return verdict is not None

    async def _prepare(self, reading: Reading, store: str) -> Prepared | None:
        """What to commit; None if the entries cannot be processed together."""
        try:
            return await self._preparer.prepare(reading, store)
        except Broken as error:
            await self._commit.finish()
            await self._recovery.refused(reading.read, reading.entries, error)
        except (Unusable, Rejected) as error:
            # A seam: a batch that cannot be processed must not hold up those behind it.
            await self._commit.finish()
            await self._recovery.unusable(reading.read, reading.entries, error)
        return None

    async def _leave(self) -> None:
        try:
            await self._holdings.leave()
        except _SURROUNDINGS as error:
            # Nothing is lost: the entries are still queued, and the leases run out.
            _LOG.warning("left_in_haste error=%s", type(error).__name__)
