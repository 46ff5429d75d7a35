"""A circuit breaker shared by all spools of one server.

Closed: requests pass. After a failure it is open: all wait, with exponential backoff and full jitter,
and at least as long as the server's Retry-After. Then it is half open: one request probes while the
others keep waiting. A success closes it. A quota (429) is not the server's failure: it only pauses
that project's spools.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient

__all__ = ["CircuitBreaker", "Held"]

T = TypeVar("T")

_MIN_WAIT_S = 0.5
_MAX_WAIT_S = 60.0
_MAX_RETRY_AFTER_S = 3_600.0
_QUOTA_S = 1.0
_PROBED_S = 0.2
"""Retry interval while another request probes."""


class Held(Exception):
    """The request was not sent: retry after `wait_s`."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class CircuitBreaker:
    """Thread-safe. `clock` is monotonic; `jitter(a, b)` returns a number between the two."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.failures = 0
        """Consecutive failures; 0 while the server is healthy."""
        self._clock = clock
        self._jitter = jitter
        self._ready_at = 0.0
        self._probing = False
        self._era = 0  # increases when it opens or closes: earlier requests say nothing about the current state
        self._paused: dict[object, float] = {}
        self._lock = threading.Lock()

    @property
    def wait_s(self) -> float:
        """How long all requests must wait."""
        return max(0.0, self._ready_at - self._clock())

    def call(self, group: object, request: Callable[[], T]) -> T:
        """Run `request` if the breaker allows it now for this group.

        Raises `Held` without sending anything if it does not, and whatever `request` raises.
        """
        era = self.enter(group)
        try:
            reply = request()
        except Transient as error:
            if error.code == ErrorCode.QUOTA:
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
        """Start a request, or raise `Held`. Pass the returned era to `answered` or `failed`."""
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
        """Record the success of a request started in this era."""
        with self._lock:
            if era == self._era and self.failures:
                self.failures = 0
                self._probing = False
                self._era += 1

    def failed(self, era: int, retry_after_s: float | None) -> None:
        """Record a temporary failure of a request started in this era."""
        with self._lock:
            at_least_s = min(retry_after_s or 0.0, _MAX_RETRY_AFTER_S)
            now = self._clock()
            if era != self._era:  # concurrent requests that fail together count as one failure
                self._ready_at = max(self._ready_at, now + at_least_s)
                return
            ceiling_s = min(_MAX_WAIT_S, _MIN_WAIT_S * 2.0 ** min(self.failures, 16))
            self.failures += 1
            self._era += 1
            self._probing = False
            ready_at = now + at_least_s + self._jitter(0.0, ceiling_s)
            self._ready_at = max(self._ready_at, ready_at)

    def _unknown(self, era: int) -> None:
        """Record that a request ended with a bug in this program: another one may probe."""
        with self._lock:
            if era == self._era:
                self._probing = False

    def _pause(self, group: object, retry_after_s: float | None) -> None:
        wait_s = min(retry_after_s or _QUOTA_S, _MAX_RETRY_AFTER_S)
        with self._lock:
            # Jitter here too, so that a project's writers do not all retry at once.
            self._paused[group] = self._clock() + wait_s + self._jitter(0.0, wait_s / 2)
