"""Arrays and tensors: scalars are read at once, histograms and lists later.

Nothing here imports a framework: a script that logs an array has already loaded its own. Mutable
data is copied at once, up to a limit; everything else happens on a side thread. A CUDA scalar is
copied to pinned memory on its own stream and read after an event, so that logging a loss does not
wait for the GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.values.histograms import HistogramBuilder
from penstock.values.walk import LEFT_OUT, Walk

__all__ = ["dense", "taken"]

_MAX_COPY_BYTES = 32 << 20
"""Larger arrays are not copied on the logging thread but read later, with their content of then."""
_MAX_LIST_ENTRIES = 100_000


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
    if torch is not None and (kind is torch.Tensor or kind is torch.nn.Parameter):
        return _tensor(walk, where, torch, value, depth)
    tensorflow: Any = sys.modules.get("tensorflow")
    if tensorflow is not None and issubclass(kind, getattr(tensorflow, "Variable", ())):
        value = value.read_value()
    if kind.__module__.startswith(("jax", "tensorflow")) and hasattr(value, "__array__"):
        return _later(walk, where, kind, value, depth)
    return LEFT_OUT


def dense(value: Any, as_list: bool, note: Callable[[str], None]) -> Any:
    """An array of any library as a scalar, a list or a histogram; raises for other objects."""
    torch: Any = sys.modules.get("torch")
    zeros = 0
    if torch is not None and issubclass(type(value), torch.Tensor):
        if value.device.type == "meta":
            raise ValueError("it has no data (meta tensor)")
        value, zeros = _strided(torch, value)
        if value.numel() > _MAX_LIST_ENTRIES:
            as_list = False
        value = _numpy_of(torch, value, note)
    import numpy as np  # noqa: PLC0415  (heavy, and only where there are arrays)

    numpy_array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if numpy_array.dtype.names is not None:
        return {
            str(name): dense(numpy_array[name], as_list, note) for name in numpy_array.dtype.names
        }
    if numpy_array.size == 1 and not zeros:
        return numpy_array.reshape(-1)[0].item()
    if as_list and numpy_array.size <= _MAX_LIST_ENTRIES and not zeros:
        return numpy_array.tolist()
    return HistogramBuilder(note).of(numpy_array, zeros)


def _later(walk: Walk, where: str, kind: type, value: Any, depth: int, wait: Any = None) -> Any:
    read = partial(_read, value, walk.as_list, partial(walk.note, where), wait)
    return walk.later(where, kind, read, depth, trusted=True)


def _read(value: Any, as_list: bool, note: Callable[[str], None], wait: Any) -> Any:
    if wait is not None:
        wait.synchronize()
    return dense(value, as_list, note)


def _numpy_scalar(walk: Walk, where: str, value: Any, depth: int) -> Any:
    found = value.item()
    if type(found).__module__ == "numpy":  # wider than Python's own: longdouble, bfloat16 …
        found = float(value)
    if type(found) not in (bool, int, float, str, bytes, type(None)):
        return walk.later(where, type(value), partial(_text, found), depth, trusted=True)
    return walk.take(where, found, depth)


def _text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _tensor(walk: Walk, where: str, torch: Any, value: Any, depth: int) -> Any:
    tensor = value.detach()
    kind = type(value)
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        return _later(walk, where, kind, tensor, depth)
    if tensor.device.type == "meta":
        return LEFT_OUT
    if tensor.numel() == 1:
        if tensor.is_cuda:
            return _from_cuda(walk, where, torch, tensor, depth)
        return walk.take(where, tensor.item(), depth) if not tensor.is_complex() else LEFT_OUT
    size = tensor.numel() * tensor.element_size()
    if size <= _MAX_COPY_BYTES and walk.copies.take(size):
        tensor = tensor.clone()
    wait = torch.cuda.current_stream(tensor.device).record_event() if tensor.is_cuda else None
    return _later(walk, where, kind, tensor, depth, wait)


def _from_cuda(walk: Walk, where: str, torch: Any, tensor: Any, depth: int) -> Any:
    host = torch.empty((), dtype=tensor.dtype, pin_memory=True)
    stream = torch.cuda.current_stream(tensor.device)
    host.copy_(tensor.reshape(()), non_blocking=True)
    copied = stream.record_event()

    def read() -> Any:
        copied.synchronize()
        return host.item()

    return walk.later(where, type(tensor), read, depth, trusted=True)


def _strided(torch: Any, tensor: Any) -> tuple[Any, int]:
    """A dense tensor of the stored elements, and the number of implicit zeros."""
    tensor = torch.Tensor.detach(tensor)
    if tensor.is_nested:
        parts = [part.reshape(-1) for part in tensor.unbind()]
        return torch.cat(parts) if parts else torch.empty(0), 0
    if tensor.is_quantized:
        return tensor.dequantize(), 0
    if tensor.layout is torch.strided:
        return tensor, 0
    if tensor.layout is torch.sparse_coo:
        values = tensor.coalesce().values()
        return values, tensor.numel() - values.numel()
    if hasattr(tensor, "values") and str(tensor.layout).startswith("torch.sparse"):
        values = tensor.values()
        return values, tensor.numel() - values.numel()
    return tensor.to_dense(), 0


def _numpy_of(torch: Any, tensor: Any, note: Callable[[str], None]) -> Any:
    tensor = HistogramBuilder(note).thinned(tensor, tensor.numel())
    if tensor.is_complex():
        tensor = tensor.resolve_conj()
    tensor = tensor.resolve_neg().cpu()
    try:
        return tensor.numpy()
    except (TypeError, RuntimeError):  # bfloat16 and float8, which numpy lacks
        return tensor.float().numpy()
