"""Whether the tiers in a store are what its points say."""

from __future__ import annotations

import asyncio

import numpy as np

from penstock_storage.clickhouse.client import ClickHouse

__all__ = ["tiers_settled", "wrong_tiers"]


async def wrong_tiers(points: ClickHouse) -> tuple[dict[int, int], int]:
    """(tier rows by shift, those that differ from a rebuild), where rows may be trusted."""
    found = await points.query(
        "WITH rebuilt AS (SELECT key, run, lane, arrayJoin([8, 11, 14, 17]) AS shift, "
        "bitShiftRight(step, shift) AS bucket, "
        "minIf(v, isFinite(v)) AS lo, maxIf(v, isFinite(v)) AS hi, countIf(isFinite(v)) AS n, "
        "sumIf(v, isFinite(v)) AS total, "
        "countIf(not isFinite(v)) AS bad, min(step) AS a, max(step) AS z, "
        "argMin(v, step) AS oldest, argMax(v, step) AS newest "
        "FROM penstock.points FINAL GROUP BY key, run, lane, shift, bucket), "
        "marks AS (SELECT run, key, lane, max(tiered) AS below FROM penstock.series "
        "GROUP BY run, key, lane) "
        "SELECT toUInt8(b.shift) AS shift, count() AS tiers, countIf("
        "t.ver = 0 OR t.min != lo OR t.max != hi OR t.count != n OR abs(t.sum - total) > 1e-6 OR "
        "t.non_finite != bad OR first_step != a OR last_step != z OR "
        "reinterpretAsInt64(t.first) != reinterpretAsInt64(oldest) OR "
        "reinterpretAsInt64(t.last) != reinterpretAsInt64(newest)) AS wrong "
        "FROM rebuilt AS b JOIN marks AS m "
        "ON m.run = b.run AND m.key = b.key AND m.lane = b.lane "
        "LEFT JOIN (SELECT * FROM penstock.tiers FINAL) AS t ON b.key = t.key AND b.run = t.run "
        "AND b.lane = t.lane AND b.bucket = t.bucket AND b.shift = t.shift "
        "WHERE bitShiftLeft(b.bucket + 1, b.shift) <= m.below GROUP BY shift"
    )
    shifts, tiers = (list(map(int, found[name])) for name in ("shift", "tiers"))
    return dict(zip(shifts, tiers, strict=True)), int(np.sum(found["wrong"]))


async def tiers_settled(points: ClickHouse) -> None:
    """Wait until every series that is long has tiers to its end and no bucket is dirty."""

    async def settled() -> bool:
        found = await points.query(
            "SELECT (SELECT count() FROM penstock.dirty FINAL WHERE dirty = 1) AS dirty, "
            "(SELECT countIf(t <= z AND z - a >= 8192) FROM (SELECT max(tiered) AS t, "
            "max(last_step) AS z, min(first_step) AS a "
            "FROM penstock.series GROUP BY run, key, lane)) AS short"
        )
        return not np.asarray(found["dirty"])[0] and not np.asarray(found["short"])[0]

    async with asyncio.timeout(60):
        while not await settled():
            await asyncio.sleep(0.1)
