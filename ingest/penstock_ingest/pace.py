"""How often clients should send: the server's one lever to stay cheap with many clients."""

from __future__ import annotations

import time

__all__ = ["Pace"]

_IDLE_S = 0.3
_BUSY_RATE = 1_000.0
_LONGEST_S = 10.0


class Pace:
    """Counts batches and turns their rate into the `interval_s` of replies.

    0.3 s while idle, 1 s at 1,000 batches per second in this process, in proportion above.
    """

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._count = 0
        self.interval_s = _IDLE_S

    def count(self, batches: int) -> None:
        self._count += batches
        elapsed_s = time.monotonic() - self._since
        if elapsed_s >= 1.0:
            rate = self._count / elapsed_s
            self.interval_s = round(min(_LONGEST_S, max(_IDLE_S, rate / _BUSY_RATE)), 2)
            self._since, self._count = time.monotonic(), 0
