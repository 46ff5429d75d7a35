"""What `define_metric` returns, levels of alerts, and how often an alert with the same title is recorded."""

from __future__ import annotations

import time
from enum import Enum
from typing import Any, NamedTuple

__all__ = ["AlertLevel", "AlertPace", "MetricDefinition"]

_WAIT_S = 60.0


class AlertLevel(Enum):
    """The level of an alert."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class MetricDefinition(NamedTuple):
    """A rule for a metric, or for all whose names match a pattern; may be another metric's `step_metric`."""

    name: str
    step_metric: str | None = None
    step_sync: bool | None = None
    hidden: bool | None = None
    summary: tuple[str, ...] | None = None


class AlertPace:
    """Lets an alert through unless one with its title was recorded a short time ago."""

    def __init__(self) -> None:
        self._recorded: dict[str, float] = {}

    def lets_through(self, title: str, wait_duration: Any) -> bool:
        """`wait_duration`: a number of seconds or a timedelta; None or 0: a minute."""
        now = time.monotonic()
        last = self._recorded.get(title)
        if last is not None and now < last + _seconds(wait_duration):
            return False
        if len(self._recorded) > 10_000:  # titles with numbers in them
            self._recorded.clear()
        self._recorded[title] = now
        return True


def _seconds(duration: Any) -> float:
    try:
        given = duration.total_seconds() if hasattr(duration, "total_seconds") else duration
        found = 0.0 if given is None else float(given)
    except Exception:  # the seam to objects of the user's
        return _WAIT_S
    return found if found > 0 else _WAIT_S
