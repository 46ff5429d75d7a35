"""The JSON serializer of all replies. Config and summaries hold anything that Python could log, and the
stores what old or hostile clients sent, which is more than JSON can express. No value makes a reply
fail: what JSON cannot express becomes text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import orjson

from penstock.wire.numbers import not_finite_text

__all__ = [
    "as_json",
    "decode_json",
    "encode_json",
    "mapping_of",
    "not_finite",
    "readable",
    "text_of",
    "texts_of",
]

_MAX_DEPTH = 200  # orjson gives up at 254
_TOO_DEEP = "…"
_MAX_OTHER_CHARS = 1_000
_LONG_NUMBER = re.compile(r"\d{19}")


def encode_json(payload: Any) -> bytes:
    """`payload` as JSON; numpy arrays become lists, whole numbers may have any length."""
    try:
        return orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # a value that Python's JSON can hold and orjson cannot
        repaired = _repaired(payload, _fragment, 0)
        return orjson.dumps(repaired, option=orjson.OPT_SERIALIZE_NUMPY)


def decode_json(text: str) -> Any:
    """Parsed JSON, with integers of any length: orjson would turn the longest into floats.

    Raises `ValueError`.
    """
    if not _LONG_NUMBER.search(text):
        return orjson.loads(text)
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("too deep") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def as_json(found: Any, depth: int = 0) -> Any:
    """The same with NaN and infinities as strings."""
    match found:
        case dict() | list() if depth > _MAX_DEPTH:
            return _TOO_DEEP
        case dict():
            return {key: as_json(value, depth + 1) for key, value in found.items()}
        case list():
            return [as_json(value, depth + 1) for value in found]
        case float() if not math.isfinite(found):
            return not_finite_text(found)
        case _:
            return found


def not_finite(found: Any, place: list[str | int]) -> Iterator[list[str | int]]:
    """The places where `as_json` turns a number into text, as keys and indexes. `place` leads to `found`
    itself."""
    match found:
        case float() if not math.isfinite(found):
            yield place
        case dict() | list() if len(place) <= _MAX_DEPTH:
            inner = found.items() if isinstance(found, dict) else enumerate(found)
            for key, value in inner:
                if isinstance(value, float | dict | list):
                    yield from not_finite(value, [*place, key])


def readable(found: Any) -> Any:
    """A value that Python's own JSON can express: half characters replaced, other types and values nested
    too deeply as text."""
    return _repaired(found, _sayable, 0)


def mapping_of(found: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return found if isinstance(found, dict) else {}


def text_of(found: object) -> str:
    """The value if it is a text; other values as text."""
    return found if isinstance(found, str) else "" if found is None else _other(found)


def texts_of(found: object) -> tuple[str, ...]:
    """The value as texts; a single value becomes a list of one."""
    if isinstance(found, list | tuple):
        return tuple(map(text_of, found))
    return () if found is None or found == "" else (text_of(found),)


def _repaired(found: Any, whole: Callable[[int], Any], depth: int) -> Any:
    """The value with integers converted by `whole` and half characters replaced."""
    match found:
        case dict() | list() | tuple() if depth > _MAX_DEPTH:
            return _TOO_DEEP
        case Mapping():
            return {
                _plain(text_of(key)): _repaired(value, whole, depth + 1)
                for key, value in found.items()
            }
        case list() | tuple():
            return [_repaired(value, whole, depth + 1) for value in found]
        case str():
            return _plain(found)
        case None | bool() | float():
            return found
        case int():
            return whole(found)
        case _ if isinstance(found, orjson.Fragment) or type(found).__module__ == "numpy":
            return found
        case _:
            return _plain(_other(found))


def _fragment(number: int) -> Any:
    sayable = _sayable(number)
    return orjson.Fragment(str(sayable)) if isinstance(sayable, int) else sayable


def _sayable(number: int) -> int | str:
    """Python formats no number with more than a few thousand digits."""
    try:
        str(number)
    except ValueError:
        return f"a whole number of {number.bit_length()} bits"
    return number


def _other(found: object) -> str:
    try:
        return str(found)[:_MAX_OTHER_CHARS]
    except Exception:
        return f"<{type(found).__name__}>"


def _plain(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
