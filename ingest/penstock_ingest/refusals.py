"""How fast a project learns that it is over its quota.

A refused request costs a gateway as much as its head, and a client that ignores `Retry-After` asks again as soon as it has its
answer. So the first answers of a second are given at once, and each later one waits for its turn. Honest clients wait anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["RefusalPace"]

_ANSWERS_PER_S = 20.0
_BURST = 20.0
_MAX_HOLD_S = 5.0
"""Far below the patience of clients and proxies. With more connections than answers in this time, the rate rises."""
_MAX_PROJECTS = 10_000

Project = tuple[str, str]


class RefusalPace:
    """When the next refusal of each project may be answered. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_at: dict[Project, float] = {}

    def hold_s(self, project: Project) -> float:
        """For how long to hold the answer to a request that was just refused; 0: not at all."""
        now = self._clock()
        if project not in self._next_at and len(self._next_at) >= _MAX_PROJECTS:
            self._forget(now)
        full_at = now - _BURST / _ANSWERS_PER_S
        at = max(full_at, self._next_at.get(project, full_at)) + 1 / _ANSWERS_PER_S
        self._next_at[project] = at = min(at, now + _MAX_HOLD_S)
        return max(0.0, at - now)

    def _forget(self, now: float) -> None:
        """Drop the projects that may be answered at once; if there are none, all: they wait again soon."""
        self._next_at = {each: at for each, at in self._next_at.items() if at > now}
        if len(self._next_at) >= _MAX_PROJECTS:
            self._next_at.clear()
