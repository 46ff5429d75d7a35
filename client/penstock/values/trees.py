"""Nested mappings: flattened to dotted keys, and split into plain values and pending ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.values.walk import LEFT_OUT, Later

__all__ = ["flatten", "split", "without_later"]

_MAX_DEPTH = 32


def flatten(data: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Flatten nested mappings to dotted keys like W&B: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and "_type" not in value and depth < _MAX_DEPTH:
            flat.update(flatten(value, f"{name}.", depth + 1))
        else:
            flat[name] = value
    return flat


def split(tree: dict[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Split a map of maps into what is plain now and what waits for a `Later`."""
    now: dict[Any, Any] = {}
    later: dict[Any, Any] = {}
    for key, value in tree.items():
        if type(value) is float and type(key) is str:
            now[key] = value
        elif type(key) is Later or (type(value) is not dict and _waits(value)):
            later[key] = value
        elif type(value) is dict and "_type" not in value:
            plain, waiting = split(value)
            if plain or not waiting:
                now[key] = plain
            if waiting:
                later[key] = waiting
        else:
            (later if _waits(value) else now)[key] = value
    return now, later


def without_later(tree: Any) -> Any:
    """A tree without its pending values; `LEFT_OUT` if all of it is pending."""
    if type(tree) is dict:
        now = split(tree)[0]
        return now if now or not tree else LEFT_OUT
    return LEFT_OUT if _waits(tree) else tree


def _waits(tree: Any) -> bool:
    if type(tree) is dict:
        return any(type(key) is Later or _waits(value) for key, value in tree.items())
    return type(tree) is Later or (type(tree) is list and any(map(_waits, tree)))
