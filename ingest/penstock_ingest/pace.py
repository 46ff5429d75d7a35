"""Backpressure: how often clients should send. This keeps many clients cheap, and slows them down before
the server has to refuse them."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]

_MIN_INTERVAL_S = 0.3
_UNWATCHED_INTERVAL_S = 1.0
_BUSY_RATE = 1_000.0
_MAX_INTERVAL_S = 10.0
_FILL_FROM = 0.1


class Pace:
    """Turns the rate of batches and the fill level of the queue into the `interval_s` of replies.

    0.3 s while somebody reads, 1 s while nobody does or at 1,000 batches per second in this process,
    proportionally more above; up to 10 s while the queue fills from 10 % to the level at which batches
    are refused.
    """

    def __init__(
        self,
        fill: Callable[[], float] = lambda: 0.0,
        is_watched: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fill = fill
        self._is_watched = is_watched
        self._clock = clock
        self._since = clock()
        self._count = 0
        self._needed_s = 0.0

    def count(self, batches: int) -> None:
        self._count += batches

    @property
    def interval_s(self) -> float:
        """How long a client should collect rows. Rate and fill are looked at once a second."""
        now = self._clock()
        if now - self._since >= 1.0:
            by_rate = self._count / (now - self._since) / _BUSY_RATE
            fill = min(1.0, max(0.0, (self._fill() - _FILL_FROM) / (1 - _FILL_FROM)))
            by_fill = _MIN_INTERVAL_S + fill * (_MAX_INTERVAL_S - _MIN_INTERVAL_S)
            self._needed_s = max(by_rate, by_fill)
            self._since, self._count = now, 0
        # At once: who starts to read waits for what clients collect.
        least = _MIN_INTERVAL_S if self._is_watched() else _UNWATCHED_INTERVAL_S
        return round(min(_MAX_INTERVAL_S, max(least, self._needed_s)), 2)
