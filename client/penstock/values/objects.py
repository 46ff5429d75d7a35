"""Converts objects of unknown types to plain values, one level at a time, on the side thread only.

`opened` returns plain values, or containers of further objects that are converted separately: a
field that raises or hangs costs only itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence, Set, ValuesView
from functools import partial
from itertools import islice
from numbers import Number
from typing import Any

from penstock.values.arrays import dense
from penstock.values.walk import MAX_ENTRIES, MAX_TEXT_CHARS, Later, NotKept, Walk, type_name

__all__ = ["members", "opened"]

_MAX_RANGE = 1_000
_NAMED = ("function", "builtin_function_or_method", "method", "method_descriptor", "ufunc")


def opened(walk: Walk, where: str, value: Any, as_list: bool) -> Any:
    """The representation of an object. Raises whatever its methods raise."""
    kind = type(value)
    if reason := getattr(kind, "__penstock_left_out__", ""):
        raise NotKept(reason)
    home = str(kind.__module__).partition(".")[0]
    if kind is range:
        return [*value] if len(value) <= _MAX_RANGE else str(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if kind.__name__ in _NAMED and hasattr(value, "__name__"):
        module = getattr(value, "__module__", None)
        name = getattr(value, "__qualname__", value.__name__)
        return f"{module}.{name}" if module else name
    if kind.__name__ == "module":
        return value.__name__
    if _is_enum(value):
        return value.value
    if home == "pandas":
        found = _of_pandas(walk, where, value, as_list)
        if found is not None:
            return found
    if hasattr(value, "__next__"):
        return f"<{type_name(kind)}>"  # reading it would consume it
    found = members(walk, where, value)
    if found is not None:
        return found
    return _of_array(walk, where, value, as_list)


def members(walk: Walk, where: str, value: Any) -> dict[Any, Any] | None:
    """An object's fields by name; a `Later` for each that takes a call to read."""
    kind = type(value)
    if isinstance(value, Mapping):
        keys = islice(iter(value), MAX_ENTRIES + 1)
        return {key: _part(walk, where, key, partial(value.__getitem__, key)) for key in keys}
    for names in (
        getattr(kind, "__dataclass_fields__", None),
        getattr(kind, "__struct_fields__", None),
    ):
        if names is not None:
            return {n: _part(walk, where, n, partial(getattr, value, n)) for n in names}
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        found = [each.name for each in attributes]
        return {n: _part(walk, where, n, partial(getattr, value, n)) for n in found}
    if hasattr(kind, "__pydantic_fields__") or hasattr(kind, "model_fields"):
        more = getattr(value, "__pydantic_extra__", None) or {}
        return {**vars(value), **more}
    if hasattr(kind, "flag_values_dict"):  # absl
        return dict(value.flag_values_dict())
    if kind.__module__ in ("argparse", "types") and kind.__name__ in (
        "Namespace",
        "SimpleNamespace",
    ):
        return dict(vars(value))
    return None


def _has_form(value: Any) -> bool:
    """Whether its text represents it completely."""
    homes = ("uuid", "datetime", "torch", "builtins", "types", "functools", "decimal", "fractions")
    return type(value).__module__ in homes


def _part(walk: Walk, where: str, name: Any, read: Any) -> Later:
    shown = name if type(name) is str else type_name(type(name))
    return walk.later(f"{where}.{shown}" if where else shown, object, read, 0)


def _of_pandas(walk: Walk, where: str, value: Any, as_list: bool) -> Any:
    if hasattr(value, "columns") and hasattr(value, "items"):
        columns = islice(value.items(), 10_000)
        return {
            str(name): _part(walk, where, str(name), partial(_column, column, as_list, walk, where))
            for name, column in columns
        }
    if hasattr(value, "to_numpy") and hasattr(value, "dtype"):
        return _column(value, as_list, walk, where)
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None


def _column(column: Any, as_list: bool, walk: Walk, where: str) -> Any:
    array = column.to_numpy()
    if array.dtype.kind in "OUS" and not _has_numbers(array):
        as_list = True
    return dense(array, as_list, partial(walk.note, where))


def _has_numbers(array: Any) -> bool:
    return any(isinstance(each, Number) for each in array.ravel()[:1_000].tolist())


def _of_array(walk: Walk, where: str, value: Any, as_list: bool) -> Any:
    """An object without fields as an array, a number, a sequence, or its text."""
    torch: Any = sys.modules.get("torch")
    numpy: Any = sys.modules.get("numpy")
    note = partial(walk.note, where)
    is_tensor = torch is not None and isinstance(value, torch.Tensor)
    if is_tensor or (numpy is not None and isinstance(value, numpy.ndarray)):
        if is_tensor:
            with torch._C.DisableTorchFunctionSubclass():
                return dense(value, as_list, note)
        return dense(value, as_list, note)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    found = _converted(value)
    if found is not value:
        return found
    if numpy is not None and hasattr(value, "__array__"):
        return dense(value.__array__(), as_list, note)
    if isinstance(value, Number) or hasattr(type(value), "__float__"):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return _text(value)
    if isinstance(value, (Sequence, Set, ValuesView)):
        return [*islice(iter(value), MAX_ENTRIES + 1)]
    text = _text(value)
    if walk.tells and not _has_form(value):
        note(f"kept as text: {type_name(type(value))} objects cannot be stored in any other form")
    return text


def _is_enum(value: Any) -> bool:
    enum: Any = sys.modules.get("enum")
    return enum is not None and isinstance(value, enum.Enum)


def _converted(value: Any) -> Any:
    """The result of its `item` or `tolist`; the object itself if neither works."""
    for name in ("item", "tolist"):
        method = getattr(value, name, None)
        if callable(method):
            with contextlib.suppress(Exception):  # it has another form
                found = method()
                if type(found) is not type(value):
                    return found
    return value


def _text(value: Any) -> str:
    text = str(value)
    return str.__str__(text)[: MAX_TEXT_CHARS + 1]
