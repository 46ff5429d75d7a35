"""Histograms of 64 bins for any numpy array, built in pieces to save memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["HISTOGRAM_BINS", "HistogramBuilder", "bins_of", "edges_between", "histogram"]

HISTOGRAM_BINS = 64
_MAX_VALUES = 1 << 23
"""Larger arrays are sampled at evenly spaced elements, about this many."""
_PIECE = 1 << 18
_MAX_OBJECTS = 100_000


class HistogramBuilder:
    """Builds histograms. Calls `note` with a description of any elements left out."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def of(self, array: Any, zeros: int = 0) -> dict[str, Any]:
        """`{_type, values, bins}`: 64 counts and 65 edges. `zeros` more elements are 0."""
        import numpy as np  # noqa: PLC0415  (heavy, and only where there are arrays)

        with np.errstate(all="ignore"):
            return self._made(np, array, zeros)

    def _made(self, np: Any, array: Any, zeros: int) -> dict[str, Any]:
        numbers = self._numbers(np, self.thinned(array, array.size))
        low, high, finite, size = math.inf, -math.inf, 0, 0
        for piece in _pieces(np, numbers):
            kept = piece[np.isfinite(piece)]
            size += piece.size
            finite += kept.size
            if kept.size:
                low, high = min(low, float(kept.min())), max(high, float(kept.max()))
        if finite < size:
            self._note(
                f"without {size - finite:,} of its {size + zeros:,} elements: NaN or infinite"
            )
        if zeros:
            low, high = min(low, 0.0), max(high, 0.0)
        if low > high:
            edges = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
            return histogram(np.zeros(HISTOGRAM_BINS, np.int64), edges)
        edges = edges_between(np, low, high)
        counts = np.zeros(HISTOGRAM_BINS, np.int64)
        for piece in _pieces(np, numbers):
            kept = piece[np.isfinite(piece)]
            counts += np.bincount(bins_of(np, kept, edges), minlength=HISTOGRAM_BINS)
        if zeros:
            counts[bins_of(np, np.zeros(1), edges)[0]] += zeros
        return histogram(counts, edges)

    def thinned(self, array: Any, size: int) -> Any:
        """The array, or a view of evenly spaced elements if it is very large."""
        before = size
        while size > _MAX_VALUES:
            shape = [*array.shape]
            axis = shape.index(max(shape))
            step = min(-(-size // _MAX_VALUES), shape[axis])
            array = array[(slice(None),) * axis + (slice(None, None, step),)]
            size = math.prod(array.shape)
        if size < before:
            self._note(f"a histogram of {size:,} of its {before:,} elements, evenly spaced")
        return array

    def _numbers(self, np: Any, array: Any) -> Any:
        """The array as one of real numbers."""
        if isinstance(array, np.ma.MaskedArray):
            left_out = int(np.ma.count_masked(array))
            if left_out:
                self._note(f"without {left_out:,} masked elements")
            array = array.compressed()
        array = np.asarray(array)
        kind = array.dtype.kind
        if kind in "biuf":
            return array
        if kind == "c":
            self._note("a histogram of absolute values, since its values are complex")
            return np.abs(array)
        if kind in "Mm":
            whole = array.astype("M8[us]" if kind == "M" else "m8[us]")
            return np.where(np.isnat(whole), np.nan, whole.astype(np.int64) / 1e6)
        if kind == "O":
            return self._of_objects(np, array)
        if kind in "US":
            raise ValueError("an array of strings has no histogram")
        return array.astype(np.float64)  # bfloat16, float8 and other numeric types

    def _of_objects(self, np: Any, array: Any) -> Any:
        """The plain numbers among objects; anything else would run users' code."""
        some = array.ravel()[:_MAX_OBJECTS].tolist()
        plain = [
            float(each)
            for each in some
            if type(each) in (float, bool)
            or (type(each) is int and each.bit_length() < 1_023)
            or (issubclass(type(each), np.number) and type(each).__module__ == "numpy")
        ]
        if len(plain) < array.size:
            self._note(f"without {array.size - len(plain):,} of its elements: not numbers")
        return np.array(plain, np.float64)


def _pieces(np: Any, array: Any) -> Iterator[Any]:
    """All elements as float64, in chunks."""
    flags = ["external_loop", "buffered", "zerosize_ok"]
    pieces = np.nditer(array, flags=flags, op_flags=[["readonly"]], order="K", buffersize=_PIECE)
    for piece in pieces:
        for start in range(0, piece.size, _PIECE):
            yield piece[start : start + _PIECE].astype(np.float64)


def edges_between(np: Any, low: float, high: float) -> Any:
    """65 rising edges from `low` to `high`, slightly wider if these are too close."""
    least = 4 * HISTOGRAM_BINS * float(np.spacing(max(abs(low), abs(high), 1e-300)))
    if low == high:
        low, high = low - max(0.5, least), high + max(0.5, least)
    elif high - low < least:
        low, high = low - least, high + least
    low, high = max(low, -sys.float_info.max), min(high, sys.float_info.max)
    steps = np.arange(HISTOGRAM_BINS + 1) / HISTOGRAM_BINS
    return low * (1 - steps) + high * steps


def bins_of(np: Any, numbers: Any, edges: Any) -> Any:
    """The bin of each number; a bin includes its lower edge, the last one both."""
    places = np.searchsorted(edges, numbers, side="right") - 1
    return np.clip(places, 0, HISTOGRAM_BINS - 1)


def histogram(counts: Any, edges: Any) -> dict[str, Any]:
    """The value that is logged, from numpy arrays of 64 counts and 65 edges."""
    return {"_type": "histogram", "values": counts.tolist(), "bins": edges.tolist()}
