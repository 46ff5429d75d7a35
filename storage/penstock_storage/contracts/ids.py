"""Types for numbers with a meaning, so that mypy distinguishes runs from keys, and times from counts."""

from __future__ import annotations

from typing import NamedTuple, NewType

__all__ = ["KeyNumber", "Lane", "Micros", "RunNumber", "SeriesId"]

Micros = NewType("Micros", int)
"""A time: microseconds since 1970 UTC."""

RunNumber = NewType("RunNumber", int)
"""A run in the point store: 32 bits, assigned once by the catalog."""

KeyNumber = NewType("KeyNumber", int)
"""A key of a project in the point store: 32 bits, assigned once by the catalog."""

Lane = NewType("Lane", int)
"""A writer within its run: 16 bits, counted from 0."""


class SeriesId(NamedTuple):
    """The points of one key in one run and lane."""

    key: int
    run: int
    lane: int
