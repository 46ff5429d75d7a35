"""The store's side of the delivery ledger: what it holds of each writer of a run, counted and hashed.

Everything is read from the rows themselves, never from positions in the queue or from records of
commits. The hashes are sums, so they need neither order nor memory, and anyone with the data can
compute them: `penstock.shipper.sums` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from penstock_storage.charts.series import select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns, LaneRow, PointStore

__all__ = ["KeySum", "StoredBatches", "WriterLedger", "read_batches", "read_sums", "read_writers"]

_POINT_HASH = "sum(intHash64(bitXor(reinterpretAsUInt64(v), intHash64(reinterpretAsUInt64(step)))))"
_VALUE_HASH = (
    "sum(reinterpretAsUInt64(substring(MD5(concat(toString(step), ' ', kind, ' ', json)), 1, 8)))"
)


@dataclass(frozen=True, slots=True)
class WriterLedger:
    """One writer. `low`, `gaps` and `dead` are its durable position, None if the store has none;
    `duplicates` are points that a reader would see twice."""

    lane: LaneRow
    low: int | None
    gaps: Sequence[int]
    dead: Sequence[int]
    batches: int
    sent: int
    stored: int
    duplicates: int
    values: int


@dataclass(frozen=True, slots=True)
class StoredBatches:
    """The batches of one writer as columns, ordered by number. A digest is 16 hexadecimal digits."""

    seq: list[int]
    digest: list[str]
    points: list[int]
    records: list[int]


@dataclass(frozen=True, slots=True)
class KeySum:
    """The number of a key's points (or values) in a lane, and the sum of their hashes."""

    key: int
    count: int
    hash: str


async def read_writers(
    store: PointStore, run: int, lanes: Sequence[LaneRow], keys: Mapping[str, int]
) -> list[WriterLedger]:
    """The ledger of a run's writers. `keys` are the project's: points cannot have others."""
    run = int(run)
    applied, batches, points, values = await asyncio.gather(
        _by(store, "writer", f"writer, low, gaps, dead FROM {DATABASE}.applied FINAL WHERE run = {run}"),
        _by(
            store,
            "lane",
            "lane, count() AS batches, sum(b.points) AS sent"
            f" FROM {DATABASE}.batches AS b FINAL WHERE run = {run} GROUP BY lane",
        ),
        _by(
            store,
            "lane",
            # A bitmap, because a set of the steps of a long series would not fit into memory.
            "lane, sum(n) AS stored, sum(n - steps) AS duplicates FROM (SELECT key, lane, count() AS n,"
            " groupBitmap(reinterpretAsUInt64(step)) AS steps"
            f" FROM {DATABASE}.points FINAL PREWHERE {_range(keys)} AND run = {run}"
            " GROUP BY key, lane) GROUP BY lane",
        ),
        _by(
            store,
            "lane",
            f"lane, count() AS stored FROM {DATABASE}.values FINAL"
            f" PREWHERE {_range(keys)} AND run = {run} GROUP BY lane",
        ),
    )  # fmt: skip
    found = []
    for lane in lanes:
        position = applied.get(lane.writer, {})
        sent, own = batches.get(lane.lane, {}), points.get(lane.lane, {})
        found.append(
            WriterLedger(
                lane,
                low=position.get("low"),
                gaps=_ints(position.get("gaps", ())),
                dead=_ints(position.get("dead", ())),
                batches=sent.get("batches", 0),
                sent=sent.get("sent", 0),
                stored=own.get("stored", 0),
                duplicates=own.get("duplicates", 0),
                values=values.get(lane.lane, {}).get("stored", 0),
            )
        )
    return found


async def read_batches(
    store: PointStore, run: int, lane: int, after: int, limit: int
) -> StoredBatches:
    """The batches of a lane with numbers above `after`, at most `limit`."""
    found = await select(
        store,
        f"SELECT seq, digest, points, records FROM {DATABASE}.batches FINAL"
        f" WHERE run = {int(run)} AND lane = {int(lane)} AND seq > {int(after)}"
        f" ORDER BY seq LIMIT {int(limit)}",
    )
    return StoredBatches(
        _list(found, "seq"),
        [f"{digest:016x}" for digest in _list(found, "digest")],
        _list(found, "points"),
        _list(found, "records"),
    )


async def read_sums(
    store: PointStore,
    table: Literal["points", "values"],
    run: int,
    lane: int,
    keys: Mapping[str, int],
    after: int,
    limit: int,
) -> list[KeySum]:
    """Count and hash of each key of a lane, by number, after `after`, at most `limit`.

    A point's hash is intHash64(bits of v ^ intHash64(step)), a value's the first 8 bytes of MD5 of
    "step kind json"; they are added modulo 2^64.
    """
    found = await select(
        store,
        f"SELECT key, count() AS count, {_POINT_HASH if table == 'points' else _VALUE_HASH} AS hash"
        f" FROM {DATABASE}.{table} FINAL PREWHERE {_range(keys)} AND key > {int(after)}"
        f" AND run = {int(run)} AND lane = {int(lane)} GROUP BY key ORDER BY key LIMIT {int(limit)}",
    )
    rows = zip(_list(found, "key"), _list(found, "count"), _list(found, "hash"), strict=True)
    return [KeySum(key, count, f"{hashed:016x}") for key, count, hashed in rows]


def _range(keys: Mapping[str, int]) -> str:
    """All numbers between the project's first and last key, not only the known ones: unexpected rows are
    searched for too."""
    return f"key BETWEEN {min(keys.values(), default=1)} AND {max(keys.values(), default=0)}"


async def _by(store: PointStore, name: str, sql: str) -> dict[Any, dict[str, Any]]:
    """The rows of a query by a unique column."""
    columns = await select(store, f"SELECT {sql}")
    lists = {each: _list(columns, each) for each in columns}
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return {row[name]: row for row in rows}


def _list(columns: Columns, name: str) -> list[Any]:
    column = columns.get(name, [])
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _ints(values: Sequence[Any]) -> list[int]:
    return [int(value) for value in values]
