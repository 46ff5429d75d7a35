"""Series of points, written into a store as workers write them, and read back by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from penstock_storage.charts.attempts import LaneId, attempt_ends
from penstock_storage.charts.series import NEVER
from penstock_storage.clickhouse.tiers import TIER_SHIFT, TIER_SHIFTS
from penstock_storage.contracts.interface import LaneRow, Micros, PointStore
from penstock_storage.contracts.lanes import UNSAID, LaneStart

__all__ = [
    "Bucket", "SeriesData", "brute_force", "lane_row", "random_run", "store_series", "store_tiers",
]  # fmt: skip


@dataclass
class SeriesData:
    """One series: what each step holds now. `late` came after tiers up to `tiered` were built."""

    key: int
    run: int
    lane: int = 0
    early: dict[int, float] = field(default_factory=dict)
    late: dict[int, float] = field(default_factory=dict)
    tiered: int = NEVER
    kinds: int = 1

    @property
    def points(self) -> dict[int, float]:
        return {**self.early, **self.late}

    @property
    def dirty(self) -> list[int]:
        """Buckets below the watermark that a late point touched."""
        return sorted({step >> TIER_SHIFT for step in self.late if step < self.tiered})


@dataclass
class Bucket:
    """What a chart must say about one bucket."""

    step: int
    first_step: int
    count: int
    non_finite: int
    min: float
    max: float
    mean: float
    last: float


def lane_row(
    run: int, lane: int, rank: int = 0, started: int = 0, start: LaneStart = UNSAID
) -> LaneRow:
    return LaneRow(run, lane, f"writer-{lane}", rank, Micros(started), start)


async def random_run(
    store: PointStore, rng: np.random.Generator, run: int
) -> tuple[list[LaneRow], list[SeriesData], dict[LaneId, int]]:
    """A stored run of one to three lanes in one or two ranks, each with keys 1, 2 and 3 at steps of
    their own; and where its latest attempts cut lanes off."""
    lanes = [
        lane_row(run, lane, rank=int(rng.integers(2)), started=int(rng.integers(100)))
        for lane in range(int(rng.integers(1, 4)))
    ]
    series = []
    for lane in lanes:
        for key in (1, 2, 3):
            base, stride = int(rng.integers(-50, 50)), int(rng.choice([1, 1, 7]))
            steps = base + np.arange(int(rng.integers(1, 60))) * stride
            value = key + lane.lane / 8
            series.append(SeriesData(key, run, lane.lane, dict.fromkeys(steps.tolist(), value)))
    await store_series(store, series)
    firsts: dict[LaneId, int] = {}
    for each in series:
        firsts[run, each.lane] = min(firsts.get((run, each.lane), 2**62), *each.points)
    return lanes, series, attempt_ends(lanes, firsts)


async def store_series(store: PointStore, many: Sequence[SeriesData]) -> None:
    """Points, times, series, tiers and dirty marks of these series."""
    for number, name in enumerate(("early", "late")):
        rows = [
            (s.key, s.run, s.lane, step, v, number + 1)
            for s in many
            for step, v in getattr(s, name).items()
        ]
        if rows:
            await _insert_points(store, rows)
    await store.insert(
        "series",
        {
            "run": np.array([s.run for s in many], np.uint32),
            "key": np.array([s.key for s in many], np.uint32),
            "lane": np.array([s.lane for s in many], np.uint16),
            "first_step": np.array([min(s.points) for s in many], np.int64),
            "last_step": np.array([max(s.points) for s in many], np.int64),
            "last": (
                np.array([2 << 32] * len(many), np.uint64),
                np.array([s.points[max(s.points)] for s in many], np.float64),
            ),
            "kinds": np.array([s.kinds for s in many], np.uint8),
            "tiered": np.array([s.tiered for s in many], np.int64),
        },
    )
    await store_tiers(store, many)


async def _insert_points(
    store: PointStore, rows: list[tuple[int, int, int, int, float, int]]
) -> None:
    key, run, lane, step, v, seq = zip(*rows, strict=True)
    await store.insert(
        "points",
        {
            "key": np.array(key, np.uint32),
            "run": np.array(run, np.uint32),
            "lane": np.array(lane, np.uint16),
            "step": np.array(step, np.int64),
            "v": np.array(v, np.float64),
            "seq": np.array(seq, np.uint32),
        },
    )
    places = sorted({(r, ln, s) for _, r, ln, s, _, _ in rows})
    run, lane, step = zip(*places, strict=True)
    await store.insert(
        "times",
        {
            "run": np.array(run, np.uint32),
            "lane": np.array(lane, np.uint16),
            "step": np.array(step, np.int64),
            "t": time_us(
                np.array(run, np.int64), np.array(lane, np.int64), np.array(step, np.int64)
            ),
            "seq": np.ones(len(step), np.uint32),
        },
    )


def time_us(
    run: npt.NDArray[np.int64], lane: npt.NDArray[np.int64], step: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """When a step was logged: a second per step, lanes a little apart."""
    return (1_700_000_000_000_000 + step * 1_000_000 + lane * 1_000 + run).astype(np.int64)


async def store_tiers(store: PointStore, many: Sequence[SeriesData]) -> None:
    """Tier rows of the early points below the watermark, and marks of what is dirty by now."""
    rows = []
    for s in many:
        below = {step: v for step, v in s.early.items() if step < s.tiered}
        # Of wide buckets also those that the watermark cuts: no chart may use them.
        for shift in TIER_SHIFTS:
            for bucket, b in brute_force([below], shift).items():
                total = b.mean * b.count if b.count else 0.0
                place = (s.key, s.run, s.lane, shift, bucket, b.first_step, b.step)
                # `first` and `last` are the values as they are, also if they are not finite.
                ends = (below[b.first_step], below[b.step])
                rows.append((*place, b.min, b.max, total, b.count, *ends, b.non_finite))
    if rows:
        names = (
            "key", "run", "lane", "shift", "bucket", "first_step", "last_step", "min", "max",
            "sum", "count", "first", "last", "non_finite",
        )  # fmt: skip
        columns = {
            name: np.nan_to_num(np.array(column), nan=0.0)
            if name in ("min", "max")
            else np.array(column)
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }
        await store.insert("tiers", {**columns, "ver": np.ones(len(rows), np.uint8)})
    marks = np.array([(s.key, s.run, s.lane, bucket) for s in many for bucket in s.dirty], np.int64)
    if len(marks):
        ones = np.ones(len(marks), np.uint8)
        await store.insert(
            "dirty",
            {
                "key": marks[:, 0],
                "run": marks[:, 1],
                "lane": marks[:, 2],
                "shift": ones * TIER_SHIFT,
                "bucket": marks[:, 3],
                "dirty": ones,
                "ver": ones,
            },
        )


def brute_force(lanes: Sequence[dict[int, float]], shift: int) -> dict[int, Bucket]:
    """The buckets of all points of these lanes together; of equal last steps the first lane's."""
    found: dict[int, list[tuple[int, int, float]]] = {}
    for order, points in enumerate(lanes):
        for step, v in points.items():
            found.setdefault(step >> shift, []).append((step, -order, v))
    return {
        bucket: _bucket(sorted(rows, key=lambda row: row[:2])) for bucket, rows in found.items()
    }


def _bucket(rows: list[tuple[int, int, float]]) -> Bucket:
    values = np.array([v for _, _, v in rows])
    finite = values[np.isfinite(values)]
    last = float(values[-1])
    return Bucket(
        step=rows[-1][0],
        first_step=rows[0][0],
        count=len(finite),
        non_finite=len(values) - len(finite),
        min=float(finite.min()) if len(finite) else np.nan,
        max=float(finite.max()) if len(finite) else np.nan,
        mean=float(finite.mean()) if len(finite) else np.nan,
        last=last if np.isfinite(last) else np.nan,
    )
