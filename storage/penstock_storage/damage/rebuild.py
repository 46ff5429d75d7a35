"""Rebuilds tables that can be derived: from points, and from the catalog."""

from __future__ import annotations

from collections.abc import Collection

from penstock_storage.charts.series import NEVER, int_list
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.clickhouse.tiers import TIER_SHIFT
from penstock_storage.contracts.catalog import NameCatalog
from penstock_storage.contracts.interface import PointStore
from penstock_storage.names import record

__all__ = ["rebuild_names", "rebuild_series", "rebuild_tiers"]

_SETTINGS = "SETTINGS max_bytes_before_external_group_by = 268435456"


async def rebuild_names(store: PointStore, catalog: NameCatalog) -> int:
    """Record the names that the catalog knows and the store does not; returns how many."""
    found = await store.query(f"SELECT DISTINCT kind, id, project, name FROM {DATABASE}.names")
    columns = (found[name] for name in ("kind", "id", "project", "name"))
    known = {(kind, int(n), int(p), name) for kind, n, p, name in zip(*columns, strict=True)}
    missing = [name for name in await catalog.all_names() if name not in known]
    await record(store, missing)
    return len(missing)


async def rebuild_series(store: PointStore) -> None:
    """Rebuild the span of every series from its points. A completely lost series has no tiers any more,
    and counts as integers if all of its values are."""
    await store.execute(
        f"INSERT INTO {DATABASE}.series (run, key, lane, first_step, last_step, last, kinds, tiered)"
        " SELECT run, key, lane, min(step), max(step),"
        " tuple(bitShiftLeft(toUInt64(max(seq)), 32), argMax(v, (seq, step))),"
        f" if((run, key, lane) IN (SELECT run, key, lane FROM {DATABASE}.series), 0,"
        " if(countIf(v != floor(v) OR NOT isFinite(v)) = 0, 2, 1)),"
        f" toInt64({NEVER}) FROM {DATABASE}.points GROUP BY run, key, lane {_SETTINGS}"
    )


async def rebuild_tiers(store: PointStore, runs: Collection[int] | None = None) -> None:
    """Have the tiers of these runs (None: of all) rebuilt from their points.

    Every bucket below a watermark becomes dirty, so that it is read from points until it is rebuilt.
    Then the rows of buckets without points are deleted. A dirty row is a little newer than the last
    one of its bucket, and older than any that a worker will write.
    """
    among = "" if runs is None else f" AND run IN ({int_list(runs)})"
    await store.execute(
        f"INSERT INTO {DATABASE}.dirty (key, run, lane, shift, bucket, dirty, ver)"
        f" SELECT b.key, b.run, b.lane, {TIER_SHIFT}, b.bucket, 1, toUInt64(ifNull(d.ver, 0) + 1) FROM"
        f" (SELECT p.key AS key, p.run AS run, p.lane AS lane,"
        f" bitShiftRight(p.step, {TIER_SHIFT}) AS bucket FROM {DATABASE}.points AS p"
        " JOIN (SELECT run, key, lane, max(tiered) AS below"
        f" FROM {DATABASE}.series WHERE 1{among} GROUP BY run, key, lane HAVING below > {NEVER}) AS s"
        " ON p.key = s.key AND p.run = s.run AND p.lane = s.lane"
        f" WHERE p.step < s.below{among.replace('run', 'p.run')}"
        " GROUP BY key, run, lane, bucket) AS b"
        f" LEFT JOIN (SELECT key, run, lane, bucket, max(ver) AS ver FROM {DATABASE}.dirty"
        f" WHERE shift = {TIER_SHIFT}{among} GROUP BY key, run, lane, bucket) AS d"
        " ON d.key = b.key AND d.run = b.run AND d.lane = b.lane AND d.bucket = b.bucket"
        f" {_SETTINGS}"
    )
    if runs:
        await store.execute(
            f"ALTER TABLE {DATABASE}.tiers DELETE WHERE run IN ({int_list(runs)})"
            " SETTINGS mutations_sync = 1"
        )
