"""Converts one setting from an argument of any type or from an environment variable.

Clear intent is repaired; impossible values raise ValueError with the possible choices.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from penstock.bounded import within
from penstock.pasted import checked_name, repaired_key, repaired_name, repaired_url

__all__ = ["Converted", "converted"]

MODES = ("online", "offline", "disabled", "shared")
_MODE_NAMES = {"dryrun": "offline", "run": "online", "": "online"}
FACTS = ("machine", "packages", "git")
_RESUMES = ("allow", "must", "never", "auto")
_REINITS = ("return_previous", "finish_previous", "create_new")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_NAMED = ("entity", "project", "run_id")
_BYTES = re.compile(r"([0-9][0-9_]*)\s*([kmgt]?)i?b?", re.IGNORECASE)
_MOMENT = re.compile(r"([^?]+)\?_step=([0-9]{1,15})")
_POWERS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


_Conversion = Callable[[str, Any], Any]


class Converted(NamedTuple):
    """`value` is None if the setting is unchanged; `change` describes what was repaired."""

    value: Any
    change: str = ""


def converted(name: str, value: Any, *, is_mended: bool) -> Converted:
    """The value of a setting.

    `is_mended`: names that no server accepts are repaired; otherwise they raise ValueError too.
    """
    if name == "api_key":
        return Converted(*repaired_key(_text(name, value)))
    if name == "base_url":
        return Converted(*repaired_url(_text(name, value)))
    if name in _NAMED:
        return _named(name, _text(name, value).strip(), is_mended=is_mended)
    try:
        convert: _Conversion = _CONVERSIONS.get(name, _text)
        return Converted(convert(name, value))
    except (TypeError, OverflowError, OSError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be {_preview(value)}: {error}") from None


def _named(name: str, text: str, *, is_mended: bool) -> Converted:
    what = "id" if name == "run_id" else name
    if not text:
        return Converted(None)
    if is_mended:
        return Converted(*repaired_name(what, text))
    return Converted(checked_name(what, text))


def _text(name: str, value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value)


def _choice(*choices: str) -> Callable[[str, Any], str]:
    def choose(name: str, value: Any) -> str:
        text = str(value).strip().lower()
        if text not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {_preview(value)}")
        return text

    return choose


def _mode(name: str, value: Any) -> str:
    text = str(value).strip().lower()
    return _choice(*MODES)(name, _MODE_NAMES.get(text, text))


def _resume(name: str, value: Any) -> str | None:
    if isinstance(value, bool):
        return "auto" if value else None
    text = str(value).strip().lower()
    if text in (*_NO, "none"):
        return None
    return "auto" if text in _YES else _choice(*_RESUMES)(name, value)


def _reinit(name: str, value: Any) -> str | bool | None:
    if isinstance(value, bool):
        return value or None
    text = str(value).strip().lower()
    if text in (*_NO, "default", "none"):
        return None
    return True if text in _YES else _choice(*_REINITS)(name, value)


def _moment(name: str, value: Any) -> str:
    """A step of a run, `ID?_step=N`; also the official client's object for it."""
    if hasattr(value, "run") and hasattr(value, "value"):
        value = f"{value.run}?_step={value.value}"
    text = str(value).strip()
    if not _MOMENT.fullmatch(text):
        raise ValueError(
            f"{name} must be ID?_step=N, such as a1b2c3d4?_step=100, got {_preview(value)}"
        )
    return text


def _console(name: str, value: Any) -> str:
    text = str(value).strip().lower()
    # The official client has several ways to wrap.
    text = "wrap" if text.startswith("wrap") else text
    return _choice("auto", "redirect", "wrap", "off")(name, text)


def _facts(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return FACTS if value else ()
    given = value.split(",") if isinstance(value, str) else value
    chosen = {text for each in given if (text := str(each).strip().lower())}
    if chosen <= {*_NO, "none"}:
        return ()
    if not chosen.isdisjoint((*_YES, "all")):
        return FACTS
    for each in chosen:
        _choice(*FACTS, "off")(name, each)
    return tuple(each for each in FACTS if each in chosen)


def _bool(name: str, value: Any) -> bool:
    if isinstance(value, (bool, int)):
        return bool(value)
    text = str(value).strip().lower()
    if text not in (*_YES, *_NO):
        raise ValueError(f"{name} must be true or false, got {_preview(value)}")
    return text in _YES


def _rank(name: str, value: Any) -> int:
    rank = int(value)
    if not 0 <= rank < 1 << 31:
        raise ValueError(f"{name} must be 0 or more, got {_preview(value)}")
    return rank


def _size(name: str, value: Any) -> int:
    """A number of bytes, possibly written as 512M or 2 GiB."""
    found = _BYTES.fullmatch(str(value).strip())
    if found is None or not (size := int(found[1]) << _POWERS[found[2].lower()]):
        raise ValueError(f"{name} must be a number of bytes, such as 2147483648 or 2G")
    return min(size, 1 << 62)


def _seconds(name: str, value: Any) -> float:
    seconds = float(value)
    if math.isnan(seconds):
        raise ValueError(f"{name} must be a number of seconds, got {_preview(value)}")
    return min(max(seconds, 0.0), 1e9)


def _tags(name: str, value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    return tuple(text for tag in given if (text := str(tag).strip()))


def _dir(name: str, value: Any) -> str:
    if "\0" in (text := _text(name, value)) or not text.strip():
        raise ValueError(f"{name} cannot be {_preview(text)}: that is not a folder")
    return str(Path(_text(name, value)).expanduser().absolute())


def _host_name(name: str, value: Any) -> str:
    text = _text(name, value).strip()
    if text in (".", "..") or "/" in text or not text.isprintable() or len(text.encode()) > 255:
        raise ValueError(f"{name} cannot be {_preview(text)}: that is not the name of a folder")
    return text


def _file(name: str, value: Any) -> str:
    path = Path(_text(name, value)).expanduser().absolute()
    try:
        is_good = within(str(path), lambda: path.is_file() and os.access(path, os.R_OK))
    except TimeoutError:
        is_good = True  # its file server may be back by the time it is read
    if not is_good:
        raise ValueError(f"{path} is not a readable file")
    return str(path)


def _preview(value: Any) -> str:
    return repr(value)[:80]


_CONVERSIONS: dict[str, _Conversion] = {
    "mode": _mode,
    "resume": _resume,
    "reinit": _reinit,
    "on_full": _choice("drop", "block"),
    "silent": _bool,
    "quiet": _bool,
    "strict": _bool,
    "allow_val_change": _bool,
    "resume_from": _moment,
    "fork_from": _moment,
    "join": _bool,
    "system_metrics": _bool,
    "x_disable_stats": _bool,
    "system_interval_s": _seconds,
    "primary": _bool,
    "console": _console,
    "facts": _facts,
    "save_code": _bool,
    "disable_git": _bool,
    "disable_code": _bool,
    "rank": _rank,
    "spool_limit_bytes": _size,
    "finish_timeout_s": _seconds,
    "tags": _tags,
    "dir": _dir,
    "ca_file": _file,
    "host_name": _host_name,
}
