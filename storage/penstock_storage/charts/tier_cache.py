"""Cache of tier rows, folded into the buckets of a chart, for the next similar chart.

An entry is valid while no bucket of its series became dirty or clean: the caller reads that state for
each chart, before anything else, and an entry with another state is not found.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from penstock_storage.charts.partials import CurveId, Partials

__all__ = ["CachedTiers", "TierCache"]


class CachedTiers(NamedTuple):
    """Cells by curve number, and the curves with these numbers."""

    cells: Partials
    ids: Sequence[CurveId]


class TierCache:
    """Keeps the most recently used entries, up to `limit_bytes`."""

    def __init__(self, limit_bytes: int = 64 * 2**20) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[Hashable, CachedTiers] = OrderedDict()
        self._size_bytes = 0

    def get(self, name: Hashable) -> CachedTiers | None:
        """The entry with this name: a plan's windows and the state of their series."""
        found = self._entries.get(name)
        if found is not None:
            self._entries.move_to_end(name)
        return found

    def put(self, name: Hashable, entry: CachedTiers) -> None:
        """Add an entry, and evict the least recently used ones."""
        self._size_bytes += _size_bytes(entry)
        if replaced := self._entries.pop(name, None):
            self._size_bytes -= _size_bytes(replaced)
        self._entries[name] = entry
        while self._size_bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._size_bytes -= _size_bytes(oldest)


def _size_bytes(entry: CachedTiers) -> int:
    return 500 * len(entry.ids) + entry.cells.size_bytes
