"""Sends one spool. It only drives; the stages do the work:

    spool ──► collector ──► cuts ──► transmitter ──► server
                  ▲                                     │
                  └──────────── outcomes ◄──────────────┘

The collector cuts a batch once and stores its cut before it is first sent; a retry sends the same bytes.
Outcomes tell the spool's `delivery` what the server has. Segments are released some time after the
server reports them committed to the *store*, in case the store is replaced by an older copy. If the
queue is replaced, or after 15 minutes without progress, everything not committed is sent again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from penstock.errors import Rejected, Transient
from penstock.link import Link
from penstock.shipper.circuit_breaker import CircuitBreaker, Held
from penstock.shipper.collector import Collector
from penstock.shipper.cuts import Cut
from penstock.shipper.open_spool import OpenSpool
from penstock.shipper.outcomes import Outcomes
from penstock.shipper.polls import MAX_POLL_S, TICK_S, Polls
from penstock.shipper.replies import Reply
from penstock.shipper.retention import SegmentRetention
from penstock.shipper.transmitter import Transmitter
from penstock.shipper.uploads import Uploads
from penstock.shipper.watch import WriterWatch
from penstock.spool.progress import Progress

__all__ = ["SpoolSender"]

STALLED_S, KEEP_S = 15 * 60.0, 10 * 60.0
DISK_RETRY_S = 2.0


class SpoolSender:
    """Drives one spool. Call `turn` repeatedly; it returns when to call it next."""

    def __init__(self, folder: Path, link: Link, breaker: CircuitBreaker) -> None:
        """Raises OSError or ValueError if the spool cannot be read."""
        self._spool = spool = OpenSpool.of(folder)
        self.folder, self.meta, self.report = folder, spool.meta, spool.report
        self.writer = WriterWatch(folder, spool.meta, spool.reader)
        self._delivery = spool.delivery
        self._collector = Collector(spool, self.writer)
        self._transmitter = Transmitter(spool, link, breaker)
        self.key = self._transmitter.key
        self._outcomes = Outcomes(spool, self._collector, self.key)
        self._uploads = Uploads(folder)
        self._retention = SegmentRetention(folder, spool.reader.first().segment)
        if self.meta.parent:  # another process may have continued it: check again
            self._delivery.continued()
        self._polls = Polls()
        self._paused_until = 0.0
        self._is_tight = False
        self._heartbeat_answer: tuple[int, dict[str, Any]] | None = None
        self._last_position: dict[str, Any] | None = None
        self._is_idle = False
        self._rest: tuple[float, int] | None = None
        """When a turn had nothing to do, and the sight before it."""

    @property
    def progress(self) -> Progress:
        """How far it is delivered now."""
        return self._delivery.progress

    @property
    def alive(self) -> bool:
        """Whether its writer may still log."""
        return self.writer.alive and not self.progress.ended

    @property
    def reply_count(self) -> int:
        return self._outcomes.reply_count

    @property
    def waiting(self) -> bool:
        """Whether only time or a person can bring progress; no work is left."""
        return self.progress.done or (not self.writer.alive and self._paused_until > 0)

    @property
    def goes_on(self) -> bool:
        """Whether it had ended and another child of the same parent has continued it."""
        return self.progress.ended and self.writer.has_come(self._collector.cursor)

    @property
    def is_continued(self) -> bool:
        return self.writer.is_continued(self._collector.cursor)

    @property
    def next_cut(self) -> float | None:
        """When the next batch of a logging run is due (monotonic clock); None if nothing is new."""
        is_logging = self._collector.is_flowing and not self.progress.ended
        return self._collector.due_at if is_logging else None

    def turn(self, *, tight: bool = False) -> float:
        """Do the next step; returns after how many seconds to call again. If `tight`, the root is
        short of space and nothing committed is kept."""
        now = time.monotonic()
        self._is_tight, self._is_idle, self._rest = tight, False, None
        sight = self._collector.sight()
        delay_s = self._attempt(now)
        keep_s = 0.0 if tight or self.report.no_space else KEEP_S
        try:
            self._retention.release(
                self._delivery, self._spool.cuts, self._collector.cursor, now, keep_s
            )
        except OSError as error:
            self.report.disk_failed(error)
            delay_s = DISK_RETRY_S
        self.report.keep(at_once=self.progress.ended)
        if self._is_idle and sight is not None and not tight:
            self._rest = now, sight
        return min(delay_s, MAX_POLL_S)

    def is_resting(self, now: float, most_s: float) -> bool:
        """Whether a turn is not worth its cost: the last one, at most `most_s` ago, had nothing to do,
        and nothing was logged since. Only a turn notices that a writer died."""
        if self._rest is None or self._heartbeat_answer is not None:
            return False
        since, sight = self._rest
        return now < since + most_s and self._collector.sight() == sight

    def hurries(self, now: float) -> bool:
        """Whether somebody is assumed to wait for its end."""
        return now < self._polls.hurried_to and not self.progress.done

    def hurry(self) -> bool:
        """Look for the writer's end at the next turn; False if it has already ended."""
        self._rest = None
        if self.progress.ended or self.progress.done:
            return False
        self._collector.look_at_once()
        return True

    def acknowledge(self, reply_count: int, position: dict[str, Any]) -> None:
        """Process a heartbeat's answer at the next turn, unless `reply_count` has changed since. One that
        says the same as the last need not wake a resting spool."""
        if self._rest is None or position != self._last_position:
            self._heartbeat_answer = (reply_count, position)

    def keep_progress(self) -> None:
        """Store the progress now, if it changed."""
        self.report.keep(at_once=True)

    def close(self) -> None:
        self._spool.reader.close()

    def _attempt(self, now: float) -> float:
        try:
            return self._work(now)
        except Held as held:
            return held.wait_s
        except Transient as error:
            self._collector.note_retry()
            self.report.say(error.code, str(error))
            return max(self._transmitter.wait_s, TICK_S)
        except OSError as error:  # of this machine's disk: the network's are `Transient`
            self.report.disk_failed(error)
            return DISK_RETRY_S

    def _work(self, now: float) -> float:
        try:
            self._take_news(now)
            if self.progress.done:
                self._is_idle = True
                return MAX_POLL_S
            if self._paused_until > now:
                return self._paused_until - now
            delay_s = self._step(now)
        except Rejected as error:
            pause_s = self._outcomes.refused(error)
            if pause_s:
                self._paused_until = time.monotonic() + pause_s
            return pause_s
        self._paused_until = 0.0
        if self._transmitter.is_well and not self._outcomes.is_gone:
            self.report.well()
        return delay_s

    def _take_news(self, now: float) -> None:
        """Whatever came since the last turn: a heartbeat's answer, a user's request, another writer."""
        answer, self._heartbeat_answer = self._heartbeat_answer, None
        is_gone = self._outcomes.is_gone  # then no position counts, and nothing is sent again
        if answer is not None and answer[0] == self.reply_count and not is_gone:
            self._outcomes.acknowledge(Reply.of(answer[1]))
            self._last_position = answer[1]
        if not is_gone:
            self._collector.cut_rejected(now)
        if self.goes_on:
            self._delivery.continued()
            self._collector.look_at_once()
        if not is_gone:
            self._collector.mark_losses()

    def _step(self, now: float) -> float:
        if self.writer.has_gone():
            self._collector.look_at_once()
        following = self._spool.cuts.cuts.get(self.progress.queued + 1)
        if following is not None:
            self._deliver(following)
            return 0.0
        if not self.progress.ended and self._collector.is_due(now) and self._collector.cut(now):
            return 0.0
        is_waiting = not (self._delivery.is_all_acknowledged or self._outcomes.is_gone)
        if is_waiting and now >= self._polls.due_at:
            self._poll(now)
        if self.progress.acknowledged and self._upload():
            return 0.0
        return self._rest_s(now)

    def _upload(self) -> bool:
        """Send the next of the run's files; False if there is none."""
        path = None if self._outcomes.is_gone else self._uploads.next()
        if path is None:
            return False
        file = self._uploads.read(path)
        if file is not None:
            try:
                self._transmitter.upload(file)
            except Rejected as error:
                self._uploads.refused(path, error)
            else:
                self._uploads.uploaded(path)
        return True

    def _rest_s(self, now: float) -> float:
        """How long there is nothing to do, now that everything is sent."""
        is_stored = self._delivery.is_all_acknowledged
        if self.progress.ended and is_stored and not self._has_files:
            self._delivery.finished(time.time())
        self._is_idle = is_stored and self._collector.found_nothing(now)
        return self._polls.rest_s(
            now,
            cut_at=None if self.progress.ended else self._collector.due_at,
            is_waiting=not (is_stored or self._outcomes.is_gone),
        )

    @property
    def _has_files(self) -> bool:
        return self._uploads.are_left and not self._outcomes.is_gone

    def _deliver(self, cut: Cut) -> None:
        if self._outcomes.is_gone:
            self._outcomes.put_aside(cut)
            return
        reply = self._transmitter.send(cut)
        self._delivery.queued_to(cut.seq)
        self._outcomes.acknowledge(reply)
        self.report.disk_works()
        self._spool.builder.forget()
        self._collector.keep_pace(reply.interval_s)
        self._polls.sent(time.monotonic(), is_last=self.progress.ended, is_tight=self._is_tight)

    def _poll(self, now: float) -> None:
        reply = self._transmitter.poll()
        before = self.progress.committed
        self._outcomes.acknowledge(reply)
        self._polls.answered(now, advanced=self.progress.committed > before)
        self._delivery.stalled(now, STALLED_S)
