"""Cached spans of series: a hint for choosing how to read, never a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from penstock_storage.charts.plan import Range
from penstock_storage.charts.series import NEVER, SeriesTable

__all__ = ["Spans"]

_MAX_ENTRIES = 200_000
_MAX_PAIRS = 5_000
_FRESH_S = 10.0

Pair = tuple[int, int]
"""(key, run)"""


class Spans:
    """Remembers spans of series, of at most 200,000 (key, run) pairs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spans: dict[Pair, list[tuple[int, int]]] = {}
        self._tiered: set[Pair] = set()
        self._noted_s: dict[Pair, float] = {}

    def note(self, keys: Sequence[int], runs: Sequence[int], series: SeriesTable) -> None:
        """Store what was read of these pairs."""
        if len(keys) * len(runs) > _MAX_PAIRS:
            return
        if len(self._spans) > _MAX_ENTRIES:
            self._spans.clear()
            self._tiered.clear()
            self._noted_s.clear()
        found: dict[Pair, list[tuple[int, int]]] = {(key, run): [] for key in keys for run in runs}
        for key, run, first, last, tiered in zip(
            series.key.tolist(),
            series.run.tolist(),
            series.first.tolist(),
            series.last.tolist(),
            series.tiered.tolist(),
            strict=True,
        ):
            found[key, run].append((first, last))
            if tiered != NEVER:
                self._tiered.add((key, run))
        self._spans.update(found)
        self._noted_s.update(dict.fromkeys(found, self._clock()))

    def are_fresh(self, keys: Sequence[int], runs: Sequence[int]) -> bool:
        """Whether all of these were read recently."""
        if len(keys) * len(runs) > _MAX_PAIRS:
            return False
        oldest_s = self._clock() - _FRESH_S
        return all(self._noted_s.get((key, run), -1.0) > oldest_s for key in keys for run in runs)

    def rows(self, keys: Sequence[int], runs: Sequence[int], visible: Range) -> int:
        """An estimate of the points of these series in the range: at most one per step. Huge if there are
        too many series to check."""
        if len(keys) * len(runs) > _MAX_PAIRS:
            return 2**62
        rows = 0
        for key in keys:
            for run in runs:
                for first, last in self._spans.get((key, run), ()):
                    rows += max(0, min(last + 1, visible.hi) - max(first, visible.lo))
        return rows

    def have_tiers(self, keys: Sequence[int], runs: Sequence[int]) -> bool:
        """Whether any of these series is known to have tiers."""
        if len(keys) * len(runs) > _MAX_PAIRS:
            return True
        return any((key, run) in self._tiered for key in keys for run in runs)
