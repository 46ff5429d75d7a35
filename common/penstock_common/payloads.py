"""What the server says, as JSON that every reader takes: config and summaries hold what Python could
log, which is more than JSON knows."""

from __future__ import annotations

import math
from typing import Any

import orjson

__all__ = ["as_json", "encode_json"]


def encode_json(payload: Any) -> bytes:
    """`payload` as JSON; numpy arrays become lists, whole numbers may have any length."""
    try:
        return orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # what Python's JSON can hold and other JSON cannot
        return orjson.dumps(_repaired(payload), option=orjson.OPT_SERIALIZE_NUMPY)


def as_json(found: Any) -> Any:
    """The same with NaN and infinities as strings."""
    match found:
        case dict():
            return {key: as_json(value) for key, value in found.items()}
        case list():
            return [as_json(value) for value in found]
        case float() if not math.isfinite(found):
            return "NaN" if found != found else "Infinity" if found > 0 else "-Infinity"
        case _:
            return found


def _repaired(found: Any) -> Any:
    """Whole numbers of any length as they are, half characters replaced."""
    match found:
        case dict():
            return {_repaired(key): _repaired(value) for key, value in found.items()}
        case list():
            return [_repaired(value) for value in found]
        case str():
            return found.encode("utf-8", "replace").decode()
        case int() if not isinstance(found, bool):
            return orjson.Fragment(str(found))
        case _:
            return found
