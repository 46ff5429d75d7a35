"""What a logged value becomes: a plain value now, or one that is resolved later and aside.

Nothing here imports a framework: values are recognised by the module of their type. A CUDA scalar is
copied to pinned memory on its own stream and read after an event, so that logging a loss does not
wait for the GPU. Arrays become histograms.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Later", "flatten", "plain", "resolve"]

MAX_TEXT = 1 << 20
MAX_ARRAY = 1 << 20
HISTOGRAM_BINS = 64
_MAX_DEPTH = 32
_INT64 = range(-(2**63), 2**63)

Later = Callable[[], Any]
"""Gives the plain value; may wait, so it is called aside from the training thread."""


def flatten(data: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Nested mappings as dotted keys, as W&B does: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and "_type" not in value and depth < _MAX_DEPTH:
            flat.update(flatten(value, f"{name}.", depth + 1))
        else:
            flat[name] = value
    return flat


def resolve(value: Any) -> Any | Later:
    """A plain value, or a `Later` for what may not be waited for here."""
    home = type(value).__module__.partition(".")[0]
    if home == "torch":
        return _resolve_torch(value)
    if home in ("jax", "jaxlib", "tensorflow"):
        return lambda: _from_array(_as_array(value))  # immutable: no snapshot needed
    if home == "numpy" and getattr(value, "size", 1) > 1:
        if value.size > MAX_ARRAY:
            raise ValueError(f"an array of {value.size} elements, at most {MAX_ARRAY}")
        snapshot = value.copy()
        return lambda: _histogram(snapshot)
    return plain(value)


def plain(value: Any, depth: int = 0) -> Any:
    """`value` as None, bool, int, float, str, or lists and string-keyed dicts of these.

    Never raises for want of a better form: an unknown object becomes its text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)[:MAX_TEXT].encode(errors="replace").decode()
    if isinstance(value, int):
        return int(value) if value in _INT64 else float(value)
    if isinstance(value, float):
        return float(value)
    if depth >= _MAX_DEPTH:
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    return _plain_object(value, depth)


def _plain_object(value: Any, depth: int) -> Any:
    for convert in ("item", "tolist"):
        method = getattr(value, convert, None)
        if callable(method):
            try:
                converted = method()
            except (TypeError, ValueError, RuntimeError):
                continue
            if type(converted) is not type(value):
                return plain(converted, depth + 1)
    if isinstance(value, numbers.Real) or hasattr(value, "__float__"):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    return _text(value)


def _text(value: Any) -> str:
    return str(value)[:MAX_TEXT].encode(errors="replace").decode()


def _resolve_torch(value: Any) -> Any | Later:
    if not hasattr(value, "detach"):
        return plain(value)
    tensor = value.detach()
    if tensor.is_cuda and tensor.numel() == 1:
        return _from_cuda(tensor)
    if tensor.numel() == 1:
        return plain(tensor.item())
    if tensor.numel() > MAX_ARRAY:
        raise ValueError(f"a tensor of {tensor.numel()} elements, at most {MAX_ARRAY}")
    snapshot = tensor.clone()
    return lambda: _from_array(snapshot.double().cpu().numpy())


def _from_cuda(tensor: Any) -> Later:
    torch: Any = sys.modules["torch"]  # the caller has it already

    host = torch.empty((), dtype=tensor.dtype, pin_memory=True)
    stream = torch.cuda.current_stream(tensor.device)
    host.copy_(tensor.reshape(()), non_blocking=True)
    copied = stream.record_event()

    def read() -> Any:
        copied.synchronize()
        return plain(host.item())

    return read


def _as_array(value: Any) -> Any:
    import numpy as np  # noqa: PLC0415  (heavy, and seldom needed here)

    return np.asarray(value)


def _from_array(array: Any) -> Any:
    return plain(array.item()) if array.size == 1 else _histogram(array)


def _histogram(array: Any) -> Any:
    import numpy as np  # noqa: PLC0415  (heavy, and seldom needed here)

    if array.dtype.kind not in "biuf":
        return plain(array.tolist())
    flat = array.astype(np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    counts, edges = np.histogram(finite, bins=HISTOGRAM_BINS)
    return {"_type": "histogram", "values": counts.tolist(), "bins": edges.tolist()}
