"""The first stage of a sender: cuts the records of a spool into batches.

A batch is cut once and its cut stored before it is first sent. Where the spool goes on, how large a
batch may be and when the next is due is this stage's own; the next stage finds the cuts in the log.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from penstock.failpoints import fail
from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import Cut, CutKind
from penstock.shipper.folding import folded
from penstock.shipper.gather import Gathered, gather
from penstock.shipper.loss_notices import LossNotices
from penstock.shipper.open_spool import OpenSpool
from penstock.shipper.polls import TICK_S
from penstock.shipper.recuts import Recuts
from penstock.shipper.watch import WriterWatch
from penstock.spool.meta import Meta
from penstock.spool.record import Position
from penstock.spool.root import folder_bytes
from penstock.wire import RULES, SYSTEM_RANK

__all__ = ["Collector"]

log = logging.getLogger(__name__)

FIRST_INTERVAL_S, REJECTED_S = 0.3, 1.0
"""Between a run's batches until the server says, and between looks for batches to retry."""
_MAX_INTERVAL_S = 60.0
_SYSTEM_ROWS = 2.0
"""Of system metrics in a batch: nobody waits for them, and every batch costs the server a commit."""
_ENDED_STATES = frozenset({"finished", "failed", "preempting"})


class Collector:
    """Adds cuts to one spool's log. Every method that does raises OSError if they cannot be stored."""

    def __init__(self, spool: OpenSpool, writer: WriterWatch) -> None:
        self.cursor: Position = spool.cuts.end or spool.reader.first()
        """Up to where the spool is cut."""
        self.due_at = 0.0
        """When to look for new records (monotonic clock)."""
        self.is_flowing = False
        """Whether there were any at the last look."""
        self._spool = spool
        self._delivery = spool.delivery
        self._writer = writer
        self._least_s = _least_interval_s(spool.meta)
        self._limits = BatchLimits()
        self._recuts = Recuts(spool.cuts, spool.builder, spool.reader, spool.rejects)
        self._notices = LossNotices(spool.meta.host or "its machine", spool.cuts.cuts.values())
        self._has_more = False
        self._interval_s = FIRST_INTERVAL_S
        self._retries = 0
        self._look_at = 0.0
        self._nothing_at = 0.0

    def sight(self) -> int | None:
        """`SpoolReader.sight` of what is not cut yet; None also if it cannot be seen."""
        try:
            return self._spool.reader.sight(self.cursor)
        except OSError:
            return None

    def found_nothing(self, now: float) -> bool:
        """Whether the check at this `now` found nothing new."""
        return self._nothing_at == now

    def is_due(self, now: float) -> bool:
        """Whether to look for new records."""
        return self._has_more or now >= self.due_at

    def look_at_once(self) -> None:
        """Be due: somebody waits, or the writer came or went."""
        self.due_at = 0.0

    def note_retry(self) -> None:
        """Count a request that has to be repeated; the next batch tells how many there were."""
        self._retries += 1

    def keep_pace(self, interval_s: float | None) -> None:
        """Cut as often as the server asks."""
        if interval_s is not None:
            self._interval_s = min(max(interval_s, self._least_s), _MAX_INTERVAL_S)
            self.due_at = min(self.due_at, time.monotonic() + self._interval_s)

    def cut(self, now: float) -> bool:
        """Cut the next batch, if there is data for one."""
        self.due_at = now + self._interval_s
        spool = self._spool
        found = gather(
            spool.reader, self.cursor, self._limits, complete_to=self._writer.complete_to
        )
        self._has_more = found.full
        self.is_flowing = not found.columns.empty
        spool.report.count_damage(spool.reader)
        if found.columns.empty:
            self.cursor = found.end
            if found.ended or not self._writer.alive:
                return self._end(found)
            self._nothing_at = now
            return False
        self._store("rows", found.end, found)
        if found.ended:
            self._delivery.ended_in(self.cursor.segment)
        return True

    def mark(self) -> None:
        """Cut a batch without rows, which tells the server what was released and lost."""
        self._store("mark", self.cursor, None)

    def mark_losses(self) -> None:
        """The same after the end, if there are losses that the server does not show yet."""
        progress = self._delivery.progress
        if progress.ended and self._notices.is_due(progress):
            self.mark()

    def cut_rejected(self, now: float) -> None:
        """Cut the rejected batches that a user asked to retry, from time to time."""
        if now < self._look_at:
            return
        self._look_at = now + REJECTED_S
        spool, delivery = self._spool, self._delivery
        try:
            is_asked = self._recuts.asked_for(self.cursor, delivery.progress.released)
        finally:
            delivery.cut_to(spool.cuts.last)
        if is_asked:
            spool.report.keep(at_once=True)  # before the request disappears
            spool.rejects.take_all()
            delivery.retried(spool.rejects.kept())

    def cut_smaller(self, cut: Cut) -> bool:
        """Cut a batch that was too large in two, and later ones smaller; False if that is impossible."""
        if not self._recuts.in_two(cut):
            return False
        self._limits = self._limits.halved()
        self._note_recuts()
        return True

    def cut_by_value(self, cut: Cut) -> bool:
        """Cut a refused batch by the current rules; False if it already was."""
        if not self._recuts.by_value(cut):
            return False
        self._note_recuts()
        return True

    def _note_recuts(self) -> None:
        self._spool.builder.forget()
        self._delivery.cut_to(self._spool.cuts.last)

    def _end(self, found: Gathered) -> bool:
        meta = self._spool.meta
        has_ended = found.ended or self._spool.cuts.state in _ENDED_STATES
        # A forked child that dies says nothing about its parent's run.
        crashed = not has_ended and (meta.primary or not meta.parent)
        if crashed:
            log.warning("%s: the training process ended without finish()", meta.run)
            self._store("crashed", self.cursor, None)
        self._delivery.ended_in(self.cursor.segment)
        return crashed

    def _store(self, kind: CutKind, end: Position, found: Gathered | None) -> None:
        spool = self._spool
        cut = self._next(kind, end, found)
        raw, digest = spool.builder.encode(cut, found)
        cut = replace(cut, digest=digest)
        fail("shipper.before_cut")
        spool.cuts.append(cut)
        fail("shipper.after_cut")
        spool.report.disk_works()
        self._retries = 0
        spool.builder.remember(cut, raw)
        self.cursor = end
        dropped = found.dropped if found else 0
        replaced = found.columns.replaced if found else 0
        self._delivery.cut_to(cut.seq, cut.state, dropped=dropped, replaced=replaced)
        self._notices.kept(cut)

    def _next(self, kind: CutKind, end: Position, found: Gathered | None) -> Cut:
        spool, progress = self._spool, self._delivery.progress
        dropped = found.dropped if found else 0
        client = self._notices.client(progress, retries=self._retries, dropped=dropped)
        return Cut(
            seq=spool.cuts.last + 1,
            start=self.cursor,
            end=end,
            kind=kind,
            sent_at=time.time_ns() // 1_000,
            released=progress.released,
            client={**client, "spool_bytes": folder_bytes(spool.folder)},
            points=found.columns.points if found else 0,
            last=kind == "crashed" or (found is not None and found.ended),
            state="crashed" if kind == "crashed" else found.columns.state if found else "",
            rules=RULES,
            fold=folded(spool.cuts.fold, found.columns) if found else {},
        )


def _least_interval_s(meta: Meta) -> float:
    every_s = meta.system.get("interval_s")
    if meta.rank < SYSTEM_RANK or not isinstance(every_s, (int, float)):
        return TICK_S
    return max(TICK_S, _SYSTEM_ROWS * every_s)
