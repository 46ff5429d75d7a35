"""Cuts refused data again under new numbers; the old number is voided."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from penstock.shipper.batches import NO_LIMITS, BatchBuilder
from penstock.shipper.cuts import Cut, CutLog
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.shipper.rejects import Rejects
from penstock.spool.record import Position
from penstock.wire import RULES

__all__ = ["Recuts"]

log = logging.getLogger(__name__)


class Recuts:
    """Adds cuts to one spool's log. Every method raises OSError if they cannot be stored."""

    def __init__(
        self, cuts: CutLog, builder: BatchBuilder, reader: SpoolReader, rejects: Rejects
    ) -> None:
        self._cuts = cuts
        self._builder = builder
        self._reader = reader
        self._rejects = rejects

    def in_two(self, cut: Cut) -> bool:
        """Void a too large batch and cut its range in two; False if that is impossible."""
        if cut.kind != "rows":
            return False
        half = replace(NO_LIMITS, points=max(1, cut.points // 2))
        middle = gather(self._reader, cut.start, half, stop=cut.end, complete_to=ALL_SEGMENTS).end
        if not cut.start < middle < cut.end:
            return False
        first = self._cuts.last + 1
        whole = replace(cut, digest="", points=cut.points // 2, rules=RULES)
        self._cuts.append(
            cut.voided(),
            replace(whole, seq=first, end=middle, last=False),
            replace(whole, seq=first + 1, start=middle),
        )
        return True

    def by_value(self, cut: Cut) -> bool:
        """Void a batch cut by older rules and cut its rows by the current ones, which leave out only
        what is invalid. False if it was already cut by the current rules."""
        if cut.kind != "rows" or cut.rules >= RULES:
            return False
        new = replace(cut, seq=self._cuts.last + 1, rules=RULES, digest="")
        _, digest = self._builder.built(new)
        self._cuts.append(cut.voided(), replace(new, digest=digest))
        log.warning("batch %d was refused, cut by value as %d", cut.seq, new.seq)
        return True

    def asked_for(self, at: Position, released: int) -> bool:
        """Cut the rejected batches that a user asked to retry; returns whether there were any."""
        sources = self._rejects.asked_for()
        for source in sources:
            cuts = self._cuts.cuts.values()
            if not any(cut.kind == "again" and cut.source == source for cut in cuts):
                try:
                    self._again(source, at, released)
                except OSError as error:  # everything else continues
                    log.error("rejected batch %d is not sent again: %s", source, error)
                    self._rejects.put_back(source)
        return bool(sources)

    def _again(self, source: int, at: Position, released: int) -> None:
        state, points = self._builder.rejected(source)
        # The run's state in it is outdated if later batches contain one.
        since = [cut for cut in self._cuts.cuts.values() if cut.seq > source]
        if any(cut.state and cut.kind != "void" for cut in since):
            state = ""
        cut = Cut(
            seq=self._cuts.last + 1,
            start=at,
            end=at,
            kind="again",
            sent_at=time.time_ns() // 1_000,
            released=released,
            points=points,
            state=state,
            rules=RULES,
            source=source,
        )
        _, digest = self._builder.encode(cut, None)
        self._cuts.append(replace(cut, digest=digest))
        log.warning("rejected batch %d is sent again as %d", source, cut.seq)
