"""P18: the cost to the sending side of one `log` call per metric, compared with whole rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Row

__all__ = ["rows"]

_KEYS = 20
_MOST_US = 1.0


def rows(seconds: float) -> Iterator[Row]:
    """The shipper's CPU time per point, from the spool to the bytes of batches."""
    steps = max(200, int(400 * min(seconds, 20)))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        singly = _cost_us(_spool(Path(folder) / "singly", steps, 1))
        whole = _cost_us(_spool(Path(folder) / "whole", steps, _KEYS))
    yield Row(
        "P18",
        f"log once per metric, {_KEYS} metrics, {steps:,} steps: CPU of the shipper",
        f"{singly:.2f} µs/point",
        f"≤ {_MOST_US:.0f}",
        f"rows of {_KEYS}: {whole:.2f} µs/point, ratio {singly / whole:.1f}",
        singly <= _MOST_US,
    )


def _spool(root: Path, steps: int, together: int) -> Path:
    """Write a spool of `steps` steps, `together` metrics per `log` call; returns its folder."""
    from penstock.spool.meta import Meta
    from penstock.spool.spool_folder import Spool, SpoolOptions
    from penstock.spool.writer import Writer
    from penstock.values.slowpath import SlowPath

    root.mkdir()
    meta = Meta("http://127.0.0.1:9", "key", None, "bench", "r", "w", 0)
    slow_path = SlowPath()
    writer = slow_path.writer = Writer(lambda: Spool(root, meta, SpoolOptions()), slow_path)
    names = [f"group{key % 7}/metric{key}" for key in range(_KEYS)]
    for step in range(steps):
        for start in range(0, _KEYS, together):
            row = dict.fromkeys(names[start : start + together], step / 3)
            writer.log(row, step=step)
    folder = writer.spool().folder
    writer.close()
    return folder


def _cost_us(folder: Path) -> float:
    from penstock.shipper.columns import BatchLimits
    from penstock.shipper.gather import ALL_SEGMENTS, gather
    from penstock.shipper.reader import SpoolReader
    from penstock.wire import Batch, encode_batch

    reader = SpoolReader(folder)
    position, points, ended = reader.first(), 0, False
    begun = time.process_time()
    while not ended:
        found = gather(reader, position, BatchLimits(), complete_to=ALL_SEGMENTS)
        frames, records = found.columns.batch()
        encode_batch(Batch("bench", "r", "w", 1, frames=frames, records=records))
        points += sum(frame.points for frame in frames)
        position, ended = found.end, found.ended
    took = time.process_time() - begun
    reader.close()
    return took / points * 1e6
