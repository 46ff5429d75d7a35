"""The protocol's values: times, JSON in strings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.payloads import readable

__all__ = ["integer", "json_text", "loads", "loads_exact", "loads_map", "timestamp"]

# The fast parser turns whole numbers beyond 64 bits, which have at least 19 digits, into floats.
# Whether a text has that many digits in a row is quick to check once all digits are mapped to one;
# if they turn out to be something else, the slow parser gives the same result.
_MANY_DIGITS = b"0" * 19
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_MAX_DIGITS = 1_000


def timestamp(at: int) -> str:
    """Microseconds since 1970 as RFC 3339 with `Z`."""
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def json_text(value: Any) -> str:
    """JSON in a string, with NaN and infinities bare, as the client writes and reads them."""
    try:
        return json.dumps(value, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return json.dumps(readable(value), separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """Parse JSON with bare NaN and infinities for batches: whole numbers beyond 64 bits become floats.
    Raises `ValueError`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _without_surrogates(json.loads(text, parse_int=integer))


def loads_exact(text: str) -> Any:
    """The same with whole numbers of any length, for the catalog. Raises `ValueError`."""
    try:
        if _MANY_DIGITS not in text.encode(errors="replace").translate(_DIGITS):
            return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    return _without_surrogates(json.loads(text, parse_int=_whole))


def loads_map(what: str, text: str) -> dict[str, Any]:
    """The object in a JSON string, with whole numbers of any length. Raises `Rejected`."""
    try:
        value = loads_exact(text)
    except (ValueError, RecursionError):
        raise Rejected(f"{what} is not valid JSON", code=ErrorCode.BAD_JSON) from None
    if not isinstance(value, dict):
        raise Rejected(f"{what} must be a JSON object", code=ErrorCode.BAD_JSON)
    return value


def integer(digits: str) -> int | float:
    """Integers that fit into 64 bits stay integers."""
    value = int(digits) if len(digits) <= 20 else 2**64
    return value if -(2**63) <= value < 2**64 else float(digits)


def _whole(digits: str) -> int | float:
    """Python limits the length of whole numbers to a few thousand digits."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which JSON can escape but UTF-8 cannot encode, with question marks."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_without_surrogates, value))
    return value
