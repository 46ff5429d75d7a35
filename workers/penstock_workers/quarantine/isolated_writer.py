"""A writer that is read apart from the others since a batch of it failed, and its batches that are held
back. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["HeldBatch", "IsolatedWriter"]

_MIN_BACKOFF_S, _MAX_BACKOFF_S = 1.0, 8.0
"""How long a batch that crashed a worker waits before it may crash the next one: the other batches are
stored meanwhile."""
_MAX_SEARCH_S = 30.0
"""How long it waits for the end of a search: it would end that too."""
_MIN_RETRY_S, _MAX_RETRY_S = 0.05, 2.0


@dataclass(slots=True)
class HeldBatch:
    """A batch that failed alone, held back until its next retry; `successes` counts what had been stored
    by then. While others are being searched, it waits until `due_in_search`."""

    due: float
    successes: int
    due_in_search: float = 0.0
    pause_s: float = _MIN_RETRY_S

    @classmethod
    def of_last_worker(cls, now: float, successes: int, tries: int) -> HeldBatch:
        """One that an earlier worker tried, and may have died of."""
        backoff_s = min(_MAX_BACKOFF_S, _MIN_BACKOFF_S * 2 ** (tries - 1))
        return cls(now + backoff_s, successes, now + _MAX_SEARCH_S)

    def fail(self, now: float) -> None:
        """It failed once more: hold it back for longer."""
        self.due = now + self.pause_s
        self.pause_s = min(_MAX_RETRY_S, 2 * self.pause_s)


@dataclass(slots=True)
class IsolatedWriter:
    """At most `limit` entries of it are read at once; not before `look_at`."""

    limit: int = 1
    start: str = ""
    """No entry of it lies before this one."""
    look_at: float = 0.0
    failed_at: float = float("-inf")
    held: dict[str, HeldBatch] = field(default_factory=dict)

    def due(self, now: float, *, is_searching: bool) -> Iterator[str]:
        """The held batches that may be tried again. `is_searching`: a failing batch is being searched for."""
        for entry_id, held in self.held.items():
            if held.due <= now and not (is_searching and now < held.due_in_search):
                yield entry_id
