"""Loads a spool's cuts and progress, repairing them if necessary.

Either file may be damaged or older than the spool. The remaining segments, the cuts and the server's
replies supply the rest.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from penstock.shipper.batches import NO_LIMITS
from penstock.shipper.cuts import Cut, CutLog
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.shipper.rejects import Rejects
from penstock.spool.progress import Progress

__all__ = ["mend"]

log = logging.getLogger(__name__)


def mend(reader: SpoolReader, progress: Progress, rejects: Rejects) -> CutLog:
    """The cuts of a spool; updates `progress` to match. Raises OSError."""
    first = reader.first()
    least = max(progress.cut, progress.queued, progress.committed)
    cuts = CutLog(reader.folder, first, least)
    progress.damaged_cuts = max(progress.damaged_cuts, cuts.damaged)
    if cuts.rebuilt:
        _look_into(cuts, reader)
    segments = reader.segments()
    oldest = segments[0] if segments else None
    # Batches that start in a deleted segment can no longer be sent. Normally they were committed;
    # the server's next reply tells if they were not.
    gone = 0
    while gone < cuts.last and _is_gone(cuts.cuts[gone + 1], oldest, rejects):
        gone += 1
    if not cuts.last and oldest is not None:
        reader.missing.update(range(1, oldest))
    progress.cut = cuts.last
    progress.released = max(progress.released, gone)
    progress.committed = max(progress.committed, progress.released)
    progress.queued = max(progress.queued, progress.committed)
    # If lines were lost, the end may have to be cut again.
    progress.ended = cuts.complete or (progress.ended and not cuts.rebuilt)
    progress.state = cuts.state or progress.state
    if not progress.rejected and not progress.dead:
        progress.rejected = rejects.count()
    return cuts


def _is_gone(cut: Cut, oldest: int | None, rejects: Rejects) -> bool:
    if cut.kind == "again":
        return not rejects.has(cut.source)
    return oldest is None or cut.start.segment < oldest


def _look_into(cuts: CutLog, reader: SpoolReader) -> None:
    """Restore the details of rebuilt cuts from the spool, and store them."""
    mended = []
    for cut in cuts.rebuilt:
        if cut.kind == "rows":
            found = gather(reader, cut.start, NO_LIMITS, stop=cut.end, complete_to=ALL_SEGMENTS)
            columns = found.columns
            cut = replace(cut, points=columns.points, last=found.ended, state=columns.state)
        mended.append(cut)
    try:
        cuts.append(*mended)
    except OSError as error:  # they will be rebuilt the same way next time
        log.warning("%s: rebuilt cuts cannot be stored: %s", reader.folder.name, error)
        cuts.put(*mended)
