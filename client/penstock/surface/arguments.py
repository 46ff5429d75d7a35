"""Arguments of W&B's functions that have no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.notices import NOTICES
from penstock.surface.logging_names import ARGUMENTS

__all__ = ["note_arguments"]


def note_arguments(function: str, given: Mapping[str, Any]) -> None:
    """Say once for each argument that is set that it has no effect, and why."""
    table = ARGUMENTS.get(function, {})
    for argument, value in given.items():
        if value is None or value is False:
            continue
        known = table.get(argument)
        why = f": {known.about}" if known is not None else " in Penstock"
        NOTICES.warn(f"argument {argument}", f"{function}(): {argument!r} has no effect{why}")
