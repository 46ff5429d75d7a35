"""Which keys the runs in the store have: counted, which is cheap, or listed."""

from __future__ import annotations

from collections.abc import Collection

from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["count_keys", "list_keys"]


async def count_keys(store: PointStore, runs: Collection[int]) -> dict[int, int]:
    """How many keys with numbers each of these runs has; runs without any are absent."""
    found = await store.query(
        f"SELECT run, uniqExact(key) AS keys FROM {DATABASE}.series"
        " WHERE run IN {runs:Array(UInt32)} GROUP BY run",
        {"runs": list(runs)},
    )
    return {
        int(run): int(keys) for run, keys in zip(found["run"], found["keys"], strict=True)
    }  # fmt: skip


async def list_keys(store: PointStore, run: int) -> list[int]:
    """The numbers of all keys of a run, those of values (texts, media) too."""
    found = await store.query(
        f"SELECT DISTINCT key FROM {DATABASE}.series WHERE run = {{run:UInt32}}"
        " UNION DISTINCT"
        f" SELECT DISTINCT key FROM {DATABASE}.values WHERE run = {{run:UInt32}}",
        {"run": run},
    )
    return [int(key) for key in found["key"]]
