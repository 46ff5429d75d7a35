"""Repairs what the store has lost on disk. Only one worker does, the owner of shard 0.

A damaged or missing part takes rows of many batches with it, while the positions of their writers
still say that they are stored. The batches are recorded, and their numbers removed from the positions;
the store gets a new id, so that clients send again what they still hold; what can be derived from
points or from the catalog is rebuilt. What does not come back is counted on its run.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError

from penstock.error_codes import ErrorCode
from penstock.errors import PenstockError, Transient
from penstock_common.process.metrics import WorkerMetrics
from penstock_common.queue.problem_list import Problems
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import Columns, PointStore, RunChange
from penstock_storage.damage.losses import (
    find_lost_batches,
    find_lost_ends,
    find_unrecorded,
    lower_positions,
    note_found,
    note_lost,
    rebuild_positions,
    unfound,
)
from penstock_storage.damage.parts import (
    Inventory,
    LostPart,
    corrupt_tables,
    lost_parts,
    read_inventory,
    save_rows,
    unreadable_parts,
)
from penstock_storage.damage.rebuild import rebuild_names, rebuild_series, rebuild_tiers
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.upkeep.gauges import ELECTED

__all__ = ["Mender"]

_LOG = logging.getLogger(__name__)

_ELECTION_S = 0.5
_MIN_TURN_S, _TURN_REST = 20.0, 100.0
"""The pause between two checks: at least this long, and this many times as long as a check."""
_MAX_IDLE_TURN_S = 40.0
"""While no part comes or goes, the pause doubles up to this."""
_REST = 20.0
"""The same while clients send lost batches again, and between two searches for these."""
_AWAIT_S = 900.0
"""Clients keep stored batches for ten minutes, and soon learn of a new store id."""
_TELL_S = 3 * 86_400.0
_MARGIN_S = 10
_WITH_BATCHES = ("points", "times", "values", "console")
_INVENTORY, _DAMAGE = "parts", "damage"


class Mender:
    """Checks for damage every few seconds. `on_mended` is called when what the worker knows is void."""

    def __init__(
        self,
        points: PointStore,
        catalog: Catalog,
        clock: StoreClock,
        owned: Mapping[int, int],
        problems: Problems,
        metrics: WorkerMetrics,
        on_mended: Callable[[], None],
    ) -> None:
        self._points = points
        self._catalog = catalog
        self._clock = clock
        self._owned = owned
        self._problems = problems
        self._metrics = metrics
        self._on_mended = on_mended
        self._inventory: Inventory | None = None
        self._errors: dict[str, int] = {}
        self._connections = -1
        self._damage: dict[str, Any] | None = None
        self._counted: dict[int, int] = {}
        self._check_again = 0.0
        self._ends: dict[str, Columns] = {}
        """Batches already known to be lost, by table."""
        self._min_pause_s = _MIN_TURN_S

    async def watch(self, *quiet: asyncio.Lock) -> None:
        """Run until cancelled. While the locks `quiet` are held, nothing else writes."""
        while True:
            started = time.monotonic()
            if ELECTED not in self._owned:
                self._inventory = None
                await asyncio.sleep(_ELECTION_S)
            else:
                try:
                    await self._turn(quiet)
                except (PenstockError, RedisError, OSError, TimeoutError) as error:
                    _LOG.warning("mending_failed error=%s detail=%s", type(error).__name__, error)
                    self._inventory = None
                took_s = time.monotonic() - started
                rest = _REST if self._awaits_batches else _TURN_REST
                await asyncio.sleep(max(self._min_pause_s, rest * took_s))

    async def met(self, error: Exception) -> None:
        """A commit failed: if the catalog is damaged, say so."""
        if isinstance(error, Transient) and error.code == ErrorCode.CATALOG_DAMAGED:
            await self._problems.tell("catalog_damaged", str(error), subject="catalog")

    async def note(self) -> None:
        """Record which parts there are, so that the next check finds those that are missing."""
        if ELECTED in self._owned and self._inventory is not None:
            await self._note(await read_inventory(self._points))

    async def _turn(self, quiet: Sequence[asyncio.Lock]) -> None:
        inventory = await read_inventory(self._points)
        lost = await self._lost(inventory)
        saved = await self._take_out_damaged()
        if lost or saved:
            await self._mend([*lost, *saved], {part.table for part in saved}, quiet)
            inventory = await read_inventory(self._points)
        is_same = inventory == self._inventory
        self._min_pause_s = min(2 * self._min_pause_s, _MAX_IDLE_TURN_S) if is_same else _MIN_TURN_S
        await self._note(inventory)
        await self._follow()

    @property
    def _awaits_batches(self) -> bool:
        """Whether clients may still send again what was lost."""
        return self._damage is not None and time.time() - self._damage["at"] < _AWAIT_S

    async def _lost(self, inventory: Inventory) -> list[LostPart]:
        """Parts that are missing since any worker's last check."""
        is_first = self._inventory is None
        before = self._inventory
        if before is None:
            text = await self._points.noted(_INVENTORY)
            before = Inventory.from_text(text) if text else None
            damage = await self._points.noted(_DAMAGE)
            self._damage = json.loads(damage) if damage else None
        lost = lost_parts(before, inventory)
        if not lost and is_first and before is not None:
            # Parts that came after the last check, and went before this one, were never recorded.
            since = before.noted_at - _MARGIN_S
            for table in ("points", "times"):
                gone = await find_lost_ends(self._points, table, since)
                if len(gone["run"]):
                    lost.append(LostPart(table, "new", None))
                    self._ends[table] = gone
        return lost

    async def _take_out_damaged(self) -> list[LostPart]:
        """Save the readable rows of parts in which the store found damage."""
        if self._connections != self._points.connections:
            self._errors = {}  # another process may count from 0
        tables, self._errors = await corrupt_tables(self._points, self._errors)
        self._connections = self._points.connections
        found = []
        for table in sorted(tables):
            for part in await unreadable_parts(self._points, table):
                _LOG.error("store_part_damaged table=%s part=%s", table, part)
                rows = await save_rows(self._points, table, part)
                found.append(LostPart(table, part, rows))
        if found:
            self._errors = (await corrupt_tables(self._points, {}))[1]
        return found

    async def _mend(
        self, lost: Sequence[LostPart], saved: Collection[str], quiet: Sequence[asyncio.Lock]
    ) -> None:
        for part in lost:
            _LOG.error("store_damaged table=%s part=%s rows=%s", part.table, part.name, part.rows)
            self._metrics.lost_parts.labels(part.table).inc()
        tables = {part.table for part in lost}
        for lock in quiet:
            await lock.acquire()
        try:
            await self._rebuild(tables, saved)
        finally:
            for lock in quiet:
                lock.release()
            self._on_mended()
        self._damage = {"at": time.time(), "rows": _rows_by_table(lost)}
        await self._points.note(_DAMAGE, json.dumps(self._damage))
        self._check_again = 0.0

    async def _rebuild(self, tables: Collection[str], saved: Collection[str]) -> None:
        if "names" in tables:
            await rebuild_names(self._points, self._catalog)
        if "applied" in tables:
            await rebuild_positions(self._points)
        batches: list[Columns] = []
        runs: set[int] = set()
        for table in _WITH_BATCHES:
            if table in tables:
                found = self._ends.pop(table, None) or await find_lost_batches(
                    self._points, table, in_part=table in saved
                )
                batches.append(found)
                if table == "points":
                    runs |= set(map(int, found["run"]))
                    await note_lost(self._points, found)
        if "batches" in tables:
            batches.append(await find_unrecorded(self._points))
        for each in batches:
            await lower_positions(self._points, each)
        if "series" in tables:
            await rebuild_series(self._points)
        if "tiers" in tables or "dirty" in tables:
            await rebuild_tiers(self._points)
        elif runs:
            await rebuild_tiers(self._points, runs)
        if any(len(each["run"]) for each in batches) or "applied" in tables:
            await self._clock.renew()

    async def _note(self, inventory: Inventory) -> None:
        if inventory != self._inventory:
            noted = inventory._replace(noted_at=int(time.time()))
            await self._points.note(_INVENTORY, noted.to_text())
            self._inventory = inventory

    async def _follow(self) -> None:
        """Count on each run what has not come back, and report it."""
        if self._damage is None or time.time() - self._damage["at"] > _TELL_S:
            return
        if time.monotonic() >= self._check_again:
            started = time.monotonic()
            if self._awaits_batches:
                await note_found(self._points)
            await self._count()
            took_s = time.monotonic() - started
            self._check_again = time.monotonic() + _REST * took_s
        await self._problems.tell("store_damaged", self._said(), subject="points")

    async def _count(self) -> None:
        losses = {loss.run: loss for loss in await unfound(self._points)}
        counts = {run: loss.points for run, loss in losses.items()}
        known = {**dict.fromkeys(self._counted, 0), **counts}
        now = time.time_ns() // 1000
        at = self._damage["at"] if self._damage else 0
        changes = [
            RunChange.edit(run, "run", {"disk_damage": {"at": at, "lost_points": points}})
            for run, points in known.items()
            if self._counted.get(run) != points
        ]
        if changes:
            await self._catalog.apply_changes(changes, now)
        self._counted = counts
        self._metrics.lost_points.set(sum(counts.values()))

    def _said(self) -> str:
        rows = self._damage["rows"] if self._damage else {}
        parts = ", ".join(
            f"{table} ({'unknown' if count is None else format(count, ',')} rows)"
            for table, count in sorted(rows.items())
        )
        points = sum(self._counted.values())
        left = (
            f"{points:,} points of {len(self._counted):,} runs have not come back yet"
            if points
            else "no point is missing now"
        )
        return f"Parts of the store were damaged or lost on disk: {parts}; {left}."


def _rows_by_table(lost: Sequence[LostPart]) -> dict[str, int | None]:
    """How many rows each table lost; None where that is unknown."""
    rows: dict[str, int | None] = {}
    for part in lost:
        known = rows.get(part.table, 0)
        rows[part.table] = None if known is None or part.rows is None else known + part.rows
    return rows
