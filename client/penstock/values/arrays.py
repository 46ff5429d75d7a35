"""Arrays and tensors: scalars are read at once, histograms and lists later.

Nothing here imports a framework: a script that logs an array has already loaded its own. Mutable
data is copied at once, up to a limit; everything else happens on a side thread. Tensors on a device
are in `penstock.values.tensors`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.values.histograms import HistogramBuilder
from penstock.values.tensors import MAX_LIST_ENTRIES, is_shard, numpy_of, of_tensor, stored
from penstock.values.walk import LEFT_OUT, Walk

__all__ = ["dense", "taken"]

_STORED = {"RaggedTensor": "flat_values", "IndexedSlices": "values", "SparseTensor": "values"}
"""TensorFlow's tensors of other layouts, and where their stored elements are."""
_MAX_COPY_BYTES = 32 << 20
"""Larger arrays are not copied on the logging thread but read later, with their content of then."""


def taken(walk: Walk, where: str, value: Any, depth: int) -> Any:
    """Convert an array, tensor or scalar of a known type to a plain value or a `Later`; `LEFT_OUT`
    for anything else, such as a user's subclass."""
    kind = type(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.generic):
        return _numpy_scalar(walk, where, value, depth)
    if numpy is not None and kind is numpy.ndarray:
        if value.size == 1 and value.dtype.kind in "biufMm":
            return _numpy_scalar(walk, where, value.reshape(())[()], depth)
        size = value.nbytes
        kept = value.copy() if size <= _MAX_COPY_BYTES and walk.copies.take(size) else value
        return _later(walk, where, kind, kept, depth)
    torch: Any = sys.modules.get("torch")
    if torch is not None and (
        kind is torch.Tensor or kind is torch.nn.Parameter or is_shard(value)
    ):
        return of_tensor(walk, where, torch, value, depth, dense)
    tensorflow: Any = sys.modules.get("tensorflow")
    if tensorflow is not None and issubclass(kind, getattr(tensorflow, "Variable", ())):
        value = value.read_value()
    if kind.__module__.startswith("tensorflow") and kind.__name__ in _STORED:
        part = getattr(value, _STORED[kind.__name__])
        zeros = 0
        if kind.__name__ == "SparseTensor":
            zeros = (value.shape.num_elements() or 0) - (part.shape.num_elements() or 0)
        return _later(walk, where, kind, part, depth, max(zeros, 0))
    if kind.__module__.startswith(("jax", "tensorflow")) and hasattr(value, "__array__"):
        if hasattr(value, "copy_to_host_async"):
            value.copy_to_host_async()
        return _later(walk, where, kind, value, depth)
    return LEFT_OUT


def dense(value: Any, as_list: bool, note: Callable[[str], None], zeros: int = 0) -> Any:
    """An array of any library as a scalar, a list or a histogram; raises for other objects. `zeros` more
    elements are 0."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and issubclass(type(value), torch.Tensor):
        if value.device.type == "meta":
            raise ValueError("it has no data (meta tensor)")
        value, zeros = stored(torch, value)
        if value.numel() > MAX_LIST_ENTRIES:
            as_list = False
        value = numpy_of(value, note)
    import numpy as np  # noqa: PLC0415  (heavy, and only where there are arrays)

    if type(value).__module__.startswith("tensorflow"):
        if not hasattr(value, "numpy"):
            raise ValueError("it has no value (symbolic tensor): log it outside tf.function")
        value = value.numpy()  # np.asarray refuses scalars of bfloat16
    numpy_array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if numpy_array.dtype.names is not None:
        return {
            str(name): dense(numpy_array[name], as_list, note) for name in numpy_array.dtype.names
        }
    if numpy_array.size == 1 and not zeros:
        only = numpy_array.reshape(-1)[0]
        return only.item() if isinstance(only, np.generic) else only
    if as_list and numpy_array.size <= MAX_LIST_ENTRIES and not zeros:
        return numpy_array.tolist()
    return HistogramBuilder(note).of(numpy_array, zeros)


def _later(walk: Walk, where: str, kind: type, value: Any, depth: int, zeros: int = 0) -> Any:
    read = partial(dense, value, walk.as_list, partial(walk.note, where), zeros)
    return walk.later(where, kind, read, depth, trusted=True)


def _numpy_scalar(walk: Walk, where: str, value: Any, depth: int) -> Any:
    found = value.item()
    if type(found).__module__ == "numpy":  # wider than Python's own: longdouble, bfloat16 …
        found = float(value)
    if type(found) not in (bool, int, float, str, bytes, type(None)):
        return walk.later(where, type(value), partial(_text, found), depth, trusted=True)
    return walk.take(where, found, depth)


def _text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
