"""When a server may be asked: a circuit breaker that all spools of one server share.

Closed: everybody asks. After a failure it is open and everybody waits, exponentially with full
jitter, and at least as long as the server asked for. Then it is half open: one request probes while
the others go on waiting. A success closes it. A quota (429) is not the server's failure: it pauses
the spools of that project only.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from penstock.errors import Rejected, Transient

__all__ = ["CircuitBreaker", "Held"]

T = TypeVar("T")

_MIN_WAIT_S = 0.5
_MAX_WAIT_S = 60.0
_MAX_RETRY_AFTER_S = 3_600.0
_QUOTA_S = 1.0
_PROBED_S = 0.2
"""How soon those come again who wait for another's probe."""


class Held(Exception):
    """Not asked: others must have their turn, or time must pass first. Come again `wait_s` later."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class CircuitBreaker:
    """Safe to use from several threads. `clock` is monotonic; `jitter(a, b)` is between the two."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.failures = 0
        """How often in a row the server failed; 0 while it is well."""
        self._clock = clock
        self._jitter = jitter
        self._ready_at = 0.0
        self._probing = False
        self._era = 0  # goes up when it opens or closes: who began before says nothing about now
        self._paused: dict[object, float] = {}
        self._lock = threading.Lock()

    @property
    def wait_s(self) -> float:
        """How long nobody may ask."""
        return max(0.0, self._ready_at - self._clock())

    def call(self, group: object, request: Callable[[], T]) -> T:
        """The outcome of `request`, if the server may be asked now on behalf of this group.

        Raises `Held` without asking if it may not, and what `request` raises.
        """
        era = self.enter(group)
        try:
            reply = request()
        except Transient as error:
            if error.code == "quota":
                self.answered(era)
                self._pause(group, error.retry_after_s)
            else:
                self.failed(era, error.retry_after_s)
            raise
        except Rejected:
            self.answered(era)
            raise
        except BaseException:
            self._unknown(era)
            raise
        self.answered(era)
        return reply

    def enter(self, group: object) -> int:
        """Begin a request, or raise `Held`. What this returns goes to `answered` or `failed`."""
        with self._lock:
            now = self._clock()
            wait_s = max(self._ready_at, self._paused.get(group, 0.0)) - now
            if wait_s > 0:
                raise Held(wait_s)
            self._paused.pop(group, None)
            if self.failures:
                if self._probing:
                    raise Held(_PROBED_S)
                self._probing = True
            return self._era

    def answered(self, era: int) -> None:
        """The request that began in this era ended well."""
        with self._lock:
            if era == self._era and self.failures:
                self.failures = 0
                self._probing = False
                self._era += 1

    def failed(self, era: int, retry_after_s: float | None) -> None:
        """The request that began in this era failed, and may pass if it is sent again."""
        with self._lock:
            at_least_s = min(retry_after_s or 0.0, _MAX_RETRY_AFTER_S)
            now = self._clock()
            if era != self._era:  # many that were under way fail together: that is one failure
                self._ready_at = max(self._ready_at, now + at_least_s)
                return
            ceiling_s = min(_MAX_WAIT_S, _MIN_WAIT_S * 2.0 ** min(self.failures, 16))
            self.failures += 1
            self._era += 1
            self._probing = False
            ready_at = now + at_least_s + self._jitter(0.0, ceiling_s)
            self._ready_at = max(self._ready_at, ready_at)

    def _unknown(self, era: int) -> None:
        """A request that ended by a fault of this program: somebody else may probe."""
        with self._lock:
            if era == self._era:
                self._probing = False

    def _pause(self, group: object, retry_after_s: float | None) -> None:
        wait_s = min(retry_after_s or _QUOTA_S, _MAX_RETRY_AFTER_S)
        with self._lock:
            # Jitter here too, so that the writers of a project do not come back together.
            self._paused[group] = self._clock() + wait_s + self._jitter(0.0, wait_s / 2)
