"""Tiers (rollups): rows that each aggregate a bucket of 2^shift steps of one series, at a few widths.

Owns the widths and how coarser rows are made. A row of width s is valid while the whole bucket lies
below the series' watermark and none of its 2^8-step buckets is dirty; so one watermark and one kind of
dirty row serve all widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from penstock_storage.clickhouse.aggregates import AGGREGATES, sql_of_rows, stored
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["TIER_SHIFT", "TIER_SHIFTS", "build_coarser"]

TIER_SHIFTS = (8, 11, 14, 17)
"""A chart with 2^s-step buckets reads the widest tier that is not wider: at most four rows for each
bucket up to 2^19 steps, at the price of 14 % more tier rows than a single width would have."""

TIER_SHIFT = TIER_SHIFTS[0]
"""The narrowest: built from points; the others are folded from the next narrower one."""

_ROWS_PER_STATEMENT = 2_000_000


async def build_coarser(store: PointStore) -> None:
    """Add the coarser rows to a store that has only the narrowest. May be repeated or interrupted: each
    row is a function of the rows that it aggregates, and replaces itself."""
    for finer, coarser in pairwise(TIER_SHIFTS):
        counts = await store.query(
            f"SELECT key, count() AS rows FROM {DATABASE}.tiers WHERE shift = {finer}"
            " GROUP BY key ORDER BY key"
        )
        keys, rows = (list(map(int, counts[name])) for name in ("key", "rows"))
        for first, last in _batches(keys, rows):
            await store.execute(_coarser_statement(finer, coarser, first, last))


def _batches(keys: Sequence[int], rows: Sequence[int]) -> list[tuple[int, int]]:
    """(first, last) key of groups of keys with a bounded total number of rows."""
    batches: list[tuple[int, int]] = []
    total = _ROWS_PER_STATEMENT + 1
    for key, count in zip(keys, rows, strict=True):
        total += count
        if total > _ROWS_PER_STATEMENT:
            batches.append((key, key))
            total = count
        batches[-1] = (batches[-1][0], key)
    return batches


def _coarser_statement(finer: int, coarser: int, first_key: int, last_key: int) -> str:
    aggregates = stored(sql_of_rows(AGGREGATES.values(), row="t", place="t.last_step"))
    return (
        f"INSERT INTO {DATABASE}.tiers"
        f" SELECT key, run, lane, {coarser}, bitShiftRight(t.bucket, {coarser - finer}) AS wide,"
        f" {', '.join(aggregates.values())}, max(t.ver)"
        f" FROM {DATABASE}.tiers AS t FINAL"
        f" WHERE shift = {finer} AND key BETWEEN {first_key} AND {last_key}"
        " GROUP BY key, run, lane, wide"
    )
