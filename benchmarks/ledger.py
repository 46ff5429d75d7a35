"""The ledger: the data sent, generated again from its seed, compared with the contents of the store.
Positions and counters are not used; only the points themselves count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.generate import Shape, WriterPlan, expected, key_names
from penstock_storage.connect import open_points
from penstock_storage.contracts.interface import PointStore

__all__ = ["Ledger", "check", "numbers_of", "stored_points"]

_POINTS_AT_ONCE = 2_000_000


@dataclass(slots=True)
class Ledger:
    """Points by outcome; all but `points` must be 0."""

    points: int = 0
    missing: int = 0
    duplicate: int = 0
    altered: int = 0
    phantom: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.missing or self.duplicate or self.altered or self.phantom)

    def __str__(self) -> str:
        return (
            f"{self.points:,} points: {self.missing} missing, {self.duplicate} duplicate, "
            f"{self.altered} altered, {self.phantom} phantom"
        )


async def check(
    store_url: str, token: str, shape: Shape, sent: Mapping[WriterPlan, int], project: str
) -> Ledger:
    """Compare every point of every writer; `sent` is the number of batches that each one sent."""
    store = open_points(store_url, token)
    ledger = Ledger()
    try:
        keys, runs = await numbers_of(store, project)
        for group in _groups(shape, sent):
            stored = await stored_points(store, [runs[plan.run_name] for plan in group])
            for plan in group:
                _compare(ledger, shape, plan, sent[plan], stored, keys, runs)
        total = await store.query(
            "SELECT count() AS n FROM penstock.points FINAL WHERE run IN {r:Array(UInt32)}",
            {"r": list(runs.values())},
        )
        ledger.phantom += max(0, int(total["n"][0]) - ledger.points - ledger.duplicate)
    finally:
        await store.close()
    return ledger


def _groups(shape: Shape, sent: Mapping[WriterPlan, int]) -> Iterator[list[WriterPlan]]:
    """The writers in groups, so that not everything is in memory at once; those of a run together."""
    group: list[WriterPlan] = []
    points = 0
    for plan in sorted((plan for plan in sent if sent[plan]), key=lambda p: (p.run, p.writer)):
        if points > _POINTS_AT_ONCE and plan.run != group[-1].run:
            yield group
            group, points = [], 0
        group.append(plan)
        points += sent[plan] * shape.points
    if group:
        yield group


async def numbers_of(store: PointStore, project: str) -> tuple[dict[str, int], dict[str, int]]:
    """The project's keys and runs by name. Its entity is ignored: it is unambiguous in these tests."""
    found = await store.query(
        "SELECT toString(kind) AS k, id, name FROM penstock.names FINAL WHERE project IN ("
        "SELECT id FROM penstock.names FINAL WHERE kind = 'project' AND endsWith(name, {p:String}))",
        {"p": f"/{project}"},
    )
    rows = list(zip(found["k"], map(int, found["id"]), found["name"], strict=True))
    return (
        {name: number for kind, number, name in rows if kind == "key"},
        {name: number for kind, number, name in rows if kind == "run"},
    )


async def stored_points(
    store: PointStore, runs: list[int]
) -> dict[tuple[int, str, int], tuple[object, ...]]:
    """(run, writer, key) -> (steps, values), as a reader sees them."""
    lanes = await store.query(
        "SELECT run, writer, lane FROM penstock.applied FINAL WHERE run IN {r:Array(UInt32)}",
        {"r": runs},
    )
    writer_of = {
        (int(run), int(lane)): writer
        for run, writer, lane in zip(lanes["run"], lanes["writer"], lanes["lane"], strict=True)
    }
    found = await store.query(
        "SELECT key, run, lane, step, v FROM penstock.points FINAL "
        "WHERE run IN {r:Array(UInt32)} ORDER BY key, run, lane, step",
        {"r": runs},
    )
    key, run, lane, step, value = (
        np.asarray(found[c]) for c in ("key", "run", "lane", "step", "v")
    )
    if not len(key):
        return {}
    change = (key[1:] != key[:-1]) | (run[1:] != run[:-1]) | (lane[1:] != lane[:-1])
    heads = np.flatnonzero(np.append(True, change))
    ends = np.append(heads[1:], len(key))
    return {
        (int(run[a]), writer_of[(int(run[a]), int(lane[a]))], int(key[a])): (step[a:b], value[a:b])
        for a, b in zip(heads, ends, strict=True)
    }


def _compare(
    ledger: Ledger,
    shape: Shape,
    plan: WriterPlan,
    batches: int,
    stored: dict[tuple[int, str, int], tuple[object, ...]],
    keys: dict[str, int],
    runs: dict[str, int],
) -> None:
    steps, values = expected(shape, plan, batches)
    for row, name in enumerate(key_names(shape)):
        found = stored.get((runs[plan.run_name], plan.name, keys[name]))
        got_steps, got_values = found if found else (np.zeros(0, np.int64), np.zeros(0))
        got_steps, got_values = np.asarray(got_steps), np.asarray(got_values)
        unique, first = np.unique(got_steps, return_index=True)
        ledger.duplicate += len(got_steps) - len(unique)
        known = np.isin(steps, unique)
        ledger.missing += int((~known).sum())
        ledger.phantom += int((~np.isin(unique, steps)).sum())
        at = first[np.searchsorted(unique, steps[known])]
        same = got_values[at].view(np.int64) == values[row, known].view(np.int64)
        ledger.altered += int((~same).sum())
        ledger.points += len(steps)
