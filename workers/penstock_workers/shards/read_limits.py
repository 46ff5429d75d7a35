"""How many entries of a shard are read at once: fewer where some of them failed or ended the worker, more
again with each success. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from penstock_common.queue.entries import Entry
from penstock_workers.shards.reads import NO_LIMIT, Read

__all__ = ["STEP", "ReadLimits"]

STEP = 4
_ENOUGH = 65_536
"""A shard whose reads have grown to this size again is read with the others."""
_FEW, _PROVED_PER_RISKED, _PROVED_PER_READ = 16, 8, 64
"""After a crash, a read takes at most `_FEW` entries, or an eighth of what was stored since then: if the
process dies again, all of them have to be read in small parts. A 64th, if it may have died of the size."""


class ReadLimits:
    """The limits of shards; those without one are read together, as much as fits."""

    def __init__(self) -> None:
        self._limits: dict[int, int] = {}
        self._counted: set[int] = set()
        self._most = NO_LIMIT
        self._proved = 0
        self._last = Read([]), NO_LIMIT

    def __bool__(self) -> bool:
        return bool(self._limits)

    def reads(self, shards: Sequence[int]) -> list[Read]:
        """One read of all shards without a limit, and one of those of each limit."""
        whole = [shard for shard in shards if shard not in self._limits]
        reads = [Read(whole)] if whole else []
        parts: dict[tuple[int, bool], list[int]] = {}
        for shard, limit in self._limits.items():
            parts.setdefault((limit, shard in self._counted), []).append(shard)
        return reads + [
            Read(each, limit, is_counted=counted) for (limit, counted), each in parts.items()
        ]

    # -- fewer

    def search(self, shards: Collection[int]) -> None:
        """Read these entry by entry at first, and count each try: something in them may crash this process
        too."""
        self._limits.update(dict.fromkeys(shards, 1))
        self._counted.update(shards)
        self._proved = 0

    def after_death(self, shards: Collection[int], entries: int) -> None:
        """The last owner of these died while it worked on this number of entries, perhaps of the number."""
        self._most = max(1, entries // STEP)
        self._limits.update(dict.fromkeys(shards, self._most))

    def narrow(self, entries: Sequence[Entry], limit: int) -> None:
        """Read at most `limit` entries of these shards at once; of several, no more than they had here."""
        counts = Counter(entry.shard for entry in entries)
        for shard, count in counts.items():
            known = self._limits.get(shard, count)
            self._limits[shard] = min(known, count, limit) if len(counts) > 1 else limit

    # -- more

    def begins(self, read: Read, most: int) -> None:
        """This read is tried now. `most`: as many at once may hold what was tried before, as this does."""
        self._last = read, most

    def passed(self, read: Read, entries: int) -> int:
        """This number of entries of a read are out of the queue: raise its shards' limits. Returns the most
        that the next read like it may take."""
        self._proved += entries
        last, most = self._last
        proved = max(self._most, self._proved // _PROVED_PER_READ)
        most = min(proved, most if read == last else NO_LIMIT)
        if not read.writer:
            for shard in self._limits.keys() & set(read.shards):
                self._raise(shard, most, is_rest=read.is_rest)
        return min(most, _ENOUGH)

    def _raise(self, shard: int, most: int, *, is_rest: bool) -> None:
        limit = min(most, self._limits[shard] * STEP)
        if shard in self._counted:
            limit = min(limit, max(_FEW, self._proved // _PROVED_PER_RISKED))
        # With the rest, everything is stored that may have crashed a worker, or failed together.
        if is_rest or limit >= _ENOUGH:
            del self._limits[shard]
        else:
            self._limits[shard] = limit

    def lift(self, shards: Collection[int]) -> None:
        """Nothing is left of what these had."""
        for shard in shards:
            self._limits.pop(shard, None)

    def stop_counting(self, shards: Collection[int]) -> None:
        """Tries of these need not be counted in advance any more, unless they are being searched."""
        self._counted.difference_update(set(shards) - self._limits.keys())

    def forget(self, shard: int) -> None:
        """The shard is no longer ours."""
        self._limits.pop(shard, None)
        self._counted.discard(shard)
