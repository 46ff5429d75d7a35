"""The worker's fold, marks and compactor over a real store, without a queue: steps go in by hand, and
time passes when the test says so."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from penstock.wire import Frame
from penstock_storage.contracts.interface import PointStore
from penstock_workers.batches.fold import Ints, ResolvedFrame, fold
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.tiers import dirty_columns
from penstock_workers.commits.commit_numbers import CommitNumbers, version
from penstock_workers.compaction.compactor import Compactor

__all__ = ["Bench"]

F64 = npt.NDArray[np.float64]
_EPOCH = 1


class Bench:
    """One worker that holds shard 0."""

    def __init__(self, store: PointStore) -> None:
        self.store = store
        self.now_s = 1_000.0
        self.known = KnownState(cast("Any", None), store, clock=lambda: self.now_s)
        self.numbers = CommitNumbers()
        leases = cast("Any", SimpleNamespace(epochs={0: _EPOCH}))
        self.compactor = Compactor(store, self.known, self.numbers, leases)

    async def log(self, key: int, run: int, lane: int, steps: Ints, values: F64) -> None:
        """Commit these points of one series, as the worker would."""
        table = self.known.table
        number = self.numbers.next()
        name = (f"key{key}",)
        series = table.of_frame(run, lane, name)
        if series is None:
            series = table.add_frame(run, lane, name, [key], shard=0)
        times = 1_700_000_000_000_000 + steps * 1_000_000 + lane
        frame = Frame(list(name), *(c.tobytes() for c in (steps.astype("<i8"), times, values)))
        folded = fold([ResolvedFrame(frame, series, run, lane, number, 0)], table)
        rows, buckets = folded.late(table)
        if len(rows):
            self.known.mark_late(rows, buckets)
            marks = dirty_columns(table, rows, buckets, is_dirty=True)
            ver = np.full(len(rows), version(_EPOCH, number), np.uint64)
            await self.store.insert("dirty", {**marks, "ver": ver})
        for name_of in ("points", "times", "series"):
            await self.store.insert(name_of, getattr(folded, name_of))
        table.note_steps(folded.touched, folded.first, folded.last)

    async def compact(self, passes: int = 1) -> None:
        for _ in range(passes):
            await self.compactor.run_once(asyncio.Lock())

    async def resume(self) -> None:
        """After a pass that did not end: know of watermarks and dirty buckets what the store knows."""
        table = self.known.table
        places = zip(
            *(column.tolist() for column in (table.run, table.key, table.lane)), strict=True
        )
        place = {name: at for at, name in enumerate(places)}
        found = await self.store.query(
            "SELECT run, key, lane, max(tiered) AS tiered FROM penstock.series GROUP BY run, key, lane"
        )
        for *name, tiered in zip(
            *(np.asarray(each).tolist() for each in found.values()), strict=True
        ):
            if tuple(name) in place:
                table.tiered[place[tuple(name)]] = tiered
        found = await self.store.query(
            "SELECT run, key, lane, bucket FROM penstock.dirty FINAL WHERE dirty = 1"
        )
        *names, buckets = (np.asarray(each).tolist() for each in found.values())
        at = [place.get(name, -1) for name in zip(*names, strict=True)]
        late = np.array([at, buckets], np.int64).reshape(2, -1)[:, np.array(at, np.int64) >= 0]
        self.known.take_late()
        if late.size:
            self.known.mark_late(late[0], late[1])
        await self.known.resume(())

    async def settle(self) -> None:
        """Let everything become idle, and build all of it."""
        self.now_s += 10_000.0
        await self.compact(3)

    async def count(self, sql: str) -> int:
        """The one number that a statement answers with."""
        found = await self.store.query(f"SELECT ({sql}) AS n")
        return int(np.asarray(found["n"])[0])
