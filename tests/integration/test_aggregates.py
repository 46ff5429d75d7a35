"""The declared aggregates in SQL equal those in numpy, over points and over rows."""

from __future__ import annotations

import numpy as np
import pytest

from penstock_storage.clickhouse.aggregates import (
    AGGREGATES,
    BucketPoints,
    named,
    sql_of_points,
    sql_of_rows,
)
from penstock_storage.clickhouse.client import ClickHouse

pytestmark = pytest.mark.asyncio(loop_scope="module")

V = [1.0, np.nan, 3.5, -2.0, np.inf, -np.inf, 7.0, 0.5]
OF_POINTS = named(
    sql_of_points(
        AGGREGATES.values(), step="p.step", v="p.v", finite="isFinite(p.v)", place="p.step"
    )
)
OF_ROWS = named(sql_of_rows(AGGREGATES.values(), row="r", place="r.last_step"))


async def test_sql_and_numpy_agree(store: ClickHouse) -> None:
    listed = ", ".join(repr(each) for each in V)
    points = f"(SELECT toInt64(number) AS step, [{listed}][number + 1] AS v FROM numbers({len(V)}))"
    fine = f"(SELECT intDiv(p.step, 2) AS bucket, {OF_POINTS} FROM {points} AS p GROUP BY bucket)"
    for sql, width in (
        (f"SELECT intDiv(p.step, 4) AS wide, {OF_POINTS} FROM {points} AS p", 4),
        (f"SELECT intDiv(r.bucket, 2) AS wide, {OF_ROWS} FROM {fine} AS r", 4),
    ):
        found = await store.query(f"{sql} GROUP BY wide ORDER BY wide")
        starts = np.arange(0, len(V), width)
        whole = BucketPoints.of(np.arange(len(V)), np.array(V), starts, starts + width - 1)
        for name, each in AGGREGATES.items():
            np.testing.assert_array_equal(np.asarray(found[name]), each.fold(whole), err_msg=name)
