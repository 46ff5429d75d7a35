"""Combines summaries that several writers of a run fold from their own rows, with the same result in any
order and with any repeats."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["put_together"]


def put_together(before: Any, now: Any, ways: Any, *, is_newer: bool) -> Any:
    """A metric in a run's summary after a writer's update `now`: figures by kind.

    `ways`: how two figures of a kind are combined: min, max or first. Other kinds take the newer figure.
    A value set by hand, which has no figures, is replaced only by a newer one.
    """
    if not isinstance(now, dict) or not isinstance(before, dict):
        return now if is_newer else before
    together = {**before, **now} if is_newer else {**now, **before}
    for kind, way in ways.items() if isinstance(ways, dict) else ():
        if kind in before and kind in now:
            together[kind] = _one_of(before[kind], now[kind], way)
    return together


def _one_of(before: Any, now: Any, way: Any) -> Any:
    if way == "first" or not _is_number(now):
        return before
    if not _is_number(before):
        return now
    return max(before, now) if way == "max" else min(before, now)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)
