"""A damaged spool: what is right is read, nothing wrong ever is, and reading never fails.

A spool of 64 records is cut off, flipped and zeroed at every offset (at a sample of them in the short
form); then damaged in several places at once, at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fuzzing import cases, kept, source
from support.spools import UNLIMITED, new_writer

from penstock.shipper.columns import BatchLimits
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.spool.record import FIRST_OFFSET

RECORDS = 64
Found = set[tuple[Any, ...]]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Rows of floats, of whole numbers, of mixed kinds and of several keys, and records."""
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for step in range(RECORDS):
        match step % 5:
            case 0 | 1:
                writer.log({"loss": step + 0.5, "acc": step / 64}, step=step)
            case 2:
                writer.log({"epoch": step}, step=step)
            case 3:
                writer.log({"note": f"n{step}", "loss": float(step)}, step=step)
            case _:
                writer.append_record({"t": "config", "update": {f"k{step}": step}})
    writer.close()
    return folder


def read(folder: Path, limits: BatchLimits = UNLIMITED, *, abandoned: bool = True) -> Found:
    """Every point and record that can be read, in batches of the given size."""
    reader = SpoolReader(folder)
    found: Found = set()
    position, ended = reader.first(), False
    try:
        while not ended:
            part = gather(reader, position, limits, complete_to=ALL_SEGMENTS if abandoned else 0)
            frames, records = part.columns.batch()
            for frame in frames:
                width = 8 * frame.rows
                for number, key in enumerate(frame.keys):
                    column = frame.values[number * width : (number + 1) * width]
                    found |= {
                        (key, frame.steps[i : i + 8], column[i : i + 8]) for i in range(0, width, 8)
                    }
            found |= {(repr(record),) for record in records if record["t"] == "config"}
            found |= {
                (record["key"], record["step"], record["json"])
                for record in records
                if record["t"] == "value"
            }
            ended = part.ended or part.end == position
            position = part.end
    finally:
        reader.close()
    return found


def offsets(whole: bytes, name: str) -> list[int]:
    return sorted(source(name).sample(range(len(whole)), min(len(whole), cases(10_000))))


def damage(folder: Path, full: Found, damaged: bytes) -> Found:
    """Read the spool with other bytes in its segment; nothing may be there that was not before."""
    segment = folder / "00000001.seg"
    segment.write_bytes(damaged)
    with kept("spool", damaged):
        found = read(folder)
        assert found <= full
        # A writer that is still there: reading waits at what is not right, and fails no more.
        assert read(folder, abandoned=False) <= full
    return found


def test_whole(spool: Path) -> None:
    full = read(spool)
    assert len(full) == 26 * 2 + 13 + 13 * 2 + 12
    assert read(spool, BatchLimits(points=3, records=2)) == full


@pytest.mark.timeout(300)
def test_cut_off_at_every_offset(spool: Path) -> None:
    whole, full = (spool / "00000001.seg").read_bytes(), read(spool)
    known: Found = set()
    for size in [*offsets(whole, "cuts"), len(whole)]:
        found = damage(spool, full, whole[:size])
        assert known <= found or size < FIRST_OFFSET, size
        known |= found
    assert known == full


@pytest.mark.timeout(300)
def test_flipped_and_zeroed_at_every_offset(spool: Path) -> None:
    whole, full = (spool / "00000001.seg").read_bytes(), read(spool)
    rng = source("bits")
    for offset in offsets(whole, "flips"):
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << rng.randrange(8)
        found = damage(spool, full, bytes(flipped))
        # At most one record is lost, or all rows of one shape.
        assert len(found) >= len(full) - 52, offset
        rest = whole[:offset] + bytes(len(whole) - offset)
        damage(spool, full, rest)


@pytest.mark.timeout(300)
def test_many_damages_at_once(spool: Path) -> None:
    whole, full = (spool / "00000001.seg").read_bytes(), read(spool)
    rng = source("spool")
    for _ in range(cases(5_000)):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            rng.choice(_DAMAGES)(rng, data)
        damage(spool, full, bytes(data))


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _zero(rng: random.Random, data: bytearray) -> None:
    at, count = rng.randrange(len(data) + 1), rng.choice((4, 8, 64, 512))
    data[at : at + count] = bytes(len(data[at : at + count]))


def _swap(rng: random.Random, data: bytearray) -> None:
    """A page of the file as another one is."""
    at, other = (8 * rng.randrange(len(data) // 8 + 1) for _ in range(2))
    data[at : at + 64] = data[other : other + 64]


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice((rng.randbytes(8), b"\xff" * 8, bytes(8)))


_DAMAGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip, _flip, _flip, _zero, _swap, _cut, _insert,
)  # fmt: skip
