"""Windows of steps in which two runs may differ, according to a hash of each side's points. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_storage.contracts.interface import Columns

__all__ = ["Pair", "Windows", "suspicious_windows"]

I64 = npt.NDArray[np.int64]
Pair = tuple[int, int]
"""(key, place among the pairs of ranks)"""


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one (key, pair) still to be examined, and the range that both runs cover."""

    place: Pair
    numbers: I64
    first: int
    last: int

    def after(self, taken: int) -> Windows:
        return Windows(self.place, self.numbers[taken:], self.first, self.last)


def suspicious_windows(sums: Columns, shift: int) -> list[Windows]:
    """The windows of each (key, pair) that may contain a difference."""
    if not sums:
        return []
    key, pair, side, window = (
        np.asarray(sums[name], np.int64) for name in ("key", "pair", "side", "w")
    )
    place = key << 16 | pair
    order = np.lexsort((side, window, place))
    heads = np.flatnonzero(np.diff(place[order], prepend=-1))
    found = []
    for start, end in zip(heads.tolist(), [*heads[1:].tolist(), len(order)], strict=True):
        rows = order[start:end]
        windows = _windows_of(
            (int(key[rows[0]]), int(pair[rows[0]])),
            {
                name: np.asarray(sums[name])[rows]
                for name in ("side", "w", "points", "steps", "first", "last", "hash")
            },
            shift,
        )
        if windows is not None:
            found.append(windows)
    return found


def _windows_of(place: Pair, sums: dict[str, npt.NDArray[Any]], shift: int) -> Windows | None:
    side = sums["side"].astype(bool)
    if side.all() or not side.any():
        return None
    first = max(int(sums["first"][~side].min()), int(sums["first"][side].min()))
    last = min(int(sums["last"][~side].max()), int(sums["last"][side].max()))
    window = sums["w"].astype(np.int64)
    # Rows are ordered by (window, side): a window with the same content on both sides is two equal rows.
    same = np.zeros(len(window), bool)
    twin = window[1:] == window[:-1]
    for name in ("points", "hash"):
        twin &= sums[name][1:] == sums[name][:-1]
    same[1:] |= twin
    same[:-1] |= twin
    odd = ~same | (sums["points"] != sums["steps"])
    inside = (window >= first >> shift) & (window <= last >> shift)
    numbers = np.unique(window[odd & inside])
    return Windows(place, numbers, first, last) if len(numbers) and first <= last else None
