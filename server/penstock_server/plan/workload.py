"""What is to be planned for: the load, how long data is kept, and how much room to leave."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from penstock.command_codes import CommandCode
from penstock.errors import Rejected

__all__ = ["BOUNDS", "Workload"]


@dataclass(frozen=True, slots=True)
class Workload:
    """A load and what is asked of the installation."""

    runs: int
    """Runs that log at the same time."""
    keys: int
    """Metrics that a run logs per row."""
    hz: float
    """Rows per second and run."""
    days: float = 30.0
    """Days a month on which this many runs log."""
    run_hours: float = 24.0
    """How long a run lasts, which says how many runs a month has."""
    outage_min: float = 10.0
    """Minutes for which the queue has room while no worker, or no store, is there."""
    readers: int = 1
    """People who have a page with live charts open."""
    retention: float = 365.0
    """Days for which data is kept."""
    replicas: int = 1
    """Copies of the stored data; also the least number of each process that can run several times."""
    media_mb: float = 0.0
    """Files and media per run, in MB."""
    headroom: float = 1.5
    """What is planned, divided by what the average load uses."""

    def __post_init__(self) -> None:
        """Raises `Rejected` for a number out of bounds."""
        for each in fields(self):
            value = getattr(self, each.name)
            least, most = BOUNDS[each.name]
            if not (math.isfinite(value) and least <= value <= most):
                raise Rejected(
                    f"--{each.name.replace('_', '-')} must be from {least:,g} to {most:,g}, not {value:g}",
                    code=CommandCode.BAD_ARGUMENT,
                )

    @property
    def points_per_s(self) -> float:
        return self.runs * self.keys * self.hz


BOUNDS: dict[str, tuple[float, float]] = {
    "runs": (1, 10_000_000),
    "keys": (1, 1_000_000),
    "hz": (1e-6, 10_000),
    "days": (0, 31),
    "run_hours": (0.001, 100_000),
    "outage_min": (0, 100_000),
    "readers": (0, 1_000_000),
    "retention": (0, 100_000),
    "replicas": (1, 100),
    "media_mb": (0, 1_000_000_000),
    "headroom": (1, 100),
}
"""Least and most of each."""
