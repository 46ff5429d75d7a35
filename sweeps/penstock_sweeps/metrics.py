"""What the search asks of the stores: how the runs of its trials are doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["TrialMetrics"]


class TrialMetrics(Protocol):
    """The metric of runs. Both may raise `Transient`: then nothing is learned for now."""

    async def values(
        self, project: int, runs: Sequence[int], metric: str, goal: str
    ) -> dict[int, float]:
        """By run number, the metric's value in the run's summary: what was set explicitly, else what
        was logged last. Runs without one, or whose value is not finite, are absent."""

    async def curves(
        self, project: int, runs: Sequence[int], metric: str, most: int
    ) -> dict[int, list[float]]:
        """By run number, what was logged of the metric in step order, finite values only; of each
        run at most the first `most`. Runs without any are absent."""
