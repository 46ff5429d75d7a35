"""How often a worker commits. Every commit costs the store some work, however small it is. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["MAX_REST_S", "CommitPace"]

MAX_REST_S = 5.0
"""The most that batches wait for a commit, whatever is set: clients and readers rely on it."""
_REST, _MAX_GATHER = 2.0, 3.0
"""Without a backlog, the time between commits is this multiple of a commit's length, up to this
multiple of the minimal interval."""
_BUSY_BYTES_PER_S = 2 * 2**20
"""Decoded bytes that come in per second, above which commits follow each other even if nobody looks: waiting
would only leave the store idle while the next batches are decoded."""
_TRICKLE, _TRICKLE_BYTES_PER_S = 1.5, 128 * 2**10
"""If fewer decoded bytes come in per second, commits are at least this multiple of the minimal interval apart
while somebody looks: what one costs is the same however little it stores."""


class CommitPace:
    """The times between commits. `min_s`: the least while somebody reads or waits; `rest_s`: how long batches
    gather otherwise."""

    def __init__(
        self, *, min_s: float, rest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._min_s = min_s
        self._rest_s = min(rest_s, MAX_REST_S)
        self._clock = clock
        self._read_at = self._started_at = clock() - MAX_REST_S
        self._took_s = 0.0
        self._gathered_s = 0.0
        self.is_busy = False
        """Whether the last read found so much that there is no time to rest."""
        self._is_trickle = False

    def read(self) -> None:
        """The streams are read now."""
        now = self._clock()
        self._gathered_s, self._read_at = now - self._read_at, now

    def found(self, decoded_bytes: int) -> None:
        """This is what the read found."""
        self.is_busy = decoded_bytes > _BUSY_BYTES_PER_S * self._gathered_s
        self._is_trickle = decoded_bytes < _TRICKLE_BYTES_PER_S * self._gathered_s

    def read_again(self) -> None:
        """There is something to read at once."""
        self._read_at = self._clock() - MAX_REST_S

    def started(self) -> None:
        """A commit starts now."""
        self._started_at = self._clock()

    def ended(self, took_s: float) -> None:
        """The commit took this long."""
        self._took_s = took_s

    @property
    def gather_s(self) -> float:
        """How long a trickle of batches is gathered from now on although somebody wants it: longer where
        commits are costly, such as those of thousands of runs. 0 or less: not at all."""
        return self._started_at + self._interval_s - self._clock()

    @property
    def trickle_s(self) -> float:
        """How much longer than `gather_s` from now on if it is a trickle and nobody waits for it, but only
        looks; 0 or less: no longer."""
        return (
            self._started_at + _TRICKLE * self._min_s - self._clock() if self._is_trickle else 0.0
        )

    @property
    def _interval_s(self) -> float:
        return min(_MAX_GATHER * self._min_s, max(self._min_s, _REST * self._took_s))

    @property
    def rest_s(self) -> float:
        """How long batches may gather from now on if nobody wants them; 0 or less: not at all."""
        return self._read_at + self._rest_s - self._clock()
