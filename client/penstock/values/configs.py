"""Nested configs: their dotted names, and the changes a sweep makes to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ConfigPart", "nested_value", "swept"]


class ConfigPart(dict[str, Any]):
    """A nested part of a config with attribute access: `config.model.dim`."""

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


def swept(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The top-level config entries that a trial's parameters change, complete with their new values.

    A nested parameter changes only its leaf; so does one called `model.dim` if the config has a
    `model`.
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
    merged = ConfigPart(old)
    for key, value in new.items():
        merged[key] = _merged(merged.get(key), value)
    return merged


def _nest(names: list[str], value: Any) -> Any:
    for name in reversed(names):
        value = ConfigPart({name: value})
    return value
