"""One spool on its way to the server: cut a batch, send it, learn what is committed, free the rest.

A batch is cut once and its cut kept on disk before it is first sent; what is sent again has the same
bytes. Nothing is freed before the server says that the *store* has it, and then only after a while,
in case the store is replaced by an older copy. Batches queued in a queue that is no more are sent
again; so is everything not committed after 15 minutes without progress.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock import __version__
from penstock.credentials import stored_key
from penstock.errors import Rejected, Transient
from penstock.failpoints import fail
from penstock.link import Link, is_loopback
from penstock.meta import load_meta
from penstock.progress import Progress, load_progress, store_progress
from penstock.record import Position, segment_name
from penstock.root import folder_bytes
from penstock.shipper.backoff import Backoff
from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import Cut, CutLog
from penstock.shipper.gather import Gathered, gather
from penstock.shipper.reader import SpoolReader
from penstock.spool import is_writer_alive
from penstock.wire import Batch, encode_batch, join_batches

__all__ = ["SpoolSender"]

log = logging.getLogger(__name__)

TICK_S = 0.05
FIRST_INTERVAL_S = 0.3
POLL_S = 0.2
SLOWEST_POLL_S = 2.0
STALLED_S = 15 * 60.0
KEEP_S = 10 * 60.0
KEY_RETRY_S = 5.0
REFUSED_RETRY_S = 60.0
PROGRESS_INTERVAL_S = 1.0
_FINAL_STATUSES = frozenset({400, 403, 404, 409, 413, 415, 422})


class SpoolSender:
    """Drives one spool. Call `turn` again and again; it says when."""

    def __init__(self, folder: Path, link: Link, backoff: Backoff) -> None:
        self.folder = folder
        self.meta = load_meta(folder)
        self.progress: Progress = load_progress(folder)
        self._link = link
        self._backoff = backoff
        self._reader = SpoolReader(folder)
        self._log = CutLog(folder)
        self.progress.ended = self.progress.ended or self._log.complete
        self._cursor = self._log.end or self._reader.first()
        self._limits = BatchLimits()
        self._compress = not is_loopback(self.meta.base_url)
        self._built: tuple[int, bytes] | None = None
        self._writer_alive = True
        self._more = False
        self._is_flowing = False
        self._interval_s = FIRST_INTERVAL_S
        self._cut_at = 0.0
        self._poll_at = 0.0
        self._poll_s = POLL_S
        self._advanced_at = time.monotonic()
        self._committed_at: dict[int, float] = {}
        self._freed_to = self._reader.first().segment - 1
        self._paused_until = 0.0
        self._refused_key: str | None = None
        self._retries = 0
        self._stored: Progress | None = None
        self._store_at = 0.0

    @property
    def committed(self) -> int:
        return self.progress.committed

    @property
    def waiting(self) -> bool:
        """Whether there is something that only time or a person can bring on: not work."""
        return self.progress.done or (not self._writer_alive and self._paused_until > 0)

    @property
    def next_cut(self) -> float | None:
        """When, on the monotonic clock, the next batch of a run that is logging is due; None if the
        last look found nothing new."""
        return self._cut_at if self._is_flowing and not self.progress.ended else None

    def turn(self, *, tight: bool = False) -> float:
        """Do the next step; returns how many seconds later to come again.

        `tight` says that the root is short of room, so that nothing committed is kept.
        """
        now = time.monotonic()
        if self.progress.done:
            return SLOWEST_POLL_S
        delay_s = max(self._backoff.wait_s, self._paused_until - now)
        if delay_s <= 0:
            try:
                delay_s = self._step(now)
                self._well()
            except Transient as error:
                self._backoff.failed(error.retry_after_s)
                self._retries += 1
                self._say(error.code, str(error))
                delay_s = self._backoff.wait_s
            except Rejected as error:
                delay_s = self._refused(error)
        self._free(now, tight=tight)
        self._keep_progress(now)
        return min(delay_s, SLOWEST_POLL_S)

    def close(self) -> None:
        self._reader.close()

    def _step(self, now: float) -> float:
        if self._writer_alive and not is_writer_alive(self.folder):
            self._writer_alive = False
            self._cut_at = now
        progress = self.progress
        if progress.queued < self._log.last:
            self._send(self._log.cuts[progress.queued + 1])
            return 0.0
        if not progress.ended and (self._more or now >= self._cut_at):
            self._cut_at = now + self._interval_s
            if self._cut():
                return 0.0
        if progress.committed < self._log.last:
            if now >= self._poll_at:
                self._poll(now)
            self._finish_if_done()
            return TICK_S
        self._finish_if_done()
        return TICK_S

    def _finish_if_done(self) -> None:
        progress = self.progress
        if progress.ended and progress.committed >= self._log.last:
            progress.done = True
            progress.done_at = time.time()

    def _cut(self) -> bool:
        """Cut the next batch, if there is anything for one."""
        found = gather(self._reader, self._cursor, self._limits, abandoned=not self._writer_alive)
        self._more = found.full
        self._is_flowing = not found.columns.empty
        self.progress.damaged_bytes = self._reader.damaged_bytes
        if found.columns.empty:
            self._cursor = found.end
            if found.ended or not self._writer_alive:
                return self._end(found)
            return False
        self._keep_cut("rows", found.end, found)
        self.progress.ended = found.ended
        return True

    def _end(self, found: Gathered) -> bool:
        self.progress.ended = True
        if found.ended or not self.meta.primary:
            return False
        log.warning("%s: the training process ended without finish()", self.meta.run)
        self._keep_cut("crashed", self._cursor, None)
        return True

    def _keep_cut(self, kind: Any, end: Position, found: Gathered | None) -> None:
        cut = Cut(
            seq=self._log.last + 1,
            start=self._cursor,
            end=end,
            kind=kind,
            sent_at=time.time_ns() // 1_000,
            acked=self.progress.freed,
            client={
                "version": __version__,
                "retries": self._retries,
                "dropped": found.dropped if found else 0,
                "spool_bytes": folder_bytes(self.folder),
            },
            points=found.columns.points if found else 0,
            last=kind == "crashed" or (found is not None and found.ended),
        )
        raw, digest = self._encode(cut, found)
        cut = replace(cut, digest=digest)
        fail("shipper.before_cut")
        self._log.append(cut)
        fail("shipper.after_cut")
        self._retries = 0
        self._built = (cut.seq, raw)
        self._cursor = end
        self.progress.cut = cut.seq

    def _encode(self, cut: Cut, found: Gathered | None) -> tuple[bytes, str]:
        """The bytes of a batch as they are sent, and the digest of what they hold."""
        batch = Batch(
            project=self.meta.project,
            run=self.meta.run,
            writer=self.meta.writer,
            seq=cut.seq,
            writer_started=self.meta.writer_started,
            entity=self.meta.entity,
            rank=self.meta.rank,
            acked=cut.acked,
            sent_at=cut.sent_at,
            client=cut.client,
        )
        if cut.kind == "crashed":
            batch.records = [{"t": "state", "state": "crashed"}]
        elif found is not None:
            batch.frames, batch.records = found.columns.batch()
        digest = hashlib.blake2b(encode_batch(batch), digest_size=16).hexdigest()
        return encode_batch(batch, compress=self._compress), digest

    def _bytes_of(self, cut: Cut) -> bytes:
        if self._built is not None and self._built[0] == cut.seq:
            return self._built[1]
        found = None
        if cut.kind == "rows":
            found = gather(self._reader, cut.start, _NO_LIMITS, stop=cut.end, abandoned=True)
        raw, digest = self._encode(cut, found)
        if cut.digest and digest != cut.digest:
            log.error("%s: batch %d is no longer what was cut", self.meta.run, cut.seq)
        return raw

    def _send(self, cut: Cut) -> None:
        raw = self._bytes_of(cut)
        self._built = (cut.seq, raw)
        reply = self._link.post_batches(join_batches([raw]), self._key())
        fail("shipper.after_send")
        self._backoff.succeeded()
        self._built = None
        self.progress.queued = cut.seq
        self._learn(reply, sent=cut.seq)
        interval_s = reply.get("interval_s")
        if isinstance(interval_s, (int, float)):
            self._interval_s = min(max(float(interval_s), TICK_S), 60.0)
            self._cut_at = min(self._cut_at, time.monotonic() + self._interval_s)
        self._poll_s = POLL_S
        self._poll_at = time.monotonic() + TICK_S

    def _poll(self, now: float) -> None:
        try:
            reply = self._link.writer_mark(self.meta, self._key())
        except Rejected as error:
            if error.status != 404:  # 404: not known there yet
                raise
            reply = {}
        self._backoff.succeeded()
        before = self.progress.committed
        self._learn(reply)
        self._poll_s = (
            POLL_S if self.progress.committed > before else min(self._poll_s * 1.3, SLOWEST_POLL_S)
        )
        self._poll_at = now + self._poll_s
        if now - self._advanced_at > STALLED_S:
            log.warning("%s: no progress for long, sending again", self.meta.run)
            self._advanced_at = now
            self._send_again()

    def _learn(self, reply: dict[str, Any], sent: int = 0) -> None:
        """Take in what a reply says of queue, store and committed."""
        progress = self.progress
        committed = reply.get("committed")
        store, queue = str(reply.get("store") or ""), str(reply.get("queue") or "")
        if isinstance(committed, int):
            committed = min(committed, self._log.last)
            replaced = bool(store and progress.store and store != progress.store)
            if committed > progress.committed:
                self._advanced_at = time.monotonic()
            if committed > progress.committed or replaced:
                progress.committed = max(committed, progress.freed)
            if replaced and committed < progress.queued:
                log.warning("%s: another store answers, sending from %d", self.meta.run, committed)
                self._send_again()
            if replaced and committed < progress.freed:
                # The rest cannot be sent again: tell the store not to wait for it.
                self._keep_cut("mark", self._cursor, None)
            progress.store = store or progress.store
        if queue and progress.queue and queue != progress.queue:
            log.warning("%s: another queue answers, sending again", self.meta.run)
            self._send_again()
        progress.queue = queue or progress.queue
        progress.queued = max(progress.queued, progress.committed)

    def _send_again(self) -> None:
        self.progress.queued = self.progress.committed
        self._built = None

    def _key(self) -> str:
        stored = stored_key(self.meta.base_url)
        key = self.meta.api_key
        if not key or (key == self._refused_key and stored):
            key = stored or key
        if not key:
            raise Rejected("no API key", code="no_key", status=401)
        return key

    def _refused(self, error: Rejected) -> float:
        now = time.monotonic()
        self._say(error.code, str(error))
        if error.status == 401:
            self._refused_key = self.meta.api_key
            self._paused_until = now + KEY_RETRY_S
            return KEY_RETRY_S
        cut = self._log.cuts.get(self.progress.queued + 1)
        if cut is None or error.status not in _FINAL_STATUSES or cut.kind == "void":
            # Even an empty batch is refused: the data stays here until somebody looks.
            self._paused_until = now + REFUSED_RETRY_S
            return REFUSED_RETRY_S
        if error.status == 413 and self._cut_smaller(cut):
            return 0.0
        self._reject(cut, error)
        return 0.0

    def _reject(self, cut: Cut, error: Rejected) -> None:
        """Put a refused batch aside and its number to rest."""
        rejected = self.folder / "rejected"
        rejected.mkdir(mode=0o700, exist_ok=True)
        (rejected / f"{cut.seq:08d}.batch").write_bytes(self._bytes_of(cut))
        log.error("%s: batch %d refused (%s): %s", self.meta.run, cut.seq, error.code, error)
        self.progress.rejected += 1
        self._built = None
        if error.status == 409:  # the server has another batch of this number: it is not a hole
            self.progress.queued = cut.seq
        else:
            self._log.append(cut.voided())

    def _cut_smaller(self, cut: Cut) -> bool:
        """Void a batch that is too large and cut its range in two under new numbers."""
        if cut.kind != "rows":
            return False
        half = replace(_NO_LIMITS, points=max(1, cut.points // 2))
        middle = gather(self._reader, cut.start, half, stop=cut.end, abandoned=True).end
        if not cut.start < middle < cut.end:
            return False
        self._limits = self._limits.halved()
        first = self._log.last + 1
        whole = replace(cut, digest="", points=cut.points // 2)
        self._log.append(
            cut.voided(),
            replace(whole, seq=first, end=middle, last=False),
            replace(whole, seq=first + 1, start=middle),
        )
        self._built = None
        self.progress.cut = self._log.last
        return True

    def _free(self, now: float, *, tight: bool) -> None:
        """Delete segments that are committed and have been kept long enough."""
        progress = self.progress
        first_open = self._log.cuts.get(progress.committed + 1)
        needed = self._cursor.segment
        if first_open is not None:
            # Cuts made of a divided one may lie before it.
            needed = min(self._log.cuts[seq].start.segment for seq in self._uncommitted())
        for number in range(self._freed_to + 1, needed):
            self._committed_at.setdefault(number, now)
        for number, since in sorted(self._committed_at.items()):
            if not tight and now - since < KEEP_S:
                break
            fail("shipper.before_free")
            (self.folder / segment_name(number)).unlink(missing_ok=True)
            del self._committed_at[number]
            self._freed_to = number
            while (
                progress.freed < progress.committed
                and self._log.cuts[progress.freed + 1].start.segment <= number
            ):
                progress.freed += 1

    def _uncommitted(self) -> range:
        return range(self.progress.committed + 1, self._log.last + 1)

    def _well(self) -> None:
        self._paused_until = 0.0
        if self._backoff.failures == 0:
            self._say("", "")

    def _say(self, code: str, text: str) -> None:
        if code != self.progress.problem_code and text:
            log.warning("%s: %s (%s)", self.meta.run, text, code)
        self.progress.problem, self.progress.problem_code = text, code

    def _keep_progress(self, now: float) -> None:
        if self.progress == self._stored or (now < self._store_at and not self.progress.ended):
            return
        store_progress(self.folder, self.progress)
        self._stored = replace(self.progress)
        self._store_at = now + PROGRESS_INTERVAL_S


_NO_LIMITS = BatchLimits(1 << 60, 1 << 60, 1 << 60, 1 << 60, 1 << 60)
