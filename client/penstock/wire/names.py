"""What may name an entity, a project, a run, a writer or a metric.

Any Unicode text may, as it was sent: names are compared by their code points and never normalized.
What is refused is what no path or file can carry (slashes, control characters, lone surrogates, `.`
and `..`) and what nobody can see (space at an end).
"""

from __future__ import annotations

from typing import Any

from penstock.wire.limits import DEFAULT_LIMITS, Limits, bad, show

__all__ = ["check_key", "check_keys", "check_name"]

_NAME_FORBIDDEN = frozenset(map(chr, (*range(32), 127))) | {"/", "\\"}
_CHECKED_SETS, _CHECKED_CHARS = 1_024, 16_384
_checked: dict[tuple[str, ...], None] = {}
"""Lists of keys that were found good under the default limits: clients send the same ones over and
over, and looking one up costs a third of checking it."""


def check_name(what: str, value: object, limits: Limits = DEFAULT_LIMITS) -> str:
    """`value` if it can name an entity, project, run or writer; else raises `Rejected`."""
    if not isinstance(value, str) or not value:
        raise bad("bad_name", f"{what} must be a non-empty string, got {show(value)}")
    if _size("bad_name", value) > limits.name_bytes:
        raise bad("bad_name", f"{what} is longer than {limits.name_bytes} bytes")
    if not _NAME_FORBIDDEN.isdisjoint(value) or value in (".", "..") or value != value.strip():
        raise bad(
            "bad_name",
            f"{what} {show(value)} contains a slash or a control character, or starts or ends with a space",
            "Use letters, digits, space, '.', '_' and '-'.",
        )
    return value


def check_keys(where: str, keys: list[Any], limits: Limits) -> None:
    """Raises `Rejected` unless these can name the metrics of one frame."""
    try:
        names = tuple(keys)
        if names in _checked and limits.key_bytes == DEFAULT_LIMITS.key_bytes:
            return
        joined = "".join(names)
    except TypeError:
        raise bad("bad_key", f"{where}.keys has an entry that is not a string") from None
    # One look at all keys together is enough for nearly every frame.
    if not joined.isprintable() or max(map(len, keys)) * 4 > limits.key_bytes:
        for key in keys:
            check_key(f"{where}.keys", key, limits)
    if "" in keys:
        raise bad("bad_key", f"{where}.keys has an empty key")
    if len(set(keys)) != len(keys):
        raise bad("bad_key", f"{where}.keys contains a key twice")
    if limits.key_bytes == DEFAULT_LIMITS.key_bytes and len(joined) <= _CHECKED_CHARS:
        if len(_checked) >= _CHECKED_SETS:
            _checked.clear()
        _checked[names] = None


def check_key(where: str, key: object, limits: Limits = DEFAULT_LIMITS) -> str:
    """`key` if it can name a metric; else raises `Rejected`."""
    if not isinstance(key, str) or not key:
        raise bad("bad_key", f"{where}: a key must be a non-empty string, got {show(key)}")
    if _size("bad_key", key) > limits.key_bytes:
        raise bad("bad_key", f"{where}: a key is longer than {limits.key_bytes} bytes")
    if not key.isprintable() and any(c < " " or c == "\x7f" for c in key):
        raise bad("bad_key", f"{where}: {show(key)} contains a control character")
    return key


def _size(code: str, name: str) -> int:
    """Bytes of a name. Raises `Rejected` for one that UTF-8 cannot carry."""
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
