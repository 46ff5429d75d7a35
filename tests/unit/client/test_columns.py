"""Rows to columns: the same answer as doing it row by row, however the rows come."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized
from support.spools import UNLIMITED, new_writer, points_in, read_batch

from penstock.shipper.columns import BatchLimits
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.wire import RULES, Batch, decode_batch, encode_batch

OF_RULES_1 = "37e0ee915e6e0e9f61af33a45592ab48e3db388c331d038381f44a559b8b9288"

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


@sized(2_500)
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


def fixed_spool(root: Path) -> Path:
    """A closed spool whose every byte is the same each time: mostly metrics logged one by one."""
    writer = new_writer(root)
    folder = writer.spool().folder
    draw = random.Random(7)
    at_ns = 1_700_000_000_000_000_000
    for step in range(400):
        for key in ("a", "b", "c/1", "c/2"):
            at_ns += 1_000_000
            odd = draw.choice([draw.random(), step, "x", True]) if step % 97 == 5 else None
            writer.append_row({key: draw.random() if odd is None else odd}, step, at_ns)
        if step % 3 == 0:
            writer.append_row({"n": step, "a": 1.0}, step - draw.randrange(3), at_ns)
        if step % 50 == 0:
            writer.append_record({"t": "config", "update": {"step": step}})
    writer.close()
    return folder


def encoded(folder: Path, read_size: int, rules: int) -> bytes:
    reader = SpoolReader(folder)
    reader._read_size = read_size
    found = gather(reader, reader.first(), UNLIMITED, complete_to=ALL_SEGMENTS, rules=rules)
    reader.close()
    frames, records = found.columns.batch()
    return encode_batch(
        Batch(project="p", run="r", writer="w", seq=1, frames=frames, records=records)
    )


def test_what_older_rules_cut_has_the_bytes_of_then(tmp_path: Path) -> None:
    raw = encoded(fixed_spool(tmp_path), 1 << 16, rules=1)
    assert hashlib.sha256(raw).hexdigest() == OF_RULES_1


def test_metrics_logged_one_by_one_share_a_frame(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    names = [f"m{number}" for number in range(20)]
    for step in range(500):
        for place, name in enumerate(names):
            writer.log({name: step + place / 100}, step=step)
    writer.close()
    (frame,) = read_batch(folder).frames
    assert (frame.keys, frame.rows) == (names, 500)
    assert points_in(folder) == {
        (name, step): step + place / 100 for step in range(500) for place, name in enumerate(names)
    }


def test_rows_of_one_step_that_were_logged_long_apart_keep_their_times(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for step in range(5):
        for key, at_s in (("train", 10), ("test", 10.5), ("later", 1_000)):
            writer.append_row({key: 1.0}, step, int((at_s + step) * 1e9))
    writer.close()
    assert [frame.keys for frame in read_batch(folder).frames] == [["train", "test"], ["later"]]


@sized(2_000)
@given(draw=st.randoms(use_true_random=False), turns=st.integers(1, 40), keys=st.integers(1, 6))
def test_turns_with_interruptions_equal_the_rows_one_by_one(
    tmp_path_factory: Any, draw: Any, turns: int, keys: int
) -> None:
    writer = new_writer(tmp_path_factory.mktemp("root"))
    folder = writer.spool().folder
    expected: dict[tuple[str, int], float] = {}
    texts: dict[tuple[str, int], str] = {}
    for step in range(turns):
        for key in range(keys):
            if draw.random() < 0.05:
                continue
            name = f"k{key}" if draw.random() < 0.95 else "k0"
            value = draw.choice([draw.random(), step, "text"]) if draw.random() < 0.1 else 0.5
            late = step - (draw.random() < 0.05)
            writer.log({name: value}, step=late)
            at = name, late
            if isinstance(value, str):
                texts[at] = json.dumps(value)
            else:
                expected[at] = float(value)
    writer.close()
    wholes = {encoded(folder, size, RULES) for size in (64, 333, 1 << 16)}
    assert len(wholes) == 1
    batch = decode_batch(wholes.pop()) if expected or texts else read_batch(folder)
    assert points_in(folder) == expected
    assert batch.points == len(expected)
    assert {(r["key"], r["step"]): r["json"] for r in batch.records if r["t"] == "value"} == texts
