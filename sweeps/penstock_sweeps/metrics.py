"""The metrics of trials' runs, which the search reads from the stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["TrialMetrics"]


class TrialMetrics(Protocol):
    """Reads the metric of runs. Both methods may raise `Transient`; nothing is learned then."""

    async def values(
        self, project: int, runs: Sequence[int], metric: str, goal: str
    ) -> dict[int, float]:
        """By run number, the metric's value in the run's summary: the explicitly set one, or else the
        last one logged. Runs without a finite value are absent."""

    async def curves(
        self, project: int, runs: Sequence[int], metric: str, most: int
    ) -> dict[int, list[float]]:
        """By run number, the metric's finite logged values in step order, at most the first `most` of
        each run. Runs without any are absent."""
