"""What the worker stands on: the shards that it holds, the store that it writes to, and that what it knows is
about these."""

from __future__ import annotations

import asyncio
import logging

from penstock.errors import PenstockError
from penstock_common.process.metrics import WorkerMetrics
from penstock_workers.batches.known_state import KnownState
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.compaction.compaction import Compaction
from penstock_workers.quarantine.quarantine import Quarantine
from penstock_workers.shards.leases import Leases
from penstock_workers.sign import MAX_STEP_S, Sign
from penstock_workers.turns.reader import Reader, Reading
from penstock_workers.upkeep.mender import Mender

__all__ = ["Holdings"]

_LOG = logging.getLogger(__name__)
_LEAVE_S = 3.0


class Holdings:
    """Notices when shards or the store change, and has everything learned again."""

    def __init__(
        self,
        leases: Leases,
        quarantine: Quarantine,
        clock: StoreClock,
        known: KnownState,
        compaction: Compaction,
        reader: Reader,
        mender: Mender,
        sign: Sign,
        metrics: WorkerMetrics,
    ) -> None:
        self._leases = leases
        self._quarantine = quarantine
        self._clock = clock
        self._known = known
        self._compaction = compaction
        self._reader = reader
        self._mender = mender
        self._sign = sign
        self._metrics = metrics

    @property
    def store(self) -> str:
        """The id of the store that what is known now is about."""
        return self._clock.store

    async def changed(self) -> str:
        """Tend the leases and check the store, where that is due; returns why everything has to be learned
        again, '' if it has not."""
        self._metrics.last_loop.set_to_current_time()
        self._sign.turned()
        gained, lost = await self._leases.tend()
        owned = set(self._leases.epochs)
        self._metrics.shards.set(len(owned))
        await self._quarantine.hold(owned, self._leases.owner_crashed)
        if self._clock.is_due and await self._clock.check():
            return "store_replaced"
        if gained or lost:
            return "shards_changed"
        return "stale" if self._known.is_stale else ""

    async def learn_again(self, reason: str) -> None:
        """Forget everything, for this reason, and ask the store what earlier owners left unfinished. No commit
        is in hand."""
        await self.forget(reason)
        self._sign.turned(MAX_STEP_S)
        await self._known.resume(self._leases.epochs)

    async def forget(self, reason: str) -> None:
        """Forget everything, for this reason, and read from the start. No commit is in hand."""
        self._sign.turned(MAX_STEP_S)
        await self._compaction.forget(reason)
        self._reader.rewind(self._quarantine.shards)

    def may_judge(self, reading: Reading, store: str) -> bool:
        """Whether what is known holds for what was read, after a rest in which another store may have come.
        `store`: the id of the store before the rest.

        If it does not, a batch that is no longer stored would be dropped as a repeat.
        """
        if reading.read.shards and reading.store != store:
            self._clock.require_check()  # another worker found that the store was replaced
            self._known.invalidate("store_replaced")
        return not self._known.is_stale

    async def is_replaced(self) -> bool:
        """Check the store now; True if everything known is void, and has been forgotten."""
        if not await self._clock.check():
            return False
        await self.forget("store_replaced")
        return True

    async def prove_writable(self) -> None:
        """Raises what the stores raise if they do not take a write. They were checked just before."""
        await self._clock.advance()

    async def distrust(self) -> None:
        """Something failed: check the store before anything else, and learn everything again. No commit is in
        hand."""
        self._clock.require_check()
        await self.forget("retry")

    async def leave(self) -> None:
        """Note for the next owner what the store has, and release all shards. No commit is in hand.

        Each within a few seconds: others can take the shards at once only if they are released, also by a
        worker that does not reach the store any more.
        """
        try:
            async with asyncio.timeout(_LEAVE_S):
                await self._mender.note()
        except (PenstockError, OSError, TimeoutError) as error:
            _LOG.warning("parts_not_noted error=%s", type(error).__name__)
        async with asyncio.timeout(_LEAVE_S):
            await self._leases.leave()
