"""A writer, and what arrives of the rows that it is given."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from support.spools import new_writer, points_in, read_batch

from penstock.spool.writer import Writer
from penstock.values.slowpath import SlowPath

__all__ = ["LoggedValues", "check_histogram"]


class LoggedValues:
    """What arrives of rows."""

    def __init__(self, root: Path) -> None:
        self.writer: Writer = new_writer(root)
        self._folder = self.writer.spool().folder

    def values(self) -> dict[str, Any]:
        """By key, what was logged last: numbers, and other values as their JSON says."""
        self.drain()
        found: dict[str, Any] = {key: value for (key, _), value in points_in(self._folder).items()}
        for record in read_batch(self._folder).records:
            if record["t"] == "value":
                found[record["key"]] = json.loads(record["json"])
        return found

    def notices(self) -> dict[str, str]:
        self.drain()
        slow_path = self.writer._slow_path
        assert isinstance(slow_path, SlowPath)
        slow_path.repairs.flush()
        records = [each for each in read_batch(self._folder).records if each["t"] == "run"]
        return {
            name.removeprefix("notice "): text
            for record in records
            for name, text in record.items()
            if name != "t"
        }

    def drain(self) -> None:
        slow_path = self.writer._slow_path
        assert isinstance(slow_path, SlowPath)
        assert slow_path.drain(30)


def check_histogram(found: dict[str, Any], elements: int) -> None:
    """Raises unless this value is a histogram of `elements` elements; -1 stands for any number of them."""
    assert found["_type"] == "histogram"
    counts, bins = found["values"], found["bins"]
    assert len(counts) == 64
    assert all(left < right for left, right in itertools.pairwise(bins))
    assert sum(counts) == elements or (elements < 0 < sum(counts))
