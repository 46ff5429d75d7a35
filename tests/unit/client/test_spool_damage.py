"""Torn and flipped bytes at every offset of a small spool: what is right is read, nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.spools import UNLIMITED, new_writer, points_in, read_batch

from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.spool.record import FIRST_OFFSET

ROWS = 6


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for step in range(ROWS):
        writer.log({"loss": step + 0.5, "n": step})
    writer.close()
    return folder


def expected(steps: range) -> dict[tuple[str, int], float]:
    return {(key, s): v for s in steps for key, v in (("loss", s + 0.5), ("n", float(s)))}


def test_whole(spool: Path) -> None:
    assert points_in(spool) == expected(range(ROWS))


def test_torn_at_every_offset(spool: Path) -> None:
    segment = spool / "00000001.seg"
    whole = segment.read_bytes()
    rows = 0
    for size in range(FIRST_OFFSET, len(whole)):
        segment.write_bytes(whole[:size])
        points = points_in(spool)
        rows = max(rows, len(points) // 2)
        assert points == expected(range(rows)), size
    assert rows == ROWS


def test_zeros_from_every_offset(spool: Path) -> None:
    """As after a crash of the host that lost the last pages."""
    segment = spool / "00000001.seg"
    whole = segment.read_bytes()
    for size in range(FIRST_OFFSET, len(whole)):
        segment.write_bytes(whole[:size] + bytes(len(whole) - size))
        points = points_in(spool)
        assert points == expected(range(len(points) // 2)), size


def test_flipped_at_every_offset(spool: Path) -> None:
    """One flipped bit costs at most one record, or the rows of one shape; never a wrong value."""
    segment = spool / "00000001.seg"
    whole = segment.read_bytes()
    full = expected(range(ROWS))
    for offset in range(FIRST_OFFSET, len(whole)):
        for bit in (1, 128):
            damaged = bytearray(whole)
            damaged[offset] ^= bit
            segment.write_bytes(damaged)
            points = points_in(spool)
            assert points.items() <= full.items(), offset
            assert len(points) in (0, 2 * ROWS - 2, 2 * ROWS), offset


def test_damage_is_counted(spool: Path) -> None:
    segment = spool / "00000001.seg"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    reader = SpoolReader(spool)
    gather(reader, reader.first(), UNLIMITED, complete_to=ALL_SEGMENTS)
    assert reader.damaged_bytes > 0
    reader.close()


def test_reading_waits_at_damage_while_the_writer_lives(spool: Path) -> None:
    segment = spool / "00000001.seg"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    before = read_batch(spool, abandoned=False)
    assert 0 < before.points < 2 * ROWS


def test_missing_segment(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for step in range(3_000):
        writer.log({f"k{i}": float(step) for i in range(50)})
    writer.close()
    segments = sorted(folder.glob("*.seg"))
    assert len(segments) >= 3
    shutil.copy(segments[0], tmp_path / "kept")
    segments[0].unlink()
    steps = {step for _, step in points_in(folder)}
    assert steps
    assert steps == set(range(min(steps), 3_000))
