"""Statistics of a tensor, computed where it lies: 68 numbers instead of all its elements.

On an accelerator nothing here waits for the device: no sizes depend on values, and no value is read.
On a CPU the work is done in pieces that fit into the cache, which is several times cheaper than
`torch.histc`. Nothing here imports a framework: `torch` is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from penstock.values.histograms import HISTOGRAM_BINS, bins_of, edges_between, histogram

__all__ = ["WIDTH", "Statistics", "measure", "new_rows"]

WIDTH = 4 + HISTOGRAM_BINS
"""Numbers per tensor: lowest and highest finite value, how many are NaN or infinite, norm, counts."""
_PIECE = 1 << 22
"""Elements of which temporary copies exist at a time."""
_BLOCK = 1 << 16
_FAST_LIMIT = 1e30
_LEAST = 1e-15
"""Squares of float32 stay in its range from here to its inverse."""


def new_rows(torch: Any, count: int, device: Any) -> Any:
    """Zeros of shape (count, WIDTH) on the device."""
    wide = torch.float32 if device.type == "mps" else torch.float64
    return torch.zeros((count, WIDTH), dtype=wide, device=device)


def measure(torch: Any, tensor: Any, row: Any, *, zeros: int = 0) -> None:
    """Write a strided tensor's statistics into `row` (see `new_rows`) on the same device. `zeros` more
    elements are 0. Complex numbers count by their absolute value."""
    flat = _flat(tensor.detach())
    if not flat.numel():
        row[0], row[1] = (0.0, 0.0) if zeros else (math.inf, -math.inf)
    elif tensor.device.type == "cpu":
        _on_cpu(torch, flat, row, zeros)
    else:
        _on_device(torch, flat, row, zeros)


class Statistics:
    """What a row says, once it is in this process's memory. `elements` includes `zeros`; every value is
    multiplied by `factor`."""

    def __init__(
        self, row: list[float], elements: int, zeros: int = 0, factor: float = 1.0
    ) -> None:
        self.elements = elements
        self.others = int(row[2])
        """Elements that are NaN or infinite."""
        self.norm = row[3] * factor
        self._zeros = zeros
        self._bounds = row[0] * factor, row[1] * factor
        self._counts = row[4:]

    def histogram(self) -> dict[str, Any] | None:
        """Of the finite elements, like `HistogramBuilder`'s; None if there are none."""
        import numpy as np  # noqa: PLC0415  (heavy, and only where there are tensors)

        finite = self.elements - self.others
        low, high = self._bounds
        if finite <= 0 or not (math.isfinite(low) and math.isfinite(high)):
            return None
        with np.errstate(all="ignore"):
            edges = edges_between(np, low, high)
            if low == high:
                counts = np.zeros(HISTOGRAM_BINS, np.int64)
                counts[bins_of(np, np.array([low]), edges)[0]] = finite
                return histogram(counts, edges)
            counts = np.array(self._counts, np.int64)
            if self._zeros:
                counts[bins_of(np, np.zeros(1), edges)[0]] += self._zeros
            return histogram(counts, edges)


def _flat(tensor: Any) -> Any:
    """All elements in one dimension, in any order, without a copy if they lie together."""
    if not tensor.is_contiguous():
        order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
        tensor = tensor.permute(order)
    return tensor.reshape(-1)


def _pieces(torch: Any, flat: Any, wide: Any) -> Iterator[Any]:
    """All elements as real numbers of type float32 or `wide`."""
    for piece in flat.split(_PIECE):
        if piece.is_complex():
            yield piece.abs().to(wide if piece.dtype is torch.complex128 else torch.float32)
        elif piece.dtype in (torch.float32, torch.float64):
            yield piece.resolve_neg()
        elif piece.is_floating_point():
            yield piece.float()
        else:
            yield piece.to(wide)


def _on_device(torch: Any, flat: Any, row: Any, zeros: int) -> None:
    wide = row.dtype
    found = []
    for piece in _pieces(torch, flat, wide):
        odd = torch.isfinite(piece).logical_not_()
        found.append(
            torch.stack(
                [
                    piece.masked_fill(odd, math.inf).amin().to(wide),
                    piece.masked_fill(odd, -math.inf).amax().to(wide),
                    odd.sum().to(wide),
                    torch.linalg.vector_norm(piece, dtype=wide),
                ]
            )
        )
    table = torch.stack(found)
    low, high = table[:, 0].amin(), table[:, 1].amax()
    if zeros:
        low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    norm = torch.linalg.vector_norm(table[:, 3])
    row[:4].copy_(torch.stack([low, high, table[:, 2].sum(), norm]))
    for piece in _pieces(torch, flat, wide):
        # Halves, so that the difference of the largest numbers does not overflow.
        start = (low * 0.5).to(piece.dtype)
        width = (high * 0.5).to(piece.dtype) - start
        places = piece.mul(0.5).sub_(start).div_(width)  # NaN and infinities stay outside 0 to 1
        row[4:].add_(_counted(torch, places))


