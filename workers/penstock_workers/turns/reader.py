"""Reads what the next commit is made of: when, how much, and from where again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from penstock_common.process.metrics import WorkerMetrics
from penstock_common.process.settings import WorkerSettings
from penstock_common.queue.entries import Entry
from penstock_workers.commits.commit_pace import CommitPace
from penstock_workers.quarantine.quarantine import Quarantine
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.queue import Budget, Queue
from penstock_workers.shards.reads import Read
from penstock_workers.waiting import sleep, unless

__all__ = ["Reader", "Reading"]

_MAX_DECODED_BYTES, _MAX_ELEMENTS = 256 * 2**20, 4_000_000
"""The most that a commit may take to decode."""

_BYTES_PER_POINT, _DECODED_PER_POINT = 8, 36
"""How many points entries hold is known only after decoding. A packed point can have fewer bytes; a
decoded one has at least 8. A million of them make one part in the store; a few more would make another."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a read found, under the epochs of all shards just before it. `store`: the id of the store that
    the queue held after it; None if it held none."""

    read: Read
    entries: list[Entry]
    epochs: dict[int, int]
    store: str | None

    @property
    def has_dropped(self) -> bool:
        """Whether an operator dropped some of the entries."""
        return any(entry.is_dropped for entry in self.entries)


class Reader:
    """Reads as the quarantine says, at the pace of the commits."""

    def __init__(
        self,
        settings: WorkerSettings,
        queue: Queue,
        leases: Leases,
        quarantine: Quarantine,
        pace: CommitPace,
        metrics: WorkerMetrics,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._quarantine = quarantine
        self._pace = pace
        self._metrics = metrics
        self._poll_s = settings.poll_s
        self._size = min(settings.commit_bytes, settings.commit_points * _BYTES_PER_POINT)
        self._decoded = min(_MAX_DECODED_BYTES, settings.commit_points * _DECODED_PER_POINT)
        self._is_behind = False

    @property
    def is_behind(self) -> bool:
        """Whether the last read of all healthy shards left something behind."""
        return self._is_behind

    # -- when

    @property
    def rest_s(self) -> float:
        """How long batches may gather before the next read, unless somebody wants a commit; 0 or less: not at
        all."""
        return self._pace.rest_s if self._may_rest else 0.0

    @property
    def _may_rest(self) -> bool:
        """Whether batches may gather for a while: nobody reads, little comes in, and nothing is amiss."""
        is_wanted = self._is_behind or self._queue.is_watched or self._pace.is_busy
        return self._quarantine.is_quiet and not is_wanted

    async def rest(self, left_s: float, stop: asyncio.Event) -> bool:
        """Wait this long for somebody to want a commit; False if nobody did: it is still too early to
        read."""
        wanted = self._queue.wait(self._leases.epochs, min(left_s, self._leases.due_in_s))
        return await unless(stop, wanted)

    async def pause(self, read: Read, stop: asyncio.Event) -> None:
        """After a read that found nothing: wait until it is worth looking again."""
        if not (read.is_isolated or self._quarantine.is_narrowing or self._may_rest):
            await sleep(self._poll_s, stop)

    async def _gather(self, read: Read, stop: asyncio.Event) -> None:
        """Gather a trickle of entries for a short while, to avoid many small parts.

        Before the streams are read, so that what arrives meanwhile is in the next commit too.
        """
        if not (self._is_behind or self._quarantine.is_narrowing or read.is_isolated):
            await sleep(self._pace.gather_s, stop)
            if (left_s := self._pace.trickle_s) > 0:
                await unless(stop, self._queue.wait(self._leases.epochs, left_s))

    # -- what

    async def read(self, stop: asyncio.Event) -> Reading | None:
        """Read what is next; None if one of its shards was lost while entries gathered."""
        read = self._quarantine.next_read(self._leases.epochs)
        await self._gather(read, stop)
        self._pace.read()
        epochs = dict(self._leases.epochs)
        if not epochs.keys() >= set(read.shards):
            return None
        entries = await self._entries(read)
        self._pace.found(sum(entry.decoded for entry in entries))
        for shard, count in Counter(entry.shard for entry in entries).items():
            self._metrics.entries_read.labels(str(shard)).inc(count)
        if read.is_isolated:
            read = replace(read, is_rest=not (read.entry_id or self._queue.has_more))
        else:
            self._is_behind = self._queue.has_more
        return Reading(read, entries, epochs, self._queue.store)

    async def _entries(self, read: Read) -> list[Entry]:
        if read.entry_id:
            return await self._queue.fetch(read.shards[0], read.entry_id)
        budget = Budget(read.limit, self._size, self._decoded, _MAX_ELEMENTS)
        return await self._queue.read(self._quarantine.selections(read), budget)

    def rewind(self, shards: Iterable[int]) -> None:
        """Read these shards from their start again, at once."""
        for shard in shards:
            self._queue.rewind(shard)
        self._pace.read_again()
        self._metrics.rewinds.inc()
