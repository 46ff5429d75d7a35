"""Rate limit per project: a token bucket each, so that one project's flood leaves room for the others.

A batch of any size is admitted while the bucket is not in debt: otherwise a batch larger than the
bucket would never be admitted. The next ones pay for it by waiting.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock_ingest.refusals import RefusalPace

__all__ = ["OverQuota", "Quota"]

_BURST_S = 10.0
_MAX_BUCKETS = 10_000

Project = tuple[str, str]
"""(entity, project)"""


class OverQuota(Transient):
    """429: this project is in debt, and for how long."""

    def __init__(self, project: Project, points_per_s: float, debt_s: float) -> None:
        super().__init__(
            f"the project {project[1]!r} sends more than {points_per_s:g} points per second",
            code=ErrorCode.QUOTA,
            retry_after_s=math.ceil(max(1.0, debt_s)),
        )
        self.project = project


class Quota:
    """The points per second that each project may send to this process; 0 sets no limit.

    `stop` is set when the process has to shut down: then no answer is held.
    """

    def __init__(
        self,
        points_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        stop: asyncio.Event | None = None,
    ) -> None:
        self._rate = points_per_s
        self._burst = points_per_s * _BURST_S
        self._clock = clock
        self._buckets: dict[Project, tuple[float, float]] = {}
        self._debts_until = -math.inf
        self._refusals = RefusalPace(clock)
        self._stop = stop or asyncio.Event()

    @property
    def is_limited(self) -> bool:
        return self._rate > 0

    @property
    def has_debtors(self) -> bool:
        """Whether any project may be in debt: if none is, there is nothing to check early."""
        return self._clock() <= self._debts_until

    def check(self, project: Project) -> None:
        """Raises `OverQuota` (429) while the project is in debt, whatever it sends: `take` would refuse it too."""
        tokens = self._tokens(project, self._clock())
        if tokens <= 0:
            raise OverQuota(project, self._rate, -tokens / self._rate)

    def take(self, project: Project, points: int) -> None:
        """Take the points of a batch.

        Raises `OverQuota` (429) with the time until the project is out of debt.
        """
        self.check(project)
        now = self._clock()
        if project not in self._buckets and len(self._buckets) >= _MAX_BUCKETS:
            self._forget(now)
        tokens = self._tokens(project, now) - points
        self._buckets[project] = (tokens, now)
        if tokens <= 0:
            self._debts_until = max(self._debts_until, now - tokens / self._rate)

    async def hold(self, refused: OverQuota) -> None:
        """Wait before this refusal is answered, if its project asks too often."""
        hold_s = self._refusals.hold_s(refused.project)
        if hold_s and not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), hold_s)
            refused.retry_after_s = max(1.0, (refused.retry_after_s or 0.0) - hold_s)

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
