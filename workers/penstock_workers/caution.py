"""How much of each shard is read at once: all that fits, until something in it cannot be processed.

A shard that fails is read by itself, in ever smaller parts, so that what is wrong is found and the
other shards go on between. A shard in which nearly everything fails is stopped: that is no matter of
single batches.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Caution"]

_NO_LIMIT = 1_000_000
_STEP = 4
_ENOUGH = 65_536
"""A shard whose parts have grown to this again is trusted."""


class Caution:
    """The shards that are read with care, each with the entries that are read at once."""

    def __init__(self) -> None:
        self._limits: dict[int, int] = {}
        self._turn = 0
        self.stopped: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._limits)

    def __contains__(self, shard: int) -> bool:
        return shard in self._limits

    def choose(self, owned: Iterable[int]) -> tuple[list[int], int]:
        """The shards to read now, and how many entries of them: by turns all that are trusted, and
        each other by itself."""
        read = sorted(set(owned) - self.stopped)
        groups = [[shard for shard in read if shard not in self._limits]]
        groups += [[shard] for shard in read if shard in self._limits]
        groups = [group for group in groups if group]
        if not groups:
            return [], _NO_LIMIT
        self._turn += 1
        group = groups[self._turn % len(groups)]
        return group, self._limits.get(group[0], _NO_LIMIT)

    def suspect(self, shard: int) -> None:
        """Read this shard entry by entry at first."""
        self._limits[shard] = 1

    def failed(self, counts: dict[int, int]) -> None:
        """A commit of so many entries of these shards failed: look at each by itself, or at less."""
        for shard, count in counts.items():
            known = self._limits.get(shard, count)
            self._limits[shard] = min(known, count) if len(counts) > 1 else max(1, count // _STEP)

    def passed(self, shard: int) -> None:
        """A commit of this shard went well."""
        limit = self._limits.get(shard)
        if limit is None:
            return
        if limit * _STEP >= _ENOUGH:
            del self._limits[shard]
        else:
            self._limits[shard] = limit * _STEP

    def trust(self, shard: int) -> None:
        """Nothing is left in this shard that could fail, or it is another worker's now."""
        self._limits.pop(shard, None)
        self.stopped.discard(shard)
