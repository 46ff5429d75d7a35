"""The index of all series that this worker has seen, as columns: what fold and compactor know without
asking the store.

A series is (key, run, lane). Each gets a small index here; a frame with the same keys of the same
writer finds the indices of all its series in one lookup.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["NEVER", "KnownSeries", "SeriesIndex", "SeriesView"]

Ints = npt.NDArray[np.int64]

NEVER = -(2**63)
"""`tiered` of a series that has no tiers; below every step."""

_GROWTH = 4_096
_MAX_FRAME_CELLS = 4_000_000
_MIN_IDLE_S = 5.0
_MAX_IDLE_S = 600.0
_PATIENCE = 4
"""A series is idle after this many times the pause before its last commit: one that logs every minute
is not idle after ten seconds."""


class KnownSeries(NamedTuple):
    """What the store knows of a series."""

    key: int
    run: int
    lane: int
    shard: int
    first_step: int
    last_step: int
    tiered: int


class SeriesView(NamedTuple):
    """The columns of all series that a table had at one moment, all of one length."""

    shard: npt.NDArray[np.uint8]
    first_step: Ints
    last_step: Ints
    tiered: Ints
    counted: Ints
    is_idle: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.shard)


class SeriesIndex:
    """Columns over all series seen so far: `key`, `run`, `lane`, `shard`, `first_step`, `last_step`,
    `tiered` (steps below it are in tiers, or about to be), `open` (a bucket below `tiered` that is
    dirty and stays so while points arrive in it) and `counted` (the span of steps at which its
    points were last counted, negative if the series was idle then).

    Frames are folded in a thread while the event loop commits and compacts, so the table may grow
    between any two statements. Every write takes the lock: a column that is being copied to grow
    would lose it. To read several columns, or all rows of one, take a `view`; reading single
    rows by an index obtained before is safe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._size = 0
        self._index: dict[tuple[int, int, int], int] = {}
        self._frames: dict[tuple[int, int, tuple[str, ...]], Ints] = {}
        self._frame_cells = 0
        self._rank: Ints | None = None
        self.key = np.zeros(0, np.uint32)
        self.run = np.zeros(0, np.uint32)
        self.lane = np.zeros(0, np.uint16)
        self.shard = np.zeros(0, np.uint8)
        self.first_step = np.zeros(0, np.int64)
        self.last_step = np.zeros(0, np.int64)
        self.tiered = np.zeros(0, np.int64)
        self.open = np.zeros(0, np.int64)
        self.counted = np.zeros(0, np.int64)
        self._noted_s = np.zeros(0, np.float64)
        self._idle_s = np.zeros(0, np.float64)

    def __len__(self) -> int:
        return self._size

    def of_frame(self, run: int, lane: int, keys: tuple[str, ...]) -> Ints | None:
        """The indices of a frame's series, in the order of its keys, if it was seen before."""
        return self._frames.get((run, lane, keys))

    def add_frame(
        self, run: int, lane: int, keys: tuple[str, ...], numbers: Sequence[int], *, shard: int
    ) -> Ints:
        """The indices of a frame's series; `numbers` are the keys' numbers."""
        indices = np.fromiter(
            (self._index_of(number, run, lane, shard) for number in numbers), np.int64, len(numbers)
        )
        # Rows with ever-changing sets of keys make ever-new frames of the same series.
        self._frame_cells += len(keys)
        if self._frame_cells > _MAX_FRAME_CELLS:
            self._frames.clear()
            self._frame_cells = len(keys)
        self._frames[(run, lane, keys)] = indices
        return indices

    def learn(self, known: KnownSeries) -> int:
        """Add what the store knows of a series; returns its index."""
        index = self._index_of(known.key, known.run, known.lane, known.shard)
        with self._lock:
            self.first_step[index] = min(self.first_step[index], known.first_step)
            self.last_step[index] = max(self.last_step[index], known.last_step)
            self.tiered[index] = max(self.tiered[index], known.tiered)
            self._noted_s[index] = self._clock()
        return index

    def index_of(self, key: int, run: int, lane: int) -> int:
        """The index of a series that was seen before."""
        return self._index[key, run, lane]

    def view(self) -> SeriesView:
        """All series as of now. A series is idle if it got no points for longer than usual."""
        with self._lock:
            size = self._size
            return SeriesView(
                self.shard[:size],
                self.first_step[:size],
                self.last_step[:size],
                self.tiered[:size],
                self.counted[:size],
                self._clock() - self._noted_s[:size] > self._idle_s[:size],
            )

    def is_idle(self, indices: Ints) -> npt.NDArray[np.bool_]:
        """Whether each of these series got no points for longer than usual."""
        with self._lock:
            idle: npt.NDArray[np.bool_]
            idle = self._clock() - self._noted_s[indices] > self._idle_s[indices]
            return idle

    def raise_tiered(self, indices: Ints, below: Ints) -> None:
        """From now on, points below these steps are late."""
        with self._lock:
            self.tiered[indices] = np.maximum(self.tiered[indices], below)

    def set_open(self, indices: Ints, buckets: Ints) -> None:
        """The bucket of each series that stays dirty while points arrive in it, or `NEVER`."""
        with self._lock:
            self.open[indices] = buckets

    def set_counted(self, indices: Ints, spans: Ints) -> None:
        """The span of each series when its points were last counted."""
        with self._lock:
            self.counted[indices] = spans

    def rank(self) -> Ints:
        """Each index' place in (key, run, lane) order, the order of the `points` table."""
        with self._lock:
            size, rank = self._size, self._rank
            key, run, lane = self.key[:size], self.run[:size], self.lane[:size]
        if rank is None or len(rank) != size:
            rank = np.empty(size, np.int64)
            rank[np.lexsort((lane, run, key))] = np.arange(size)
            self._rank = rank
        return rank

    def note_steps(
        self,
        indices: Ints,
        first: Ints,
        last: Ints,
    ) -> None:
        """Widen the step ranges of distinct series by what was committed."""
        with self._lock:
            self.first_step[indices] = np.minimum(self.first_step[indices], first)
            self.last_step[indices] = np.maximum(self.last_step[indices], last)
            now = self._clock()
            pause = np.where(self._noted_s[indices] > 0, now - self._noted_s[indices], 0.0)
            self._idle_s[indices] = np.clip(_PATIENCE * pause, _MIN_IDLE_S, _MAX_IDLE_S)
            self._noted_s[indices] = now

    def _index_of(self, key: int, run: int, lane: int, shard: int) -> int:
        name = (key, run, lane)
        index = self._index.get(name)
        if index is None:
            with self._lock:
                index = self._index.get(name)
                if index is None:
                    index = self._index[name] = self._append(key, run, lane, shard)
        return index

    def _append(self, key: int, run: int, lane: int, shard: int) -> int:
        if self._size == len(self.key):
            self._grow()
        index = self._size
        self._size += 1
        self.key[index], self.run[index], self.lane[index] = key, run, lane
        self.shard[index] = shard
        return index

    def _grow(self) -> None:
        extra = max(_GROWTH, self._size)
        self.key = _extended(self.key, extra, 0)
        self.run = _extended(self.run, extra, 0)
        self.lane = _extended(self.lane, extra, 0)
        self.shard = _extended(self.shard, extra, 0)
        self.first_step = _extended(self.first_step, extra, 2**63 - 1)
        self.last_step = _extended(self.last_step, extra, NEVER)
        self.tiered = _extended(self.tiered, extra, NEVER)
        self.open = _extended(self.open, extra, NEVER)
        self.counted = _extended(self.counted, extra, 0)
        self._noted_s = _extended(self._noted_s, extra, 0)
        self._idle_s = _extended(self._idle_s, extra, _MIN_IDLE_S)


def _extended(column: npt.NDArray[Any], extra: int, fill: float) -> npt.NDArray[Any]:
    return np.concatenate([column, np.full(extra, fill, column.dtype)])
