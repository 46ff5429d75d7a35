"""What becomes of a sender's batches: takes in the server's replies and refusals.

A batch that the server does not take is set aside in `rejected/`, or goes back to the collector, which
cuts its rows under another number.
"""

from __future__ import annotations

import logging
import time

from penstock.errors import Rejected
from penstock.shipper.api_key import SpoolKey
from penstock.shipper.collector import Collector
from penstock.shipper.cuts import Cut
from penstock.shipper.open_spool import OpenSpool
from penstock.shipper.refusals import Refusal, problem_of, refusal_of
from penstock.shipper.replies import Reply

__all__ = ["Outcomes"]

log = logging.getLogger(__name__)

KEY_RETRY_S, REFUSED_RETRY_S = 5.0, 60.0


class Outcomes:
    """Those of one spool's batches. Every method raises OSError if a batch cannot be set aside now."""

    def __init__(self, spool: OpenSpool, collector: Collector, key: SpoolKey) -> None:
        self.reply_count = 0
        """Number of replies taken in."""
        self.is_gone = False
        """Whether the server takes nothing more of this run."""
        self._spool = spool
        self._delivery = spool.delivery
        self._collector = collector
        self._key = key

    def acknowledge(self, reply: Reply) -> None:
        """Take in a reply. If it raises OSError, nothing of the reply's positions was adopted."""
        self._keep_dead(reply.dead)
        if lacking := self._delivery.lacking(reply):
            self._collector.mark()  # so that the server does not wait for them
            cuts = self._spool.cuts.cuts
            self._delivery.lost(reply, points=sum(cuts[seq].points for seq in lacking))
        self.reply_count += 1
        self._delivery.acknowledged(reply, time.monotonic())

    def refused(self, error: Rejected) -> float:
        """Take in the refusal of a request; returns for how many seconds to pause."""
        self._spool.report.say(*problem_of(error))
        cut = self._spool.cuts.cuts.get(self._delivery.progress.queued + 1)
        refusal = refusal_of(error, cut)
        if refusal is Refusal.GONE:
            self._lose_run(error)
            return 0.0
        if refusal is Refusal.KEY:
            self._key.refuse()
            return KEY_RETRY_S
        if cut is not None and self._act_on(refusal, cut, error):
            return 0.0
        return REFUSED_RETRY_S  # the data stays here until a person acts

    def put_aside(self, cut: Cut) -> None:
        """Keep a batch of a run that is gone for a person to find."""
        if cut.kind in ("rows", "again"):
            self._keep(cut)
            self._delivery.rejected(cut.seq)
        self._spool.builder.forget()
        self._delivery.written_off(cut.seq)

    def _act_on(self, refusal: Refusal, cut: Cut, error: Rejected) -> bool:
        """Do what a refusal requires; returns whether sending continues."""
        if refusal is Refusal.TOO_LARGE:
            return self._collector.cut_smaller(cut)
        if refusal is Refusal.TAKEN:
            self._delivery.queued_to(cut.seq)
            return True
        if refusal is Refusal.CONFLICT:
            self._keep(cut)
            self._reject(cut, error)
            self._delivery.queued_to(cut.seq)  # the server has another batch: no gap
            return True
        if refusal is not Refusal.FINAL:
            return False
        if not self._collector.cut_by_value(cut):
            self._keep(cut)
            self._spool.cuts.append(cut.voided())
            self._reject(cut, error)
        return True

    def _reject(self, cut: Cut, error: Rejected) -> None:
        run = self._spool.meta.run
        log.error("%s: batch %d refused (%s): %s", run, cut.seq, error.code, error)
        self._delivery.rejected(cut.seq, str(error))
        self._spool.builder.forget()

    def _keep(self, cut: Cut) -> None:
        raw = self._spool.builder.bytes_of(cut)
        self._spool.rejects.keep(cut.seq, raw, instead_of=cut.source)

    def _keep_dead(self, numbers: tuple[int, ...]) -> None:
        """Set aside dead letters, which the server accepted but cannot process, before releasing them."""
        spool = self._spool
        for seq in numbers:
            cut = spool.cuts.cuts.get(seq)
            if cut is None or cut.kind == "void" or self._delivery.has_verdict(seq):
                continue
            if seq > self._delivery.progress.released:
                spool.rejects.keep(seq, spool.builder.bytes_of(cut))
                spool.report.disk_works()
            log.error("%s: the server could not process batch %d", spool.meta.run, seq)
            self._delivery.died(seq)

    def _lose_run(self, error: Rejected) -> None:
        """The run was deleted on the server: stop sending, and set aside what the store lacked."""
        if not self.is_gone:
            run = self._spool.meta.run
            log.error("%s: %s; further data is kept on this machine", run, error)
        self.is_gone = True
        self._delivery.send_again()
