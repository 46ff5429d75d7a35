"""Translates W&B's names in filters and orders to the server's.

The server accepts W&B's filters and most of its names (docs/api.md). One differs: W&B's `name` is a
run's id, and its `display_name` the name.
"""

from __future__ import annotations

from typing import Any

__all__ = ["translated_filter", "translated_order"]


def translated_filter(found: Any) -> Any:
    """The same filter for the server."""
    if not isinstance(found, dict):
        return found
    return {
        _translated(key): [translated_filter(each) for each in value]
        if key in ("$and", "$or", "$nor") and isinstance(value, (list, tuple))
        else translated_filter(value)
        if key == "$not"
        else value
        for key, value in found.items()
    }


def translated_order(order: str) -> str:
    """The same order for the server; `+` and `-` stay."""
    bare = order.lstrip("+-")
    return f"{'-' if order.startswith('-') else ''}{_translated(bare)}"


def _translated(name: str) -> str:
    return "run" if name == "name" else name
