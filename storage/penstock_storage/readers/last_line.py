"""How many steps a run has logged up to one of them, and what the last one holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["LastLine", "read_last_line"]

_ROWS = "run = {run:UInt32} AND has({lanes:Array(UInt16)}, lane) AND step <= {step:Int64}"


class LastLine(NamedTuple):
    """The number of steps, the time (µs) of the last one, and a key's value at the last step that has it."""

    lines: int
    at: int
    value: float


async def read_last_line(
    store: PointStore, run: int, lanes: Sequence[int], step: int, key: int
) -> LastLine | None:
    """What these lanes of a run logged up to `step`, None if nothing; the value is that of `key` (0.0 if
    it has none), of repeats the one sent last. Raises the store's errors."""
    names = {"run": run, "lanes": lanes, "step": step, "key": key}
    times, values = await asyncio.gather(
        store.query(
            "SELECT uniqExact(step) AS lines, argMax(t, (step, seq)) AS at"
            f" FROM {DATABASE}.times WHERE {_ROWS}",
            names,
        ),
        store.query(
            "SELECT argMax(v, (step, seq)) AS value"
            f" FROM {DATABASE}.points WHERE key = {{key:UInt32}} AND {_ROWS}",
            names,
        ),
    )
    lines = int(times["lines"][0]) if times else 0
    if not lines:
        return None
    return LastLine(lines, int(times["at"][0]), float(values["value"][0]) if values else 0.0)
