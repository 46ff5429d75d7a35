"""The `names` table: every number that the catalog has assigned is also in the point store, written
before its first point. So a catalog that was lost, or restored from an older copy, gets the numbers
back and never assigns one to another name.

A name is (kind, id, project, name); `penstock_storage.catalog.restore` describes the content by kind. A
name never changes its number, so rows need no order: their version is always 1.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from penstock_storage.contracts.catalog import NameCatalog
from penstock_storage.contracts.interface import LaneStart, PointStore

__all__ = [
    "GONE",
    "OUTLIVED",
    "START",
    "gone_name",
    "is_of",
    "lane_name",
    "outlived_name",
    "reconcile",
    "record",
    "start_name",
]

_ROWS = 100_000
START = "start"
"""The kind of a name that records how a lane's writer took up the run."""
OUTLIVED = "outlived"
"""The kind of a name that records that a lane logs beside what it says that it resumes."""
GONE = "gone"
"""The kind of a name that records that a run was deleted, or moved away."""

Name = tuple[str, int, int, str]


def lane_name(rank: int, started: int, writer: str) -> str:
    """The name under which a lane is recorded: ("lane", lane, run, this)."""
    return f"{rank}:{started}:{writer}"


def start_name(run: int, lane: int, start: LaneStart) -> Name:
    """The name that records how a lane's writer took up the run; absent if it said nothing."""
    return START, lane, run, f"{start.kind}:{start.step}:{start.began}"


def outlived_name(run: int, lane: int) -> Name:
    """The name that records that what a lane says that it resumes has gone on."""
    return OUTLIVED, lane, run, ""


def gone_name(run: int, project: int, name: str, deleted_at: int, moved_to: int) -> Name:
    """The name that records that the run with this number and id was deleted or moved."""
    return GONE, run, project, f"{deleted_at}:{moved_to}:{name}"


def is_of(gone: Container[int], name: Name) -> bool:
    """Whether this is a deleted run, or a lane of one."""
    kind, number, owner, _ = name
    return (kind == "run" and number in gone) or (
        kind in ("lane", START, OUTLIVED) and owner in gone
    )


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


async def reconcile(catalog: NameCatalog, points: PointStore) -> int:
    """Restore the names that the store knows and the catalog lacks; returns how many.

    Raises `Broken`, without changing anything, if the two have different names for a number.
    """
    known = set(await catalog.all_names())
    missing: list[tuple[str, int, int, str]] = []
    # Not FINAL: two names with one number must be detected, not merged.
    async for block in points.stream("SELECT DISTINCT kind, id, project, name FROM penstock.names"):
        columns = (block[column] for column in ("kind", "id", "project", "name"))
        rows = ((kind, int(n), int(p), name) for kind, n, p, name in zip(*columns, strict=True))
        missing += (row for row in rows if row not in known)
    gone = {number for kind, number, *_ in (*known, *missing) if kind == GONE}
    missing = [name for name in missing if not is_of(gone, name)]
    if missing:
        await catalog.restore_names(missing)
    return len(missing)
