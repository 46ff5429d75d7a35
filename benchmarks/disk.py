"""P9: bytes per point on disk, all tables, after merges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np

from benchmarks.generate import Shape
from benchmarks.ingest import check, generate_load
from benchmarks.report import Row
from benchmarks.stack import Stack, running
from penstock_storage.connect import open_points

__all__ = ["rows"]

_TARGET = 4.0
_SHAPES = (
    ("1 key per step", Shape(runs=100, keys=1, rows=1_000)),
    ("100 keys per step", Shape(runs=16, keys=100, rows=100)),
    ("10 keys per step", Shape(runs=100, keys=10, rows=1_000)),
)


async def _merged_bytes(stack: Stack) -> tuple[int, int, dict[str, int]]:
    """(points, bytes of all tables, bytes by table) once everything is merged."""
    store = open_points(stack.store_url, stack.store_token)
    try:
        found = await store.query(
            "SELECT name FROM system.tables WHERE database = 'penstock' AND engine LIKE '%MergeTree'"
        )
        for table in found["name"]:
            await store.execute(f"OPTIMIZE TABLE penstock.`{table}` FINAL")
        parts = await store.query(
            "SELECT table, sum(bytes_on_disk) AS size FROM system.parts "
            "WHERE active AND database = 'penstock' GROUP BY table"
        )
        count = await store.query("SELECT count() AS n FROM penstock.points")
    finally:
        await store.close()
    sizes = dict(zip(parts["table"], map(int, parts["size"]), strict=True))
    return int(np.asarray(count["n"])[0]), sum(sizes.values()), sizes


def rows(seconds: float) -> Iterator[Row]:
    """P9 for three shapes; the target is judged at 10 keys per step."""
    for name, shape in _SHAPES:
        with running() as stack:
            result = generate_load(stack, shape, seconds)
            check(stack, shape, result)
            points, size, sizes = asyncio.run(_merged_bytes(stack))
        is_judged = shape is _SHAPES[-1][1]
        largest = sorted(sizes.items(), key=lambda each: -each[1])[:3]
        split = ", ".join(f"{table} {each / points:.2f}" for table, each in largest)
        yield Row(
            "P9",
            f"bytes per point, {name}, {points:,} points ({split})",
            f"{size / points:.2f} B",
            "≤ 4 B" if is_judged else "",
            "raw (step, time, value) 24 B",
            size / points <= _TARGET if is_judged else None,
        )
