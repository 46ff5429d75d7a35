"""The digests in the `batches` table: a repeat is one only if its content is the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["BatchId", "read_digests"]

_BATCHES_PER_STATEMENT = 20_000

_STORED = f"""
SELECT run, lane, seq, digest FROM {DATABASE}.batches FINAL
WHERE run IN {{runs:Array(UInt32)}} AND (run, lane, seq) IN (
    SELECT each.1, each.2, each.3 FROM (
        SELECT arrayJoin(
            arrayZip({{runs:Array(UInt32)}}, {{lanes:Array(UInt16)}}, {{seqs:Array(UInt32)}})
        ) AS each
    )
)
"""


class BatchId(NamedTuple):
    """A batch, by the numbers of its run and writer."""

    run: int
    lane: int
    seq: int


async def read_digests(store: PointStore, batches: Iterable[BatchId]) -> dict[BatchId, int]:
    """The digests of the batches among these that the store has."""
    asked = sorted(set(batches))
    found: dict[BatchId, int] = {}
    for start in range(0, len(asked), _BATCHES_PER_STATEMENT):
        runs, lanes, seqs = zip(*asked[start : start + _BATCHES_PER_STATEMENT], strict=True)
        rows = await store.query(_STORED, {"runs": runs, "lanes": lanes, "seqs": seqs})
        columns = (map(int, rows[name]) for name in ("run", "lane", "seq", "digest"))
        found |= {BatchId(*batch): digest for *batch, digest in zip(*columns, strict=True)}
    return found
