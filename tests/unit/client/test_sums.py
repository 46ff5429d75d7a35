"""What a spool's batches come to in a store, against a plain model of it."""

from __future__ import annotations

import hashlib
import math
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.marks import first_of
from support.spools import new_writer

from penstock.shipper import sums
from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import Cut
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.shipper.sums import ALERTS, KeySum, holds_all, last_points, sums_of
from penstock.spool.writer import Writer

MASK = 2**64 - 1


def int_hash(number: int) -> int:
    """ClickHouse's intHash64, on Python's integers."""
    number = (number ^ 0x4CF2D2BAAE6DA887) & MASK
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        number = ((number ^ number >> 33) * factor) & MASK
    return number ^ number >> 33


def point_hash(step: int, value: float) -> int:
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return int_hash(bits ^ int_hash(step & MASK))


def cut(writer: Writer, points: int) -> tuple[Path, dict[int, Cut]]:
    """A closed spool in batches of about so many points."""
    folder = writer.spool().folder
    writer.close()
    reader = SpoolReader(folder)
    cuts: dict[int, Cut] = {}
    start, ended = reader.first(), False
    while not ended:
        found = gather(reader, start, BatchLimits(points=points), complete_to=ALL_SEGMENTS)
        cuts[len(cuts) + 1] = Cut(len(cuts) + 1, start, found.end)
        start, ended = found.end, found.ended
    reader.close()
    return folder, cuts


def rows(seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
    draw = random.Random(seed)
    for step in range(300):
        late = step - draw.randrange(30) if draw.random() < 0.2 else step
        row: dict[str, Any] = {"rising": float(step)} if late == step else {}
        row["mixed"] = draw.choice([math.nan, -0.0, math.inf, draw.random(), step])
        if draw.random() < 0.3:
            row["text"] = draw.choice(["a", "é", ""])
        yield late, row


@pytest.mark.parametrize("held", [10, 100, 8_000_000])
@pytest.mark.parametrize("batch", first_of(64, 7, 10_000))
def test_the_sums_are_those_of_the_last_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, batch: int
) -> None:
    monkeypatch.setattr(sums, "_MAX_POINTS", held)
    writer = new_writer(tmp_path)
    points: dict[str, dict[int, float]] = {}
    texts: dict[int, str] = {}
    for step, row in rows(held + batch):
        writer.log(row, step)
        for key, value in row.items():
            if key == "text":
                texts[step] = f'"{value}"' if value != "é" else '"\\u00e9"'
            else:
                points.setdefault(key, {})[step] = float(value)
    writer.append_record({"t": "alert", "time": 5, "title": "x"})
    folder, cuts = cut(writer, batch)
    found = sums_of(folder, cuts)
    assert found.points == {
        key: KeySum(len(own), sum(point_hash(*each) for each in own.items()) & MASK)
        for key, own in points.items()
    }
    text_hashes = [
        hashlib.md5(f"{step} string {text}".encode(), usedforsecurity=False).digest()[:8]
        for step, text in texts.items()
    ]
    total = sum(int.from_bytes(each, "little") for each in text_hashes) & MASK
    assert found.values == {"text": KeySum(len(texts), total), ALERTS: KeySum(1, None)}
    steps, values = last_points(folder, cuts, "mixed")
    wanted = dict(sorted(points["mixed"].items()))
    assert steps.tolist() == list(wanted)
    assert np.array_equal(values, np.array(list(wanted.values())), equal_nan=True)


def test_a_voided_batch_does_not_count(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    for step in range(10):
        writer.log({"x": 1.0}, step)
    folder, cuts = cut(writer, 5)
    cuts[1] = cuts[1].voided()
    assert sums_of(folder, cuts).points["x"].total == 5


def test_freed_segments_are_noticed(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    for step in range(20_000):
        writer.log({"x": 1.0}, step)
    folder, cuts = cut(writer, 5_000)
    assert holds_all(folder, cuts)
    next(iter(sorted(folder.glob("*.seg")))).unlink()
    assert not holds_all(folder, cuts)
