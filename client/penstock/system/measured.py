"""What one look at the machine finds, and rates of counters between two looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MIB", "NodeMeasurement", "Rates"]

MIB = 1 << 20


@dataclass
class NodeMeasurement:
    """`values` are ready to be shown. `totals` only grow while the machine runs: a run shows what was added
    since its first row."""

    values: dict[str, float] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    memory_bytes: float = 0.0
    available_bytes: float = 0.0


class Rates:
    """Growth of counters per second since the last look."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._at = 0.0

    def of(self, counters: Mapping[str, float], now: float) -> dict[str, float]:
        """Those of the counters that were there at the last look (`now` is monotonic, in seconds). One that fell,
        since a device was plugged in again, has no rate."""
        seconds, last = now - self._at, self._last
        self._last, self._at = dict(counters), now
        if not last or seconds <= 0:
            return {}
        return {
            name: (value - last[name]) / seconds
            for name, value in counters.items()
            if name in last and value >= last[name]
        }