def _counted(torch: Any, places: Any) -> Any:
    """How many numbers lie in each of 64 bins between 0 and 1."""
    if not torch.are_deterministic_algorithms_enabled():
        return torch.histc(places, HISTOGRAM_BINS, min=0.0, max=1.0)
    # histc refuses to work then.
    ordered = places.nan_to_num_(nan=2.0, posinf=2.0, neginf=-1.0).sort().values
    edges = torch.linspace(0.0, 1.0, HISTOGRAM_BINS + 1, dtype=places.dtype, device=places.device)
    below = torch.searchsorted(ordered, edges)
    below[-1:] = torch.searchsorted(ordered, edges[-1:], right=True)
    return below.diff()


def _on_cpu(torch: Any, flat: Any, row: Any, zeros: int) -> None:
    """By numpy: threads of torch that wait for each other cost more than they save here."""
    import numpy as np  # noqa: PLC0415  (heavy, and only where there are tensors)

    low, high, others, squares = math.inf, -math.inf, 0, 0.0
    with np.errstate(all="ignore"):
        for block in _blocks(torch, flat, row.dtype):
            kept = block
            least, most = float(block.min()), float(block.max())
            if not (math.isfinite(least) and math.isfinite(most)):
                kept = block[np.isfinite(block)]
                others += block.size - kept.size
                least, most = (float(kept.min()), float(kept.max())) if kept.size else (low, high)
            low, high = min(low, least), max(high, most)
            largest = max(-least, most)
            is_exact = kept is block and (_LEAST < largest < 1 / _LEAST or not largest)
            squares += float(np.square(block if is_exact else block.astype(np.float64)).sum())
        if zeros:
            low, high = min(low, 0.0), max(high, 0.0)
        into = row.numpy()
        into[:4] = low, high, others, math.sqrt(squares)
        if low < high:
            for piece in _pieces(torch, flat, row.dtype):
                array = piece.numpy()
                kept = array[np.isfinite(array)] if others else array
                into[4:] += _counted_by_numpy(np, kept, low, high)


def _blocks(torch: Any, flat: Any, wide: Any) -> Iterator[Any]:
    """All elements as numpy arrays that fit into the cache."""
    for piece in _pieces(torch, flat, wide):
        array = piece.numpy()
        for begin in range(0, array.size, _BLOCK):
            yield array[begin : begin + _BLOCK]


def _counted_by_numpy(np: Any, array: Any, low: float, high: float) -> Any:
    """How many numbers, all between `low` and `high`, lie in each bin. Counts pairs of bins, which
    takes half as many steps."""
    edges = edges_between(np, low, high)
    low, span = float(edges[0]), float(edges[-1] - edges[0])
    if not (1 / _FAST_LIMIT < span < _FAST_LIMIT and abs(low) < _FAST_LIMIT):
        places = bins_of(np, array.astype(np.float64), edges)
        return np.bincount(places, minlength=HISTOGRAM_BINS)
    start, scale = array.dtype.type(low), array.dtype.type(HISTOGRAM_BINS / span)
    side = HISTOGRAM_BINS + 1  # the highest value lies on the last edge
    if array.size < side * 256:  # pairs have as many counts
        counts = np.bincount(((array - start) * scale).astype(np.uint8), minlength=side)
        counts[-2] += counts[-1]
        return counts[:-1]
    offsets, bins = np.empty(_BLOCK, array.dtype), np.empty(_BLOCK, np.uint8)
    pairs = np.zeros(side * 256, np.int64)
    for begin in range(0, array.size, _BLOCK):
        block = array[begin : begin + _BLOCK]
        size, even = block.size, block.size + block.size % 2
        offset = np.multiply(
            np.subtract(block, start, out=offsets[:size]), scale, out=offsets[:size]
        )
        bins[even - 1] = 0
        bins[:size] = offset
        pairs += np.bincount(bins[:even].view(np.uint16), minlength=pairs.size)
    table = pairs.reshape(side, 256)[:, :side]
    counts = table.sum(0) + table.sum(1)
    counts[0] -= array.size % 2  # the zero that completes the last pair
    counts[-2] += counts[-1]
    return counts[:-1]
