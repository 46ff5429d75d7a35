"""Values as the protocol writes them: times, JSON in strings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson

from penstock.errors import Rejected
from penstock_common.payloads import readable

__all__ = ["integer", "json_text", "loads", "loads_map", "timestamp"]


def timestamp(at: int) -> str:
    """Microseconds since 1970 as RFC 3339 with `Z`."""
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def json_text(value: Any) -> str:
    """JSON in a string; NaN and infinities bare, as the client writes and reads them."""
    try:
        return json.dumps(value, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return json.dumps(readable(value), separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """JSON that may hold bare NaN and infinities. Raises `ValueError`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _without_surrogates(json.loads(text, parse_int=integer))


def loads_map(what: str, text: str) -> dict[str, Any]:
    """The object in a string of JSON. Raises `Rejected`."""
    try:
        value = loads(text)
    except (ValueError, RecursionError):
        raise Rejected(f"{what} is not valid JSON", code="bad_json") from None
    if not isinstance(value, dict):
        raise Rejected(f"{what} must be a JSON object", code="bad_json")
    return value


def integer(digits: str) -> int | float:
    """Integers that fit into 64 bits stay integers."""
    value = int(digits) if len(digits) <= 20 else 2**64
    return value if -(2**63) <= value < 2**64 else float(digits)


def _without_surrogates(value: Any) -> Any:
    """Halves of characters, which JSON can escape and UTF-8 cannot hold, become question marks."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_without_surrogates, value))
    return value
