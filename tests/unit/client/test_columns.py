"""Rows to columns: the same answer as doing it row by row, however the rows come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.spools import UNLIMITED, new_writer, points_in, read_batch

from penstock.shipper.columns import BatchLimits
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.wire import Batch, decode_batch, encode_batch

VALUES = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-(2**53), 2**53),
    st.booleans(),
    st.text(max_size=3),
    st.none(),
    st.lists(st.integers(0, 9), max_size=2),
)
ROWS = st.lists(
    st.tuples(st.integers(-3, 12), st.dictionaries(st.sampled_from("abcd"), VALUES, min_size=1)),
    max_size=40,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_equals_the_rows_one_by_one(
    tmp_path_factory: Any, rows: list[tuple[int, dict[str, Any]]]
) -> None:
    writer = new_writer(tmp_path_factory.mktemp("root"))
    folder = writer.spool().folder
    expected: dict[tuple[str, int], float] = {}
    texts: dict[tuple[str, int], str] = {}
    for step, row in rows:
        writer.log(row, step=step)
        for key, value in row.items():
            if type(value) in (int, float):
                expected[key, step] = float(value)
            else:
                texts[key, step] = json.dumps(value, separators=(",", ":"))
    writer.close()
    batch = read_batch(folder)
    if batch.frames or batch.records:
        batch = decode_batch(encode_batch(batch))  # it passes the gateway's checks
    assert points_in(folder) == expected
    assert batch.points == len(expected)  # no (key, step) twice
    found = {(r["key"], r["step"]): r["json"] for r in batch.records if r["t"] == "value"}
    assert found == texts


def test_the_same_bytes_in_whatever_pieces(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    rng = np.random.default_rng(1)
    for step in range(3_000):
        writer.log({"a": float(rng.normal()), "b": float(rng.normal())}, step=step)
        if step % 7 == 0:
            writer.log({"n": step, "a": 1.0}, step=step)
    writer.close()
    whole = encode_batch(read_batch(folder))
    for least in (64, 1_000, 100_000):
        reader = SpoolReader(folder)
        reader._read_size = least
        found = gather(reader, reader.first(), UNLIMITED, complete_to=ALL_SEGMENTS)
        frames, records = found.columns.batch()
        again = Batch(project="p", run="r", writer="w", seq=1, frames=frames, records=records)
        assert encode_batch(again) == whole
        reader.close()


def test_limits_cut_between_rows(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for step in range(100):
        writer.log({f"k{i}": 1.0 for i in range(30)}, step=step)
        writer.log({"text": "x" * 50}, step=step)
    writer.close()
    reader = SpoolReader(folder)
    position, points, values = reader.first(), 0, 0
    while True:
        found = gather(
            reader, position, BatchLimits(points=200, records=5), complete_to=ALL_SEGMENTS
        )
        frames, records = found.columns.batch()
        if not frames and not records:
            break
        assert sum(frame.points for frame in frames) <= 200
        assert len(records) <= 5
        points += sum(frame.points for frame in frames)
        values += len(records)
        position = found.end
    assert (points, values) == (3_000, 100)
    reader.close()


def test_integers_are_marked(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for step in range(300):
        writer.log({"n": step, "x": 0.5, "mixed": step if step else 0.5})
    writer.close()
    (frame,) = read_batch(folder).frames
    assert dict(zip(frame.keys, frame.ints or b"", strict=True)) == {"n": 1, "x": 0, "mixed": 0}
