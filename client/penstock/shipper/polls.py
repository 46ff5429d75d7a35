"""When to poll the server for a writer's position: soon after sending, then less and less often.

Once the writer has ended, somebody is waiting for the answer, so the first polls come quickly.
"""

from __future__ import annotations

__all__ = ["Polls"]

POLL_S = 0.2
HURRIED_POLL_S = 0.03
MAX_POLL_S = 2.0
_GROWTH = 1.3
_HURRY_S = 1.0


class Polls:
    """The times of one spool's polls, on the monotonic clock."""

    def __init__(self) -> None:
        self.due_at = 0.0
        self.hurried_to = 0.0
        """Until when somebody is assumed to wait."""
        self._pause_s = POLL_S

    def sent(self, now: float, *, is_last: bool) -> None:
        """Record that something was sent; `is_last`: the writer has ended."""
        self._pause_s = HURRIED_POLL_S if is_last else POLL_S
        self.due_at = now + HURRIED_POLL_S
        self.hurried_to = now + _HURRY_S if is_last else 0.0

    def answered(self, now: float, *, advanced: bool) -> None:
        """Record an answer; `advanced`: the store has more than before."""
        if advanced:
            self._pause_s = min(self._pause_s, POLL_S)
        else:
            self._pause_s = min(self._pause_s * _GROWTH, MAX_POLL_S)
        self.due_at = now + self._pause_s
