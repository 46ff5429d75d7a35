"""Batches whose rows a damaged store has lost: found by what is left, recorded, counted.

`batches` has the counts of each batch; each row of `points`, `times`, `values` and `console` has the
number of its batch. Rows that a client sends again are found to be back.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstock_storage.charts.series import int_list
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.commits.positions import PositionRow, insert_positions
from penstock_storage.contracts.interface import Columns, PointStore
from penstock_storage.names import GONE

__all__ = [
    "Loss",
    "find_lost_batches",
    "find_lost_ends",
    "find_unrecorded",
    "lower_positions",
    "note_found",
    "note_lost",
    "position_of",
    "rebuild_positions",
    "unfound",
    "without",
]  # fmt: skip

_BATCHES_PER_INSERT = 500_000
_RUNS_PER_STATEMENT = 1_000
_BATCH = ("run", "lane", "seq")
_POSITION = ("run", "lane", "writer", "low", "gaps", "dead", "ver")
_WRITTEN_SINCE = (
    f"SELECT DISTINCT run FROM {DATABASE}.batches WHERE _part IN (SELECT name FROM system.parts"
    f" WHERE database = '{DATABASE}' AND table = 'batches' AND active"
    " AND toUnixTimestamp(modification_time) >= {})"  # merges create new parts from old ones
)
# Deleted or moved runs are no loss.
_STORED = (
    "(SELECT run, lane, seq, toInt64(points) AS points, toInt64(records) AS records"
    f" FROM {DATABASE}.batches FINAL"
    f" WHERE run NOT IN (SELECT id FROM {DATABASE}.names WHERE kind = '{GONE}')) AS b"
    f" JOIN (SELECT run, lane, low, gaps FROM {DATABASE}.applied FINAL) AS a"
    " ON a.run = b.run AND a.lane = b.lane"
)
_IS_COMMITTED = "(b.seq <= a.low OR has(a.gaps, b.seq))"
_SETTINGS = "SETTINGS join_algorithm = 'auto', max_bytes_before_external_group_by = 268435456"

_MISSING = {
    # Rows of a batch may have been replaced by another batch, so a few missing rows mean no loss: a
    # lost part takes all rows of a batch with it. After a partial rescue, any number may be missing.
    "points": ("b.points > 0 AND n = 0", "b.points > n", "b.points - n, 0"),
    "times": ("b.points > 0 AND n = 0", "b.points > 0 AND n = 0", "0, 0"),
    "values": ("b.records > 0 AND n = 0", "b.records > n", "0, b.records - n"),
    "console": ("b.records > 0 AND n = 0", "b.records > n", "0, b.records - n"),
}


@dataclass(frozen=True, slots=True)
class Loss:
    """The losses of a run: upper bounds for points and records, and the number of batches."""

    run: int
    batches: int
    points: int
    records: int


async def find_lost_batches(store: PointStore, table: str, *, in_part: bool = False) -> Columns:
    """The committed batches without rows in this table, which has lost some: (run, lane, seq, points,
    records). `in_part` if damaged parts of it were partially rescued.

    A batch whose steps were all logged again later has no rows left either: a false positive.
    """
    whole, some, missing = _MISSING[table]
    points, records = missing.split(", ")
    return await _confirmed(
        store,
        f"SELECT b.run AS run, b.lane AS lane, b.seq AS seq, toUInt32({points}) AS points,"
        f" toUInt32({records}) AS records FROM {_STORED}"
        f" LEFT JOIN (SELECT run, lane, seq, toInt64(count()) AS n FROM {DATABASE}.{table}"
        " GROUP BY run, lane, seq) AS s"
        " ON s.run = b.run AND s.lane = b.lane AND s.seq = b.seq"
        f" WHERE {_IS_COMMITTED} AND ({some if in_part else whole}) {_SETTINGS}",
    )


async def find_lost_ends(store: PointStore, table: str, since_s: int) -> Columns:
    """The committed batches after the last row of their writer in this table, among runs that were
    written to since this time. Nothing can have replaced their rows.

    Other processes write meanwhile, and a batch is committed after its rows are stored. So the
    positions are read first, and each statement uses the runs found by the first one.
    """
    written = await store.query(_WRITTEN_SINCE.format(since_s))
    runs = np.unique(np.asarray(written["run"], np.int64)).tolist()
    parts = [
        await _lost_ends_of(store, table, int_list(runs[start : start + _RUNS_PER_STATEMENT]))
        for start in range(0, len(runs), _RUNS_PER_STATEMENT)
    ]
    return {
        name: np.concatenate([np.empty(0, np.int64), *(part[name] for part in parts)])
        for name in (*_BATCH, "points", "records")
    }


async def _lost_ends_of(
    store: PointStore, table: str, runs: str
) -> dict[str, npt.NDArray[np.int64]]:
    committed = await store.query(
        "SELECT b.run AS run, b.lane AS lane, b.seq AS seq, b.points AS points, toInt64(0) AS records"
        f" FROM {_STORED} WHERE b.run IN ({runs}) AND {_IS_COMMITTED} AND b.points > 0 {_SETTINGS}"
    )
    there = await store.query(
        f"SELECT run, lane, max(seq) AS top FROM {DATABASE}.{table} WHERE run IN ({runs})"
        " GROUP BY run, lane"
    )
    names = zip(*(np.asarray(there[name]).tolist() for name in ("run", "lane")), strict=True)
    tops = dict(zip(names, np.asarray(there["top"]).tolist(), strict=True))
    batches = {name: np.asarray(column, np.int64) for name, column in committed.items()}
    lanes = zip(batches["run"].tolist(), batches["lane"].tolist(), strict=True)
    top = np.array([tops.get(lane, 0) for lane in lanes], np.int64)
    return {name: column[batches["seq"] > top] for name, column in batches.items()}


async def find_unrecorded(store: PointStore) -> Columns:
    """Numbers that are in `applied`, but not in `batches`."""
    return await _confirmed(
        store,
        "SELECT a.run AS run, a.lane AS lane, toUInt32(seq) AS seq, toUInt32(0) AS points,"
        " toUInt32(0) AS records FROM ("
        " SELECT run, lane, arrayJoin(arrayConcat(arrayMap(x -> toUInt32(x), range(1, low + 1)), gaps))"
        f" AS seq FROM {DATABASE}.applied FINAL) AS a"
        f" LEFT ANTI JOIN {DATABASE}.batches AS b USING (run, lane, seq) {_SETTINGS}",
    )


async def _confirmed(store: PointStore, statement: str) -> Columns:
    """The batches that a statement finds twice. While other workers write, it may read a position that is
    newer than the rows that it has read; when it reads again, those rows are there."""
    first, again = await store.query(statement), {}
    if len(first["run"]):
        again = await store.query(statement)
    if not again or not len(again["run"]):
        return {name: np.asarray(column)[:0] for name, column in first.items()}
    known = set(zip(*(np.asarray(first[name]).tolist() for name in _BATCH), strict=True))
    names = zip(*(np.asarray(again[name]).tolist() for name in _BATCH), strict=True)
    is_known = np.array([name in known for name in names], np.bool_)
    return {name: np.asarray(column)[is_known] for name, column in again.items()}


async def note_lost(store: PointStore, batches: Columns) -> None:
    """Record that the store has lost the points of these batches."""
    await _note(store, batches, found=False)


async def note_found(store: PointStore) -> int:
    """Record which of them were sent again; returns how many."""
    found = await store.query(
        "SELECT l.run AS run, l.lane AS lane, l.seq AS seq, l.points AS points, l.records AS records"
        f" FROM (SELECT * FROM {DATABASE}.lost FINAL WHERE found = 0) AS l"
        f" JOIN (SELECT run, lane, seq, points FROM {DATABASE}.batches FINAL) AS b"
        " USING (run, lane, seq)"
        f" JOIN (SELECT run, lane, seq, toInt64(count()) AS n FROM {DATABASE}.points"
        f" WHERE run IN (SELECT run FROM {DATABASE}.lost FINAL WHERE found = 0)"
        " GROUP BY run, lane, seq) AS s USING (run, lane, seq)"
        f" WHERE s.n > toInt64(b.points) - toInt64(l.points) {_SETTINGS}"
    )
    await _note(store, found, found=True)
    return len(found["run"])


async def unfound(store: PointStore) -> list[Loss]:
    """The losses of each run that have not come back."""
    found = await store.query(
        "SELECT run, toUInt64(count()) AS batches, toUInt64(sum(points)) AS points,"
        f" toUInt64(sum(records)) AS records FROM {DATABASE}.lost FINAL WHERE found = 0 GROUP BY run"
    )
    columns = (found[name] for name in ("run", "batches", "points", "records"))
    return [Loss(*map(int, row)) for row in zip(*columns, strict=True)]


async def lower_positions(store: PointStore, batches: Columns) -> None:
    """Remove these batches from their writers' positions, so that repeats of them are accepted."""
    lost: dict[tuple[int, int], set[int]] = {}
    for run, lane, seq in zip(*(batches[name] for name in _BATCH), strict=True):
        lost.setdefault((int(run), int(lane)), set()).add(int(seq))
    numbers = sorted({run for run, _ in lost})
    for start in range(0, len(numbers), _RUNS_PER_STATEMENT):
        positions = await store.query(
            f"SELECT run, lane, writer, low, gaps, dead, ver FROM {DATABASE}.applied FINAL"
            " WHERE run IN {runs:Array(UInt32)}",
            {"runs": numbers[start : start + _RUNS_PER_STATEMENT]},
        )
        rows = []
        for run, lane, writer, low, gaps, dead, ver in zip(
            *(positions[name] for name in _POSITION), strict=True
        ):
            gone = lost.get((int(run), int(lane)), set())
            lower, kept = without(int(low), map(int, gaps), gone)
            if lower < int(low) or len(kept) < len(gaps):
                dead_left = [int(each) for each in dead]
                rows.append(
                    PositionRow(int(run), int(lane), writer, lower, kept, dead_left, int(ver) + 1)
                )
        if rows:
            await insert_positions(store, rows)


