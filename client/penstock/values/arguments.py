"""Converts the arguments of `init`, and what is assigned to a run, to text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.values.slowpath import SlowPath

__all__ = ["config_of", "text_of", "texts_of"]

_MAX_FILE_BYTES = 16 << 20


def text_of(slow_path: SlowPath, what: str, value: Any) -> str | None:
    """One text; None for None and for unreadable values."""
    if value is None or type(value) is str:
        return value
    plain = slow_path.resolved(what, value)
    return plain if plain is None or type(plain) is str else str(plain)


def texts_of(slow_path: SlowPath, what: str, value: Any) -> str | tuple[str, ...] | None:
    """Several texts; one text stays what it is."""
    if value is None or type(value) is str:
        return value
    plain = slow_path.resolved(what, value)
    if plain is None or type(plain) is str:
        return plain
    several = plain if type(plain) in (list, dict) else [plain]
    return tuple(str(each) for each in several if each is not None)


def config_of(config: Any) -> Any:
    """The config passed to `init`; a path is read as a YAML file in W&B's format, where an entry may
    be `{desc: …, value: …}`, of which the value counts.

    Raises ValueError for a missing file or one without a config.
    """
    if not issubclass(type(config), (str, Path)):
        return config
    path = Path(config)
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError(f"config: {path} is larger than {_MAX_FILE_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"config: the file {path} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise ValueError(f"config: {path} is not UTF-8 text") from None
    found = _parsed(path, text)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(
            f"config: {path} must contain a mapping of names to values, not a {type(found).__name__}"
        )
    version = found.pop("wandb_version", None)
    if version not in (None, 1):
        raise ValueError(
            f"config: {path} has wandb_version {version!r}; only version 1 is supported"
        )
    return {name: _value(entry) for name, entry in found.items()}


def _value(entry: Any) -> Any:
    if isinstance(entry, Mapping) and "value" in entry and set(entry) <= {"value", "desc"}:
        return entry["value"]
    return entry


def _parsed(path: Path, text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415  (only those who have such files need it)
    except ImportError:
        raise ValueError(f"config: reading {path} needs PyYAML: pip install pyyaml") from None
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"config: {path} is not valid YAML: {reason}") from None
