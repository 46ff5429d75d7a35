"""Folding against a dictionary: whatever the order of batches, the newest (seq, row) wins."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.wire import Frame
from penstock_workers.batches.fold import ResolvedFrame, fold
from penstock_workers.batches.series import SeriesIndex

KEYS = ("a", "b", "c")
NUMBERS = {"a": 3, "b": 1, "c": 2}

frames = st.tuples(
    st.integers(1, 2),  # run
    st.integers(0, 1),  # lane
    st.integers(1, 4),  # seq
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(-3, 6), min_size=1, max_size=5),
)


def piece(
    table: SeriesIndex, run: int, lane: int, seq: int, keys: list[str], steps: list[int], row: int
) -> tuple[ResolvedFrame, np.ndarray[Any, Any]]:
    rows = len(steps)
    values = np.random.default_rng([run, lane, seq, row]).random((len(keys), rows))
    frame = Frame(
        keys,
        struct.pack(f"<{rows}q", *steps),
        struct.pack(f"<{rows}q", *(1000 * seq + row + i for i in range(rows))),
        values.tobytes(),
    )
    names = tuple(keys)
    series = table.of_frame(run, lane, names)
    if series is None:
        series = table.add_frame(run, lane, names, [NUMBERS[key] for key in keys], shard=0)
    return ResolvedFrame(frame, series, run, lane, seq, row), values


@sized(5_000)
@given(st.lists(frames, min_size=1, max_size=12))
def test_fold_keeps_the_newest_value_of_each_step(
    drawn: list[tuple[int, int, int, list[str], list[int]]],
) -> None:
    table, pieces = SeriesIndex(), []
    points: dict[tuple[int, int, int, int], tuple[int, float]] = {}
    times: dict[tuple[int, int, int], tuple[int, int]] = {}
    last: dict[tuple[int, int, int], tuple[int, float]] = {}
    rows_before: dict[tuple[int, int, int], int] = {}
    # Batches of one writer may arrive out of order; within a batch, frames keep theirs.
    for run, lane, seq, keys, steps in drawn:
        row = rows_before.get((run, lane, seq), 0)
        each, values = piece(table, run, lane, seq, keys, steps, row)
        rows_before[(run, lane, seq)] = row + len(steps)
        pieces.append(each)
        for j, step in enumerate(steps):
            known_time = times.get((run, lane, step))
            if known_time is None or seq >= known_time[0]:
                times[(run, lane, step)] = (seq, 1000 * seq + row + j)
            for i, key in enumerate(keys):
                name = (NUMBERS[key], run, lane, step)
                if name not in points or seq >= points[name][0]:
                    points[name] = (seq, values[i, j])
                order = seq << 32 | (row + j)
                series = name[:3]
                if series not in last or order >= last[series][0]:
                    last[series] = (order, values[i, j])
    folded = fold(pieces, table)
    p = folded.points
    got = list(
        zip(*(p[c].tolist() for c in ("key", "run", "lane", "step", "seq", "v")), strict=True)
    )
    assert got == [(*name, seq, v) for name, (seq, v) in sorted(points.items())]
    t = folded.times
    got_times = list(
        zip(*(t[c].tolist() for c in ("run", "lane", "step", "seq", "t")), strict=True)
    )
    assert got_times == [(*name, seq, at) for name, (seq, at) in sorted(times.items())]
    s = folded.series
    got_last = dict(
        zip(
            zip(s["key"].tolist(), s["run"].tolist(), s["lane"].tolist(), strict=True),
            zip(s["last"][0].tolist(), s["last"][1].tolist(), strict=True),
            strict=True,
        )
    )
    assert got_last == last
    for key, run, lane, first, final in zip(
        *(s[c].tolist() for c in ("key", "run", "lane", "first_step", "last_step")), strict=True
    ):
        steps_of = [name[3] for name in points if name[:3] == (key, run, lane)]
        assert (first, final) == (min(steps_of), max(steps_of))


def test_late_points_name_the_buckets_below_the_watermark() -> None:
    table = SeriesIndex()
    each, _ = piece(table, 1, 0, 1, ["a", "b"], [255, 256, 600, 5000], 0)
    table.raise_tiered(np.array([each.series[0]]), np.array([4096]))
    folded = fold([each], table)
    series, buckets = folded.late(table)
    assert set(zip(table.key[series].tolist(), buckets.tolist(), strict=True)) == {
        (3, 0),
        (3, 1),
        (3, 2),
    }


def test_integer_columns_are_told_from_floats() -> None:
    table = SeriesIndex()
    each, _ = piece(table, 1, 0, 1, ["a", "b"], [1], 0)
    mixed = each._replace(frame=each.frame._replace(ints=b"\x01\x00"))
    kinds = fold([mixed, each], table).series["kinds"]
    # Sorted by key number: b (only floats), then a (integers, then floats).
    assert kinds.tolist() == [1, 3]
