"""Names of entities, projects, runs, writers and metrics.

Any Unicode text is allowed and kept as sent: names are compared by code points and never normalized.
Refused are characters that no path or file can carry (slashes, control characters, lone surrogates,
`.` and `..`) and invisible ones (leading and trailing spaces).
"""

from __future__ import annotations

from typing import Any

from penstock.error_codes import ErrorCode
from penstock.wire.limits import DEFAULT_LIMITS, Limits, bad, show

__all__ = ["check_key", "check_keys", "check_name"]

_NAME_FORBIDDEN = frozenset(map(chr, (*range(32), 127))) | {"/", "\\"}
_CHECKED_SETS, _CHECKED_CHARS = 1_024, 16_384
_checked: dict[tuple[str, ...], None] = {}
"""Key lists found valid under the default limits: clients keep sending the same ones, and a lookup
costs a third of a check."""


def check_name(what: str, value: object, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return `value` if it is a valid entity, project, run or writer name; otherwise raise `Rejected`."""
    if not isinstance(value, str) or not value:
        raise bad(ErrorCode.BAD_NAME, f"{what} must be a non-empty string, got {show(value)}")
    if _size(ErrorCode.BAD_NAME, value) > limits.name_bytes:
        raise bad(ErrorCode.BAD_NAME, f"{what} is longer than {limits.name_bytes} bytes")
    if not _NAME_FORBIDDEN.isdisjoint(value) or value in (".", "..") or value != value.strip():
        raise bad(
            ErrorCode.BAD_NAME,
            f"{what} {show(value)} contains a slash or a control character, or starts or ends with a space",
            "Use letters, digits, space, '.', '_' and '-'.",
        )
    return value


def check_keys(where: str, keys: list[Any], limits: Limits) -> None:
    """Raises `Rejected` unless these are valid metric names for one frame."""
    try:
        names = tuple(keys)
        if names in _checked and limits.key_bytes == DEFAULT_LIMITS.key_bytes:
            return
        joined = "".join(names)
    except TypeError:
        raise bad(ErrorCode.BAD_KEY, f"{where}.keys has an entry that is not a string") from None
    # One check of all keys together suffices for nearly every frame.
    if not joined.isprintable() or max(map(len, keys)) * 4 > limits.key_bytes:
        for key in keys:
            check_key(f"{where}.keys", key, limits)
    if "" in keys:
        raise bad(ErrorCode.BAD_KEY, f"{where}.keys has an empty key")
    if len(set(keys)) != len(keys):
        raise bad(ErrorCode.BAD_KEY, f"{where}.keys contains a key twice")
    if limits.key_bytes == DEFAULT_LIMITS.key_bytes and len(joined) <= _CHECKED_CHARS:
        if len(_checked) >= _CHECKED_SETS:
            _checked.clear()
        _checked[names] = None


def check_key(where: str, key: object, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return `key` if it is a valid metric name; otherwise raise `Rejected`."""
    if not isinstance(key, str) or not key:
        raise bad(ErrorCode.BAD_KEY, f"{where}: a key must be a non-empty string, got {show(key)}")
    if _size(ErrorCode.BAD_KEY, key) > limits.key_bytes:
        raise bad(ErrorCode.BAD_KEY, f"{where}: a key is longer than {limits.key_bytes} bytes")
    if not key.isprintable() and any(c < " " or c == "\x7f" for c in key):
        raise bad(ErrorCode.BAD_KEY, f"{where}: {show(key)} contains a control character")
    return key


def _size(code: ErrorCode, name: str) -> int:
    """A name's length in bytes. Raises `Rejected` for one that UTF-8 cannot encode."""
    if name.isascii():
        return len(name)
    try:
        return len(name.encode())
    except UnicodeEncodeError:
        raise bad(
            code,
            f"{show(name)} contains a lone surrogate, which is not valid Unicode",
            "Decode names that come from bytes with errors='replace'.",
        ) from None
