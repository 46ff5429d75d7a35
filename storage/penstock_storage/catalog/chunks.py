"""Splits many values into chunks that every database accepts in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["chunks"]

T = TypeVar("T")

_CHUNK = 2_000  # SQLite accepts 32,766 values in a statement, PostgreSQL's driver 32,767


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
