"""What `init(config=…)` takes: a mapping, a Namespace or dataclass, or the path of a YAML file."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Part", "nested_value", "read_config", "swept"]


class Part(dict[str, Any]):
    """A nested part of a config that also takes attributes: `config.model.dim`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r} in this part of the config") from None


def nested_value(values: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name, `model.dim`, in nested mappings. Raises KeyError."""
    found: Any = values
    for part in name.split("."):
        if not isinstance(found, Mapping):
            raise KeyError(name)
        found = found[part]
    return found


def read_config(
    config: Any, exclude: Collection[str] | str | None, include: Collection[str] | str | None
) -> dict[str, Any]:
    """The config as a dict. Raises ValueError if it cannot be one.

    `exclude` and `include`: W&B's `config_exclude_keys` and `config_include_keys`.
    """
    values = _as_dict(config)
    if include:
        values = {key: values[key] for key in _names(include) if key in values}
    if exclude:
        values = {key: value for key, value in values.items() if key not in _names(exclude)}
    return values


def swept(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial's parameters change of a config: whole top-level entries, to be set over it.

    A nested parameter changes its leaf alone. So does one that is called `model.dim`, where the
    config has a `model`.
    """
    changes: dict[str, Any] = {}
    for name, value in parameters.items():
        top, dot, rest = name.partition(".")
        nested = changes.get(top, config.get(top))
        if dot and rest and isinstance(nested, Mapping) and name not in config:
            changes[top] = _merged(nested, _nest(rest.split("."), value))
        else:
            changes[name] = _merged(changes.get(name, config.get(name)), value)
    return changes


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(new, Mapping):
        return new
    old = old if isinstance(old, Mapping) else {}
    merged = Part(old)
    for key, value in new.items():
        merged[key] = _merged(merged.get(key), value)
    return merged


def _nest(names: list[str], value: Any) -> Any:
    for name in reversed(names):
        value = Part({name: value})
    return value


def _names(given: Collection[str] | str) -> list[str]:
    return [given] if isinstance(given, str) else [str(name) for name in given]


def _as_dict(config: Any) -> dict[str, Any]:
    if config is None or config == "":
        return {}
    if isinstance(config, (str, os.PathLike)):
        return _of_file(Path(config))
    try:
        if not isinstance(config, Mapping) and hasattr(config, "__dict__"):
            config = vars(config)
        return {str(key): value for key, value in dict(config).items()}
    except Exception as error:  # the seam to whatever object was given
        raise ValueError(f"config must be a dict or a YAML file: {error}") from None


def _of_file(path: Path) -> dict[str, Any]:
    """W&B's own files say `name: {desc: …, value: …}`."""
    try:
        import yaml  # noqa: PLC0415  (an optional package)
    except ImportError:
        raise ValueError(f"config={str(path)!r} is read with PyYAML: pip install pyyaml") from None
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"config={str(path)!r} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"config={str(path)!r} must hold names and values")
    return {str(key): _value_of(value) for key, value in found.items() if key != "wandb_version"}


def _value_of(entry: Any) -> Any:
    is_wrapped = isinstance(entry, dict) and "value" in entry and entry.keys() <= {"value", "desc"}
    return entry["value"] if is_wrapped else entry
