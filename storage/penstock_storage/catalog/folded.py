"""Summaries that several writers of a run fold, each from its own rows: their extremes are put
together, whatever order they come in and however often."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["put_together"]


def put_together(before: Any, now: Any, ways: Any, *, is_newer: bool) -> Any:
    """What a run's summary has of a metric once a writer says `now` of it: figures by their kind.

    `ways` says of some kinds how two of them become one: min, max or first. The others are those of
    the newer. What was set by hand, and is no set of figures, gives way only to what is newer.
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
