"""A project with very many runs, created through the catalog's and the store's own insert paths: each run
with 20 keys of config, 2 of explicit summary and 20 logged ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.stack import Stack
from penstock_storage.charts.series import NEVER
from penstock_storage.connect import open_catalog, open_points
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore, RunChange, RunRef
from penstock_storage.names import record

__all__ = ["LOGGED", "PROJECT", "fill"]

PROJECT = "many"
LOGGED = [f"{group}/{name}" for group in ("train", "val") for name in
          ("loss", "acc", "f1", "auc", "lr", "grad", "tokens", "time", "mem", "step")]  # fmt: skip
_PART = 2_000
_STARTED = 1_700_000_000_000_000


async def fill(stack: Stack, entity: str, first: int, last: int) -> None:
    """Add the runs from `first` to before `last`."""
    catalog = open_catalog(f"sqlite+aiosqlite:///{stack.data / 'catalog.db'}")
    points = open_points(stack.store_url, stack.store_token)
    try:
        for start in range(first, last, _PART):
            await _add(catalog, points, entity, range(start, min(start + _PART, last)))
    finally:
        await points.close()
        await catalog.close()


async def _add(catalog: Catalog, points: PointStore, entity: str, places: range) -> None:
    refs = [RunRef(entity, PROJECT, f"run{place:06d}") for place in places]
    rows = await catalog.ensure_runs(refs)
    numbers = [rows[ref].number for ref in refs]
    project = rows[refs[0]].project_number
    keys = await catalog.ensure_keys(project, LOGGED)
    await catalog.ensure_lanes([(number, "w", 0, _STARTED) for number in numbers])
    rng = np.random.default_rng(places.start)
    changes = [
        change
        for place, number in zip(places, numbers, strict=True)
        for change in _changes(rng, place, number)
    ]
    await catalog.apply_changes(changes, _STARTED + places.stop)
    await record(
        points,
        [("run", number, project, ref.run) for ref, number in zip(refs, numbers, strict=True)],
    )
    count = len(numbers) * len(LOGGED)
    await points.insert(
        "series",
        {
            "run": np.repeat(np.array(numbers, np.uint32), len(LOGGED)),
            "key": np.tile(np.array([keys[name] for name in LOGGED], np.uint32), len(numbers)),
            "lane": np.zeros(count, np.uint16),
            "first_step": np.zeros(count, np.int64),
            "last_step": np.full(count, 1_000, np.int64),
            "last": (np.full(count, 1 << 32, np.uint64), rng.random(count)),
            "kinds": np.ones(count, np.uint8),
            "tiered": np.full(count, NEVER, np.int64),
        },
    )


def _changes(rng: np.random.Generator, place: int, number: int) -> Iterator[RunChange]:
    config: dict[str, Any] = {
        "lr": float(10 ** rng.uniform(-5, -1)),
        "batch_size": int(2 ** rng.integers(3, 10)),
        "optimizer": ("adam", "sgd", "lion", "adamw")[place % 4],
        "model": {"depth": int(rng.integers(2, 48)), "width": 64 * (place % 16), "kind": "gpt"},
        "seed": place,
        "use_amp": place % 2 == 0,
        "dataset": f"shard-{place % 100}",
        **{f"p{n}": float(rng.random()) for n in range(11)},
    }
    about = {"name": f"bold-sweep-{place}", "group": f"g{place % 50}", "tags": [f"t{place % 7}"]}
    yield RunChange(number, "w", 1, 0, "run", about)
    yield RunChange(number, "w", 1, 1, "config", config)
    best = {"best": float(rng.random()), "epochs": place % 90}
    yield RunChange(number, "w", 1, 2, "summary", best)
    yield RunChange(number, "w", 2, 0, "state", {"state": "finished"})
