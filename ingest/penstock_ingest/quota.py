"""Rate limit per project: a token bucket each, so that one project's flood leaves room for the others.

A batch of any size is admitted while the bucket is not in debt: otherwise a batch larger than the
bucket would never be admitted. The next ones pay for it by waiting.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from penstock.error_codes import ErrorCode
from penstock.errors import Transient

__all__ = ["Quota"]

_BURST_S = 10.0
_MAX_BUCKETS = 10_000

Project = tuple[str, str]
"""(entity, project)"""


class Quota:
    """The points per second that each project may send to this process; 0 sets no limit."""

    def __init__(self, points_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = points_per_s
        self._burst = points_per_s * _BURST_S
        self._clock = clock
        self._buckets: dict[Project, tuple[float, float]] = {}

    @property
    def is_limited(self) -> bool:
        return self._rate > 0

    def take(self, project: Project, points: int) -> None:
        """Take the points of a batch.

        Raises `Transient` (429) with the time until the project is out of debt.
        """
        now = self._clock()
        tokens = self._tokens(project, now)
        if tokens <= 0:
            raise Transient(
                f"the project {project[1]!r} sends more than {self._rate:g} points per second",
                code=ErrorCode.QUOTA,
                retry_after_s=math.ceil(max(1.0, -tokens / self._rate)),
            )
        if project not in self._buckets and len(self._buckets) >= _MAX_BUCKETS:
            self._forget(now)
        self._buckets[project] = (tokens - points, now)

    def give_back(self, project: Project, points: int) -> None:
        """Return the points of a batch that was not queued, or was already."""
        now = self._clock()
        self._buckets[project] = (self._tokens(project, now) + points, now)

    def _tokens(self, project: Project, now: float) -> float:
        tokens, since = self._buckets.get(project, (self._burst, now))
        return min(self._burst, tokens + (now - since) * self._rate)

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again: a new one is full too. If there are none, drop the half
        unused for longest."""
        full = [each for each in self._buckets if self._tokens(each, now) >= self._burst]
        if not full:
            full = sorted(self._buckets, key=lambda each: self._buckets[each][1])
            full = full[: len(full) // 2]
        for each in full:
            del self._buckets[each]
