"""Sends one spool: cut a batch, send it, read what is committed, release what is no longer needed.

A batch is cut once and its cut stored before it is first sent; a retry sends the same bytes. Segments
are released some time after the server reports them committed to the *store*, in case the store is
replaced by an older copy. If the queue is replaced, or after 15 minutes without progress, everything
not committed is sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.errors import Rejected, Transient
from penstock.failpoints import fail
from penstock.link import Link
from penstock.shipper.api_key import SpoolKey
from penstock.shipper.batches import BatchBuilder
from penstock.shipper.circuit_breaker import CircuitBreaker, Held
from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import Cut, CutKind
from penstock.shipper.folding import folded
from penstock.shipper.gather import Gathered, gather
from penstock.shipper.loss_notices import LossNotices
from penstock.shipper.mending import mend
from penstock.shipper.polls import MAX_POLL_S, TICK_S, Polls
from penstock.shipper.positions import PositionTracker
from penstock.shipper.reader import SpoolReader
from penstock.shipper.recuts import Recuts
from penstock.shipper.refusals import Refusal, problem_of, refusal_of
from penstock.shipper.rejects import Rejects
from penstock.shipper.report import Report
from penstock.shipper.retention import SegmentRetention
from penstock.shipper.watch import WriterWatch
from penstock.spool.meta import load_meta
from penstock.spool.progress import Progress, load_progress
from penstock.spool.record import Position
from penstock.spool.root import folder_bytes
from penstock.wire import RULES, join_batches

__all__ = ["SpoolSender"]

log = logging.getLogger(__name__)

FIRST_INTERVAL_S, REJECTED_S = 0.3, 1.0
STALLED_S, KEEP_S = 15 * 60.0, 10 * 60.0
KEY_RETRY_S, REFUSED_RETRY_S, DISK_RETRY_S = 5.0, 60.0, 2.0
_ENDED_STATES = frozenset({"finished", "failed", "preempting"})


class SpoolSender:
    """Drives one spool. Call `turn` repeatedly; it returns when to call it next."""

    def __init__(self, folder: Path, link: Link, breaker: CircuitBreaker) -> None:
        """Raises OSError or ValueError if the spool cannot be read."""
        self.folder = folder
        self.meta = load_meta(folder)
        self.key = SpoolKey(self.meta)
        self.progress: Progress = load_progress(folder)
        self._link = link
        self._breaker = breaker
        self._reader = SpoolReader(folder)
        self._rejects = Rejects(folder)
        self._log = mend(self._reader, self.progress, self._rejects)
        self._positions = PositionTracker(self.meta.run, self.progress, self._log)
        self._cursor = self._log.end or self._reader.first()
        self._limits = BatchLimits()
        self._builder = BatchBuilder(self.meta, self._reader)
        self._recuts = Recuts(self._log, self._builder, self._reader, self._rejects)
        self._retention = SegmentRetention(folder, self._reader.first().segment)
        self.writer = WriterWatch(folder, self.meta, self._reader)
        if self.meta.parent:  # another process may have continued it: check again
            self.progress.go_on()
        self._more = self._is_flowing = False
        self._interval_s, self._cut_at = FIRST_INTERVAL_S, 0.0
        self._polls = Polls()
        self._paused_until = self._look_at = 0.0
        self._is_gone = self._is_tight = False
        self._retries = 0
        self._heartbeat_answer: tuple[int, dict[str, Any]] | None = None
        self._notices = LossNotices(self.meta.host or "its machine", self._log.cuts.values())
        self.report = Report(folder, self.meta.run, self.progress)

    @property
    def alive(self) -> bool:
        """Whether its writer may still log."""
        return self.writer.alive and not self.progress.ended

    @property
    def reply_count(self) -> int:
        return self._positions.reply_count

    @property
    def waiting(self) -> bool:
        """Whether only time or a person can bring progress; no work is left."""
        return self.progress.done or (not self.writer.alive and self._paused_until > 0)

    @property
    def _all_acknowledged(self) -> bool:
        return self.progress.acknowledged >= self._log.last

    @property
    def goes_on(self) -> bool:
        """Whether it had ended and another child of the same parent has continued it."""
        return self.progress.ended and self.writer.has_come(self._cursor)

    @property
    def is_continued(self) -> bool:
        return self.writer.is_continued(self._cursor)

    @property
    def next_cut(self) -> float | None:
        """When the next batch of a logging run is due (monotonic clock); None if nothing is new."""
        return self._cut_at if self._is_flowing and not self.progress.ended else None

    def turn(self, *, tight: bool = False) -> float:
        """Do the next step; returns after how many seconds to call again. If `tight`, the root is
        short of space and nothing committed is kept."""
        now = time.monotonic()
        self._is_tight = tight
        delay_s = self._attempt(now)
        keep_s = 0.0 if tight or self.report.no_space else KEEP_S
        try:
            self._retention.release(self.progress, self._log, self._cursor, now, keep_s)
        except OSError as error:
            self.report.disk_failed(error)
            delay_s = DISK_RETRY_S
        self.report.keep(at_once=self.progress.ended)
        return min(delay_s, MAX_POLL_S)

    @property
    def hurries(self) -> bool:
        """Whether somebody is assumed to wait for its end."""
        return time.monotonic() < self._polls.hurried_to and not self.progress.done

    def hurry(self) -> bool:
        """Look for the writer's end at the next turn; False if it has already ended."""
        if self.progress.ended or self.progress.done:
            return False
        self._cut_at = 0.0
        return True

    def acknowledge(self, reply_count: int, position: dict[str, Any]) -> None:
        """Process a heartbeat's answer at the next turn, unless `reply_count` has changed since."""
        self._heartbeat_answer = (reply_count, position)

    def keep_progress(self) -> None:
        """Store the progress now, if it changed."""
        self.report.keep(at_once=True)

    def close(self) -> None:
        self._reader.close()

    def _attempt(self, now: float) -> float:
        try:
            answer, self._heartbeat_answer = self._heartbeat_answer, None
            if answer is not None and answer[0] == self._positions.reply_count:
                self._acknowledge(answer[1])
            self._take_rejected(now)
            if self.goes_on:
                self.progress.go_on()
                self._cut_at = now
            if self.progress.ended and not self._is_gone and self._notices.is_due(self.progress):
                self.progress.done = False
                self._keep_cut("mark", self._cursor, None)
            if self.progress.done:
                return MAX_POLL_S
            if self._paused_until > now:
                return self._paused_until - now
            delay_s = self._step(now)
        except Held as held:
            return held.wait_s
        except Transient as error:
            self._retries += 1
            self.report.say(error.code, str(error))
            return max(self._breaker.wait_s, TICK_S)
        except Rejected as error:
            return self._refused(error)
        except OSError as error:  # of this machine's disk: the network's are `Transient`
            self.report.disk_failed(error)
            return DISK_RETRY_S
        self._paused_until = 0.0
        if self._breaker.failures == 0 and not self._is_gone:
            self.report.well()
        return delay_s

    def _step(self, now: float) -> float:
        if self.writer.has_gone():
            self._cut_at = now
        progress = self.progress
        if progress.queued < self._log.last:
            following = self._log.cuts[progress.queued + 1]
            if self._is_gone:
                self._put_aside(following)
            else:
                self._send(following)
            return 0.0
        if not progress.ended and (self._more or now >= self._cut_at):
            self._cut_at = now + self._interval_s
            if self._cut():
                return 0.0
        if not self._all_acknowledged and now >= self._polls.due_at and not self._is_gone:
            self._poll(now)
        if progress.ended and self._all_acknowledged:
            progress.done = True
            progress.done_at = time.time()
        waits = not (self._all_acknowledged or self._is_gone)
        cut_at = None if progress.ended else self._cut_at
        return self._polls.rest_s(now, cut_at=cut_at, is_waiting=waits)

    def _cut(self) -> bool:
        """Cut the next batch, if there is data for one."""
        found = gather(
            self._reader, self._cursor, self._limits, complete_to=self.writer.complete_to
        )
        self._more = found.full
        self._is_flowing = not found.columns.empty
        self.report.count_damage(self._reader)
        if found.columns.empty:
            self._cursor = found.end
            if found.ended or not self.writer.alive:
                return self._end(found)
            return False
        self._keep_cut("rows", found.end, found)
        if found.ended:
            self.progress.end_in(self._cursor.segment)
        return True

    def _take_rejected(self, now: float) -> None:
        """Cut the rejected batches that a user asked to retry. Raises OSError."""
        if now < self._look_at or self._is_gone:
            return
        self._look_at = now + REJECTED_S
        progress = self.progress
        if self._recuts.asked_for(self._cursor, progress.released):
            progress.done, progress.cut = False, self._log.last
            self.report.keep(at_once=True)  # before the request disappears
            self._rejects.take_all()
            progress.rejected = self._rejects.count()

    def _end(self, found: Gathered) -> bool:
        crashed = not (found.ended or self._log.state in _ENDED_STATES) and self.meta.primary
        if crashed:
            log.warning("%s: the training process ended without finish()", self.meta.run)
            self._keep_cut("crashed", self._cursor, None)
        self.progress.end_in(self._cursor.segment)
        return crashed

    def _keep_cut(self, kind: CutKind, end: Position, found: Gathered | None) -> None:
        dropped = found.dropped if found else 0
        client = self._notices.client(self.progress, retries=self._retries, dropped=dropped)
        fold = folded(self._log.fold, found.columns) if found else {}
        cut = Cut(
            seq=self._log.last + 1,
            start=self._cursor,
            end=end,
            kind=kind,
            sent_at=time.time_ns() // 1_000,
            released=self.progress.released,
            client={**client, "spool_bytes": folder_bytes(self.folder)},
            points=found.columns.points if found else 0,
            last=kind == "crashed" or (found is not None and found.ended),
            state="crashed" if kind == "crashed" else found.columns.state if found else "",
            rules=RULES,
            fold=fold,
        )
        raw, digest = self._builder.encode(cut, found)
        cut = replace(cut, digest=digest)
        fail("shipper.before_cut")
        self._log.append(cut)
        fail("shipper.after_cut")
        self.report.disk_works()
        self._retries = 0
        self._builder.remember(cut, raw)
        self._cursor = end
        replaced = found.columns.replaced if found else 0
        self.progress.note_cut(cut.seq, cut.state, dropped=dropped, replaced=replaced)
        self._notices.kept(cut)

    def _send(self, cut: Cut) -> None:
        raw = self._builder.bytes_of(cut)
        self.report.count_damage(self._reader)
        key = self.key.now()
        age_us = self.meta.age_us
        reply = self._ask(lambda: self._link.post_batches(join_batches([raw]), key, age_us=age_us))
        fail("shipper.after_send")
        self.progress.queued = cut.seq
        self._acknowledge(reply)
        self.report.disk_works()
        self._builder.forget()
        interval_s = reply.get("interval_s")
        if isinstance(interval_s, (int, float)):
            self._interval_s = min(max(float(interval_s), TICK_S), 60.0)
            self._cut_at = min(self._cut_at, time.monotonic() + self._interval_s)
        self._polls.sent(time.monotonic(), is_last=self.progress.ended, is_tight=self._is_tight)

    def _poll(self, now: float) -> None:
        key = self.key.now()
        try:
            reply = self._ask(lambda: self._link.writer_position(self.meta, key))
        except Rejected as error:
            if error.status != 404:  # 404: not known there yet
                raise
            reply = {}
        before = self.progress.committed
        self._acknowledge(reply)
        self._polls.answered(now, advanced=self.progress.committed > before)
        self._positions.stalled(now, STALLED_S)

    def _ask(self, request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return self._breaker.call((self.meta.entity, self.meta.project), request)

    def _acknowledge(self, reply: dict[str, Any]) -> None:
        """Process a reply. If it raises OSError, nothing of the reply has been processed."""
        self._keep_dead(reply.get("dead"))
        if self._positions.must_announce_release(reply):
            self._keep_cut("mark", self._cursor, None)  # so that the server does not wait for them
        self._positions.acknowledge(reply)

    def _keep_dead(self, numbers: object) -> None:
        """Set aside dead letters, which the server accepted but cannot process, before releasing them."""
        progress = self.progress
        for seq in numbers if isinstance(numbers, list) else []:
            cut = self._log.cuts.get(seq)
            if cut is None or seq in progress.dead or cut.kind == "void":
                continue
            if seq > progress.released:
                self._rejects.keep(seq, self._builder.bytes_of(cut))
                self.report.disk_works()
            log.error("%s: the server could not process batch %d", self.meta.run, seq)
            progress.dead = sorted([*progress.dead, seq])

    def _refused(self, error: Rejected) -> float:
        cut = self._log.cuts.get(self.progress.queued + 1)
        refusal = refusal_of(error, cut)
        self.report.say(*problem_of(error))
        now = time.monotonic()
        if refusal is Refusal.GONE:
            return self._lose_run(error)
        if refusal is Refusal.KEY:
            self.key.refuse()
            self._paused_until = now + KEY_RETRY_S
        elif refusal is Refusal.TOO_LARGE and cut and self._cut_again(cut, smaller=True):
            return 0.0
        elif refusal is Refusal.TAKEN and cut is not None:
            self.progress.queued = cut.seq
            return 0.0
        elif cut is not None and refusal in (Refusal.FINAL, Refusal.CONFLICT):
            return self._reject(cut, error)
        else:  # the data stays here until a person acts
            self._paused_until = now + REFUSED_RETRY_S
        return self._paused_until - now

    def _lose_run(self, error: Rejected) -> float:
        """The run was deleted on the server: stop sending, and set aside what the store lacked."""
        if not self._is_gone:
            log.error("%s: %s; further data is kept on this machine", self.meta.run, error)
        self._is_gone = True
        self.progress.queued = self.progress.committed
        return 0.0

    def _put_aside(self, cut: Cut) -> None:
        """Keep a batch that the server does not take for a person to find. Raises OSError."""
        if cut.kind in ("rows", "again"):
            self._rejects.keep(cut.seq, self._builder.bytes_of(cut), instead_of=cut.source)
            self.progress.rejected += 1
        self._builder.forget()
        self.progress.queued = self.progress.committed = self.progress.acknowledged = cut.seq

    def _reject(self, cut: Cut, error: Rejected) -> float:
        """Set a refused batch aside and void its number."""
        try:
            if error.status != 409 and self._cut_again(cut, smaller=False):
                return 0.0
            self._rejects.keep(cut.seq, self._builder.bytes_of(cut), instead_of=cut.source)
            if error.status != 409:
                self._log.append(cut.voided())
        except OSError as failure:
            self.report.disk_failed(failure)
            return DISK_RETRY_S
        log.error("%s: batch %d refused (%s): %s", self.meta.run, cut.seq, error.code, error)
        self.progress.rejected += 1
        self.progress.refusal = str(error)
        self._builder.forget()
        if error.status == 409:  # the server has another batch with this number: no gap
            self.progress.queued = cut.seq
        return 0.0

    def _cut_again(self, cut: Cut, *, smaller: bool) -> bool:
        """Cut a refused batch in another way, if possible. Raises OSError."""
        if not (self._recuts.in_two(cut) if smaller else self._recuts.by_value(cut)):
            return False
        self._limits = self._limits.halved() if smaller else self._limits
        self._builder.forget()
        self.progress.cut = self._log.last
        return True
