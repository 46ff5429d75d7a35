"""Digests of batches: dedupe drops a repeat only if its content is the same; another content under the
same number is a conflict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from penstock_storage.contracts.interface import PointStore

__all__ = ["BatchId", "Digests"]

_BATCHES_PER_STATEMENT = 20_000

_STORED = """
SELECT run, lane, seq, digest FROM penstock.batches FINAL
WHERE run IN {runs:Array(UInt32)} AND (run, lane, seq) IN (
    SELECT each.1, each.2, each.3 FROM (
        SELECT arrayJoin(
            arrayZip({runs:Array(UInt32)}, {lanes:Array(UInt16)}, {seqs:Array(UInt32)})
        ) AS each
    )
)
"""


class BatchId(NamedTuple):
    """A batch, by the numbers of its run and writer."""

    run: int
    lane: int
    seq: int


class Digests:
    """Digests of the batches in this worker's last two commits, which may not be stored yet, and of
    those in the store."""

    def __init__(self, points: PointStore) -> None:
        self._points = points
        self.forget()

    def forget(self) -> None:
        """Know only what the store knows."""
        self._before: dict[BatchId, int] = {}
        self._now: dict[BatchId, int] = {}

    def turn(self) -> None:
        """A new commit begins; the one before the last is in the store."""
        self._before, self._now = self._now, {}

    def note(self, batch: BatchId, digest: int) -> None:
        """This batch is part of the commit that began last."""
        self._now[batch] = digest

    def recent(self, batch: BatchId) -> int | None:
        return self._now.get(batch, self._before.get(batch))

    async def stored(self, batches: Iterable[BatchId]) -> dict[BatchId, int]:
        """The digests of the batches among these that the store has."""
        asked = sorted(set(batches))
        found: dict[BatchId, int] = {}
        for start in range(0, len(asked), _BATCHES_PER_STATEMENT):
            runs, lanes, seqs = zip(*asked[start : start + _BATCHES_PER_STATEMENT], strict=True)
            rows = await self._points.query(_STORED, {"runs": runs, "lanes": lanes, "seqs": seqs})
            columns = (map(int, rows[name]) for name in ("run", "lane", "seq", "digest"))
            found |= {BatchId(*batch): digest for *batch, digest in zip(*columns, strict=True)}
        return found
