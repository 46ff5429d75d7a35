"""Loads a spool's cuts and progress, repairing them if necessary.

Either file may be damaged or older than the spool. The remaining segments, the cuts and the server's
replies supply the rest.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from penstock.shipper.batches import NO_LIMITS
from penstock.shipper.cuts import Cut, CutLog
from penstock.shipper.delivery import Delivery
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.shipper.rejects import Rejects
from penstock.spool.progress import Progress, load_progress

__all__ = ["mend"]

log = logging.getLogger(__name__)


def mend(run: str, reader: SpoolReader, rejects: Rejects) -> tuple[CutLog, Delivery]:
    """The cuts of a spool, and its delivery so far. Raises OSError."""
    progress = load_progress(reader.folder)
    least = max(progress.cut, progress.queued, progress.committed, progress.released)
    cuts = CutLog(reader.folder, reader.first(), least)
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
    kept = rejects.kept()
    progress = _matched(_in_order(progress, gone, cuts.last), cuts, len(kept))
    return cuts, Delivery(run, progress, now=time.monotonic(), kept=kept)


def _in_order(progress: Progress, gone: int, cut: int) -> Progress:
    """The numbers of a record that may be older than the cuts, or of a version that kept fewer."""
    released = max(progress.released, gone)
    # What is committed but not released has been acknowledged.
    is_known = progress.committed > progress.released
    acknowledged = progress.committed if is_known else min(progress.acknowledged, released)
    committed = max(acknowledged, released)
    return replace(
        progress,
        cut=cut,
        released=released,
        acknowledged=acknowledged,
        committed=committed,
        queued=max(progress.queued, committed),
        done=progress.done and committed >= cut,
    )


def _matched(progress: Progress, cuts: CutLog, kept: int) -> Progress:
    """Everything else that the cuts and the `kept` rejected batches tell."""
    is_counted = progress.rejected or progress.dead
    return replace(
        progress,
        damaged_cuts=max(progress.damaged_cuts, cuts.damaged),
        # If lines were lost, the end may have to be cut again.
        ended=cuts.complete or (progress.ended and not cuts.rebuilt),
        state=cuts.state or progress.state,
        rejected=progress.rejected if is_counted else kept,
    )


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
