"""When to poll the server for a writer's position, and when a spool needs its next turn.

While a writer logs, the answers to its batches say what is stored, so polls are for its pauses. Once it
has ended, somebody is waiting for the answer, so the first polls come quickly.
"""

from __future__ import annotations

__all__ = ["Polls"]

TICK_S, HURRIED_TICK_S = 0.05, 0.015
REST_S = 0.25
"""How often to see whether a writer without new rows is alive."""
POLL_S = 1.0
TIGHT_POLL_S = 0.2
"""When disk space is short, what is stored can be released."""
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

    def sent(self, now: float, *, is_last: bool, is_tight: bool = False) -> None:
        """Record that something was sent; `is_last`: the writer has ended; `is_tight`: disk space is
        short."""
        self._pause_s = HURRIED_POLL_S if is_last else TIGHT_POLL_S if is_tight else POLL_S
        self.due_at = now + self._pause_s
        self.hurried_to = now + _HURRY_S if is_last else 0.0

    def answered(self, now: float, *, advanced: bool) -> None:
        """Record an answer; `advanced`: the store has more than before."""
        if advanced:
            self._pause_s = min(self._pause_s, POLL_S)
        else:
            self._pause_s = min(self._pause_s * _GROWTH, MAX_POLL_S)
        self.due_at = now + self._pause_s

    def rest_s(self, now: float, *, cut_at: float | None, is_waiting: bool) -> float:
        """How long there is nothing to do. `cut_at`: when the next batch is due; `is_waiting`: whether
        a batch is not known to be stored."""
        if now < self.hurried_to:
            return HURRIED_TICK_S
        due_at = now + REST_S
        if cut_at is not None:
            due_at = min(due_at, cut_at)
        if is_waiting:
            due_at = min(due_at, self.due_at)
        return max(TICK_S, due_at - now)
