"""The loads of P15."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LOADS", "SETTLE_S", "Load"]

SETTLE_S = 6.0
"""Until a server or a client does what it does all the time."""


@dataclass(frozen=True, slots=True)
class Load:
    """`runs` training processes, each logging `keys` keys `rate` times a second in calls of their own."""

    name: str
    runs: int
    keys: int
    rate: float
    target: float | None = None
    """Cores that all server processes may use."""

    @property
    def points_per_s(self) -> float:
        return self.runs * self.keys * self.rate


LOADS = (
    Load("1 run x 5 keys x 1 Hz", 1, 5, 1),
    Load("1 run x 20 keys x 10 Hz", 1, 20, 10, 0.04),
    Load("10 runs x 20 keys x 10 Hz", 10, 20, 10, 0.12),
    Load("1 run x 20 keys x 100 Hz", 1, 20, 100),
)
