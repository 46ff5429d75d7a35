"""Nested configs: their dotted names, and what a sweep changes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ConfigPart", "nested_value", "swept"]


class ConfigPart(dict[str, Any]):
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
    merged = ConfigPart(old)
    for key, value in new.items():
        merged[key] = _merged(merged.get(key), value)
    return merged


def _nest(names: list[str], value: Any) -> Any:
    for name in reversed(names):
        value = ConfigPart({name: value})
    return value
