"""Every number that the catalog has handed out is also in the point store's `names` table, written
there before its first point. So a catalog that was lost, or restored from an older copy, learns the
numbers again and never gives one to another name.

A name is (kind, id, project, name); see `penstock_storage.catalog.restore` for what each kind puts
into them. A name never changes its number, so rows need no order: their version is always 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstock_storage.interface import Catalog, PointStore

__all__ = ["lane_name", "reconcile", "record"]

_ROWS = 100_000


def lane_name(rank: int, started: int, writer: str) -> str:
    """The name under which a lane is recorded: ("lane", lane, run, this)."""
    return f"{rank}:{started}:{writer}"


async def record(points: PointStore, names: Sequence[tuple[str, int, int, str]]) -> None:
    """Write names into the store, before the first point that uses their numbers."""
    for start in range(0, len(names), _ROWS):
        kinds, ids, projects, texts = zip(*names[start : start + _ROWS], strict=True)
        await points.insert(
            "names",
            {
                "kind": list(kinds),
                "id": np.array(ids, np.uint32),
                "project": np.array(projects, np.uint32),
                "name": list(texts),
                "ver": np.ones(len(ids), np.uint64),
            },
        )


async def reconcile(catalog: Catalog, points: PointStore) -> int:
    """Put back what the store knows and the catalog lacks; return how many names.

    Raises `Broken` if a number means different things to the two: nothing is changed then.
    """
    known = set(await catalog.all_names())
    missing: list[tuple[str, int, int, str]] = []
    # Not FINAL: two names under one number must be seen, not merged.
    async for block in points.stream("SELECT DISTINCT kind, id, project, name FROM penstock.names"):
        columns = (block[column] for column in ("kind", "id", "project", "name"))
        rows = ((kind, int(n), int(p), name) for kind, n, p, name in zip(*columns, strict=True))
        missing += (row for row in rows if row not in known)
    if missing:
        await catalog.restore_names(missing)
    return len(missing)
