"""Copies of tensors on their way from a device into this process's memory.

A copy is put on the device's current stream and arrives when the stream gets there: later changes of
the tensor on that stream do not affect it. What needs it waits by looking at pinned memory, since
calls to CUDA from another thread would invalidate a CUDA graph that is being captured, and waiting for
an event keeps a core busy.
"""

from __future__ import annotations

import time
from typing import Any

__all__ = ["HostCopy", "is_capturing"]

_MAX_WAIT_S = 600.0
_FIRST_LOOK_S = 0.000_2
_MAX_LOOK_S = 0.02
_FLAG_BYTES = 16
_MAX_ONES = 64

_ones: dict[tuple[str, int], Any] = {}
"""By device and stream: the number that says that what was copied before it has arrived."""


class HostCopy:
    """A copy of a tensor: on its way from a CUDA device, a clone on any other one, the tensor itself on a
    CPU."""

    def __init__(self, torch: Any, tensor: Any) -> None:
        tensor = tensor.detach()
        self._flag: Any = None
        self._source: Any = None
        if tensor.device.type == "cpu":
            self._data = tensor
        elif tensor.is_cuda:
            self._begin(torch, tensor.resolve_conj().resolve_neg().contiguous())
        else:
            self._data = tensor.clone()

    def read(self) -> Any:
        """The copy as a tensor on the CPU; waits for it. Raises TimeoutError after ten minutes."""
        if self._flag is not None:
            look_s, deadline = _FIRST_LOOK_S, time.monotonic() + _MAX_WAIT_S
            while not self._flag.item():
                if time.monotonic() > deadline:
                    raise TimeoutError("the device did not finish what was queued before it")
                time.sleep(look_s)
                look_s = min(2 * look_s, _MAX_LOOK_S)
            self._source = None
        return self._data.cpu()

    def _begin(self, torch: Any, tensor: Any) -> None:
        size = tensor.numel() * tensor.element_size()
        padded = -(-size // _FLAG_BYTES) * _FLAG_BYTES
        pinned = torch.empty(padded + _FLAG_BYTES, dtype=torch.uint8, device="cpu", pin_memory=True)
        self._data = pinned[:size].view(tensor.dtype).view(tensor.shape)
        self._flag = pinned[padded : padded + 8].view(torch.int64)
        self._flag.zero_()
        self._data.copy_(tensor, non_blocking=True)
        self._flag.copy_(_one(torch, tensor.device), non_blocking=True)
        self._source = tensor  # kept until it has been read


def is_capturing(torch: Any) -> bool:
    """Whether the current stream captures a CUDA graph: nothing is computed then."""
    return bool(torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())


def _one(torch: Any, device: Any) -> Any:
    key = str(device), torch.cuda.current_stream(device).cuda_stream
    found = _ones.get(key)
    if found is None:
        if len(_ones) >= _MAX_ONES:
            _ones.clear()
        found = _ones[key] = torch.ones(1, dtype=torch.int64, device=device)
    return found
