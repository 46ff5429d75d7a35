"""The tables of searched projects, each updated before it is used.

A table costs about a second per 100,000 runs on a project's first search, then only the changes.
The total size is bounded: the least recently used tables are dropped first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import ParamSpec, TypeVar

from penstock_storage.contracts.catalog import Catalog
from penstock_storage.search.table import RunTable

__all__ = ["RunIndex", "uninterrupted"]

_MAX_BLOCKS = 50_000  # of about 9 KB
_MAX_TABLES = 200
_REFRESHES = 2

P = ParamSpec("P")
T = TypeVar("T")


async def uninterrupted(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the function in a thread. A cancelled caller waits for the thread, which must not run
    concurrently with the next one on the same table."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


class RunIndex:
    """One table per project."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._tables: dict[int, tuple[asyncio.Lock, RunTable]] = {}
        # Each holds one of the catalog's connections, which others need too.
        self._refreshing = asyncio.Semaphore(_REFRESHES)

    @asynccontextmanager
    async def table(self, project: int) -> AsyncIterator[RunTable]:
        """The project's current runs, exclusively for the caller while the block runs."""
        known = self._tables.pop(project) if project in self._tables else None
        # The last one is the most recently used.
        lock, table = self._tables[project] = known or (asyncio.Lock(), RunTable())
        async with lock:
            async with self._refreshing:
                if await self._refresh(project, table):
                    self._forget_old(project)
            yield table

    async def _refresh(self, project: int, table: RunTable) -> bool:
        """Update the table; returns whether anything changed."""
        tick, has_changed = table.tick, False
        # Deletions first: all runs that existed before one are then among those read after it.
        if (deleted := await self._catalog.deleted_since(project, tick)) is not None:
            table.clear()
            tick, has_changed = -1, True
        # Runs of old writers have no tick and are read every time.
        async with aclosing(self._catalog.runs_since(project, tick)) as parts:
            async for part in parts:
                await uninterrupted(table.apply, part)
                tick, has_changed = max(tick, *(run.tick for run in part)), True
        table.tick = max(tick, deleted or 0)
        return has_changed

    def _forget_old(self, project: int) -> None:
        sizes = {number: table.blocks for number, (_, table) in self._tables.items()}
        total = sum(sizes.values())
        for number, (lock, _) in list(self._tables.items()):
            if total <= _MAX_BLOCKS and len(self._tables) <= _MAX_TABLES:
                break
            if number != project and not lock.locked():
                del self._tables[number]
                total -= sizes[number]
