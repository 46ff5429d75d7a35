"""Tensors of PyTorch: what is taken at once, and what is read later.

`log` never waits for a device. Of a tensor on a CUDA device, small ones are copied and large ones
become a histogram on the device, both on its current stream; what they become arrives later.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.values.histograms import HistogramBuilder
from penstock.values.host_copies import HostCopy, is_capturing
from penstock.values.statistics import Statistics, measure, new_rows
from penstock.values.walk import LEFT_OUT, ValueTooLarge, Walk

__all__ = ["MAX_LIST_ENTRIES", "is_shard", "numpy_of", "of_tensor", "stored"]

_MAX_COPY_BYTES = 32 << 20
MAX_LIST_ENTRIES = 100_000
_MAX_COPIED_ELEMENTS = 4_096
"""Larger tensors on a device become a histogram there, unless a list of them is needed."""


def is_shard(value: Any) -> bool:
    """Whether it is PyTorch's own distributed tensor, of which this process has a part."""
    kind = type(value)
    return kind.__name__ == "DTensor" and kind.__module__.startswith("torch.distributed.")


def of_tensor(
    walk: Walk, where: str, torch: Any, value: Any, depth: int, dense: Callable[..., Any]
) -> Any:
    """A tensor as a plain value or a `Later`. `dense` converts one on the CPU; see `arrays.dense`."""
    kind = type(value)
    note = partial(walk.note, where)
    tensor = value.detach()
    if is_shard(value):
        tensor = value._local_tensor.detach()
        if tensor.shape != value.shape:
            note("only the part that this process has of a distributed tensor")
    later = partial(walk.later, where, kind, depth=depth, trusted=True)
    if tensor.device.type == "meta":
        return LEFT_OUT
    if tensor.is_cuda and is_capturing(torch):
        raise ValueTooLarge("a CUDA graph was being captured: log it after the graph's replay")
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        return later(_of_odd_layout(walk, torch, tensor, dense, note))
    if tensor.numel() == 1 and tensor.device.type == "cpu":
        return LEFT_OUT if tensor.is_complex() else walk.take(where, tensor.item(), depth)
    elements = tensor.numel()
    if tensor.device.type == "cpu":
        size = elements * tensor.element_size()
        if size <= _MAX_COPY_BYTES and walk.copies.take(size):
            tensor = tensor.clone()
        return later(partial(dense, tensor, walk.as_list, note))
    most = MAX_LIST_ENTRIES if walk.as_list else _MAX_COPIED_ELEMENTS
    if elements <= most:
        copy = HostCopy(torch, tensor)
        as_list = walk.as_list
        return later(lambda: dense(copy.read(), as_list, note))
    return later(_measured(torch, tensor, note))


def stored(torch: Any, tensor: Any) -> tuple[Any, int]:
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


def numpy_of(tensor: Any, note: Callable[[str], None]) -> Any:
    """A strided tensor as a numpy array; a sample of a very large one."""
    tensor = HistogramBuilder(note).thinned(tensor, tensor.numel())
    if tensor.is_complex():
        tensor = tensor.resolve_conj()
    tensor = tensor.resolve_neg().cpu()
    try:
        return tensor.numpy()
    except (TypeError, RuntimeError):  # bfloat16 and float8, which numpy lacks
        return tensor.float().numpy()


def _measured(torch: Any, tensor: Any, note: Callable[[str], None]) -> Callable[[], Any]:
    elements, is_complex = tensor.numel(), tensor.is_complex()
    rows = new_rows(torch, 1, tensor.device)
    measure(torch, tensor, rows[0])
    copy = HostCopy(torch, rows)

    def read() -> Any:
        found = Statistics(copy.read()[0].tolist(), elements)
        if is_complex:
            note("a histogram of absolute values, since its values are complex")
        if found.others:
            note(f"without {found.others:,} of its {elements:,} elements: NaN or infinite")
        made = found.histogram()
        return (
            made if made is not None else HistogramBuilder(note).of(sys.modules["numpy"].empty(0))
        )

    return read


def _of_odd_layout(
    walk: Walk, torch: Any, tensor: Any, dense: Callable[..., Any], note: Callable[[str], None]
) -> Callable[[], Any]:
    """Sparse, nested and quantised tensors: their stored elements are copied on their device, and read
    when the stream has got there."""
    as_list = walk.as_list
    if walk.copies.take(_bytes_of(tensor)):
        tensor = tensor.clone()
    wait = torch.cuda.current_stream(tensor.device).record_event() if tensor.is_cuda else None

    def read() -> Any:
        if wait is not None:
            wait.synchronize()
        return dense(tensor, as_list, note)

    return read


def _bytes_of(tensor: Any) -> int:
    """At most, since the stored elements of sparse tensors are fewer."""
    try:
        count = tensor._nnz() if tensor.is_sparse else tensor.numel()
        return int(count * tensor.element_size())
    except Exception:  # layouts that have no such size
        return 0
