"""What earlier owners of a shard left of their tiers: long series, with their watermarks, and buckets that
are dirty."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = [
    "DirtyBucket",
    "LongSeries",
    "read_dirty_buckets",
    "read_long_series",
    "read_unfinished_runs",
]

_MIN_SPAN = 4_096
"""Steps that a series must span for its watermark to be worth knowing."""

# Runs with dirty buckets, or with series whose tiers end before they do.
_UNFINISHED = f"""
SELECT r.id AS run, r.name AS name, p.name AS project
FROM (SELECT id, name, project FROM {DATABASE}.names FINAL WHERE kind = 'run') AS r
JOIN (SELECT id, name FROM {DATABASE}.names FINAL WHERE kind = 'project') AS p ON p.id = r.project
WHERE r.id IN (
    SELECT run FROM {DATABASE}.dirty FINAL WHERE dirty = 1
    UNION DISTINCT
    SELECT run FROM (
        SELECT run, min(first_step) AS a, max(last_step) AS z, max(tiered) AS t
        FROM {DATABASE}.series GROUP BY run, key, lane
    ) WHERE z - a >= 8192 AND z >= t
)
"""


class LongSeries(NamedTuple):
    """A series with its range of steps (inclusive) and its watermark, `tiered`."""

    key: int
    run: int
    lane: int
    first_step: int
    last_step: int
    tiered: int


class DirtyBucket(NamedTuple):
    """A bucket of the narrowest width whose tier row is older than its points."""

    key: int
    run: int
    lane: int
    bucket: int


async def read_unfinished_runs(store: PointStore) -> dict[int, str]:
    """The runs with tiers to build, each with its path (entity/project/run)."""
    found = await store.query(_UNFINISHED)
    columns = (found[name] for name in ("run", "name", "project"))
    return {
        int(run): f"{project}/{name}" for run, name, project in zip(*columns, strict=True)
    }  # fmt: skip


async def read_long_series(store: PointStore, runs: Collection[int]) -> list[LongSeries]:
    """The series of these runs that are long enough to have tiers."""
    found = await store.query(
        "SELECT key, run, lane, min(first_step) AS first, max(last_step) AS last, "
        f"max(tiered) AS below FROM {DATABASE}.series WHERE run IN {{runs:Array(UInt32)}} "
        f"GROUP BY key, run, lane HAVING last - first >= {_MIN_SPAN}",
        {"runs": list(runs)},
    )
    columns = (found[name] for name in ("key", "run", "lane", "first", "last", "below"))
    return [LongSeries(*map(int, row)) for row in zip(*columns, strict=True)]


async def read_dirty_buckets(store: PointStore, runs: Collection[int]) -> list[DirtyBucket]:
    """The buckets of these runs that are dirty."""
    found = await store.query(
        f"SELECT key, run, lane, bucket FROM {DATABASE}.dirty FINAL "
        "WHERE dirty = 1 AND run IN {runs:Array(UInt32)}",
        {"runs": list(runs)},
    )
    columns = (found[name] for name in ("key", "run", "lane", "bucket"))
    return [DirtyBucket(*map(int, row)) for row in zip(*columns, strict=True)]
