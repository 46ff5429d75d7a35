"""The numbers of this process's commits, and the versions that they give to rows.

Of two rows with the same key, the store keeps the one with the higher version: the epoch under which
the shard was held, then the number of the commit. A later owner of a shard has a higher epoch, so what
it writes wins over anything that an earlier one wrote.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["CommitNumbers", "version", "versions"]


class CommitNumbers:
    """Counts whatever this process writes under a version: commits, passes over tiers, dead letters.

    `last` is the number taken last, 0 before the first. While it stays the same, nothing was written.
    """

    def __init__(self) -> None:
        self._last = 0

    @property
    def last(self) -> int:
        return self._last

    def next(self) -> int:
        """A number above all before it."""
        self._last += 1
        return self._last


def version(epoch: int, number: int) -> int:
    """The version of rows written under this epoch and number: a later epoch wins over any number."""
    return epoch << 32 | number & 0xFFFFFFFF


def versions(
    epochs: Mapping[int, int], number: int, shards: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint64]:
    """The version of each row, by the shard it belongs to; 0 for shards without an epoch."""
    by_shard = np.zeros(256, np.uint64)
    for shard, epoch in epochs.items():
        by_shard[shard] = version(epoch, number)
    return by_shard[shards]
