"""A run for tests of `watch`: real rows in a real spool, without a server or a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.logged_values import LoggedValues
from support.spools import points_in, read_batch

from penstock.settings import Settings
from penstock.values.slowpath import SlowPath

__all__ = ["WatchedRun"]


class WatchedRun:
    """What `watch` uses of a run, and what arrives."""

    def __init__(self, root: Path) -> None:
        self.logged = LoggedValues(root)
        self.settings = Settings()
        self.finished = False
        self.disabled = False
        self.is_kept = True
        slow_path = self.logged.writer._slow_path
        assert isinstance(slow_path, SlowPath)
        self._slow_path = slow_path

    def log(self, row: dict[str, Any]) -> None:
        self.logged.writer.log(row)

    def values(self) -> dict[str, Any]:
        """By key, the last value."""
        return self.logged.values()

    def series(self, key: str) -> dict[int, Any]:
        """By step, the numbers of a key."""
        self.logged.drain()
        points = points_in(self.logged.writer.spool().folder)
        return {step: value for (name, step), value in points.items() if name == key}

    def histograms(self, key: str) -> list[int]:
        """The steps at which a key has a histogram."""
        self.logged.drain()
        records = read_batch(self.logged.writer.spool().folder).records
        return [each["step"] for each in records if each["t"] == "value" and each["key"] == key]