async def rebuild_positions(store: PointStore) -> None:
    """Rebuild lost positions from the batches whose points are stored."""
    found = await store.query(
        "SELECT b.run AS run, b.lane AS lane, n.writer AS writer, groupArray(b.seq) AS seqs"
        f" FROM {DATABASE}.batches AS b FINAL"
        " JOIN (SELECT project AS run, toUInt16(id) AS lane,"
        " arrayStringConcat(arraySlice(splitByChar(':', name), 3), ':') AS writer"
        f" FROM {DATABASE}.names FINAL WHERE kind = 'lane') AS n"
        " ON n.run = b.run AND n.lane = b.lane"
        f" LEFT ANTI JOIN (SELECT run, lane FROM {DATABASE}.applied FINAL) AS a"
        " ON a.run = b.run AND a.lane = b.lane"
        f" LEFT JOIN (SELECT run, lane, seq, count() AS n FROM {DATABASE}.points"
        " GROUP BY run, lane, seq) AS p ON p.run = b.run AND p.lane = b.lane AND p.seq = b.seq"
        f" WHERE b.points = 0 OR p.n > 0 GROUP BY run, lane, writer {_SETTINGS}"
    )
    rows: list[PositionRow] = []
    for run, lane, writer, seqs in zip(
        *(found[name] for name in ("run", "lane", "writer", "seqs")), strict=True
    ):
        low, gaps = position_of(map(int, seqs))
        rows.append(PositionRow(int(run), int(lane), writer, low, gaps, [], 1))
    for start in range(0, len(rows), _BATCHES_PER_INSERT):
        await insert_positions(store, rows[start : start + _BATCHES_PER_INSERT])


def position_of(numbers: Iterable[int]) -> tuple[int, list[int]]:
    """The position with exactly these numbers stored: (low, gaps). Pure."""
    low, above = 0, sorted(set(numbers))
    for number in above:
        if number != low + 1:
            break
        low = number
    return low, [number for number in above if number > low]


def without(low: int, gaps: Iterable[int], lost: Collection[int]) -> tuple[int, list[int]]:
    """A position (everything up to `low`, and `gaps`) without the lost numbers. Pure."""
    least = min(lost, default=low + 1)
    lower = min(low, least - 1)
    above = {*range(lower + 1, low + 1), *gaps} - set(lost)
    return lower, sorted(above)


async def _note(store: PointStore, batches: Columns, *, found: bool) -> None:
    rows = len(batches["run"])
    now = time.time_ns() // 1000
    for start in range(0, rows, _BATCHES_PER_INSERT):
        part = slice(start, start + _BATCHES_PER_INSERT)
        some = {name: np.asarray(batches[name])[part] for name in (*_BATCH, "points", "records")}
        count = len(some["run"])
        await store.insert(
            "lost",
            {
                **some,
                "found": np.full(count, found, np.uint8),
                "ver": np.full(count, now, np.uint64),
            },
        )
