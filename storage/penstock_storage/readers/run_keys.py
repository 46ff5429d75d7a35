"""Which keys a run has logged: counted from the series alone, which is cheap, or listed with those of
values (texts, media)."""

from __future__ import annotations

from collections.abc import Sequence

from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["count_run_keys", "list_run_keys"]

_COUNTS = f"""
SELECT run, uniqExact(key) AS keys FROM {DATABASE}.series
WHERE run IN {{runs:Array(UInt32)}} GROUP BY run
"""
_LISTED = f"""
SELECT DISTINCT key FROM {DATABASE}.series WHERE run = {{run:UInt32}}
UNION DISTINCT
SELECT DISTINCT key FROM {DATABASE}.values WHERE run = {{run:UInt32}}
"""


async def count_run_keys(store: PointStore, runs: Sequence[int]) -> dict[int, int]:
    """How many keys with points each of these runs has, by run number; runs without any are absent."""
    found = await store.query(_COUNTS, {"runs": runs})
    return {int(run): int(keys) for run, keys in zip(found["run"], found["keys"], strict=True)}


async def list_run_keys(store: PointStore, run: int) -> list[int]:
    """The numbers of all keys of a run, with points or with values."""
    found = await store.query(_LISTED, {"run": run})
    return [int(key) for key in found["key"]]
