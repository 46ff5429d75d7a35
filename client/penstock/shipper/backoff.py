"""How long to leave a server alone after it failed: exponential, with full jitter."""

from __future__ import annotations

import random
import time

__all__ = ["Backoff"]

_FIRST_S = 0.5
_MOST_S = 60.0


class Backoff:
    """Shared by all spools that go to one server."""

    def __init__(self) -> None:
        self.failures = 0
        self.ready_at = 0.0

    def failed(self, retry_after_s: float | None = None) -> None:
        ceiling = min(_MOST_S, _FIRST_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        delay_s = random.uniform(0, ceiling)  # noqa: S311 (jitter, not a secret)
        if retry_after_s is not None:
            delay_s += min(retry_after_s, 3_600.0)
        self.ready_at = time.monotonic() + delay_s

    def succeeded(self) -> None:
        self.failures = 0
        self.ready_at = 0.0

    @property
    def wait_s(self) -> float:
        return max(0.0, self.ready_at - time.monotonic())
