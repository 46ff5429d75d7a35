"""Counts what a spool holds that no batch covers yet: logged, and not even on its way."""

from __future__ import annotations

from pathlib import Path

from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import CutLog
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader

__all__ = ["uncut_points"]


def uncut_points(folder: Path, after: int, *, is_writing: bool) -> int:
    """The number of points that were logged after this batch (0: all), read in parts. `is_writing`: more may
    follow.

    Raises OSError if the spool cannot be read.
    """
    reader = SpoolReader(folder)
    points, complete_to = 0, 0 if is_writing else ALL_SEGMENTS
    try:
        cuts = CutLog(folder, reader.first()).cuts.values()
        at = max([reader.first(), *(cut.end for cut in cuts if cut.seq <= after)])
        while True:
            found = gather(reader, at, BatchLimits(), complete_to=complete_to)
            points += found.columns.points
            if found.end == at:
                return points
            at = found.end
    finally:
        reader.close()
