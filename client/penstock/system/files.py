"""Reads the small files of /proc and /sys: never raises, never reads much, costs a few microseconds."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["names_in", "number", "read"]

_MAX_BYTES = 1 << 20


def read(path: str | Path) -> str:
    """The contents; empty if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        parts = []
        size = 0
        while size < _MAX_BYTES and (part := os.read(fd, 1 << 16)):
            parts.append(part)
            size += len(part)
        return b"".join(parts).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def number(path: str | Path) -> float | None:
    """The number that a file starts with; None if there is none, as in `max`."""
    words = read(path).split(None, 1)
    try:
        return float(words[0]) if words else None
    except ValueError:
        return None


def names_in(folder: str | Path) -> list[str]:
    """The sorted names in a folder; none if it cannot be read."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (names are enough, and cheaper)
    except OSError:
        return []
