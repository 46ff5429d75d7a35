"""How far one spool has been delivered: the state machine that alone changes a spool's progress.

A batch is *cut* (a range of the spool has its number), *queued* (the server has taken it) and
*committed* (it is in the store); later it is *released*: its rows are deleted here.

    cut ──► queued ──► committed ──► released
     ▲         │           │
     └─────────┴───────────┘ sent again

While queue and store stay the same, `committed` only grows. If it falls, or another store answers, the
store was replaced by an older copy: the lower position is adopted and everything still held is sent
again. Released batches count as lost, and the shipper tells the server not to wait for them. If the
queue is replaced, or nothing moves for long, everything not committed is sent again.

What always holds:

1. 0 <= `released` <= `committed` <= `queued` <= `cut`.
2. `committed` is the higher of `acknowledged`, the position last reported by the server, and
   `released`: what was released is never needed again.
3. `cut` and `released` never fall, and `released` only reaches what is committed. `committed` falls
   only in `store_changed`.
4. A number gets one verdict, dead or rejected: the first one counts, once. `dead` only grows;
   `rejected` falls only when a user retries what is kept, under new numbers.
5. A spool becomes `done` once it has ended and everything cut is acknowledged. It is done no longer
   after another cut, a lower position or another writer.
6. What counts losses and damage never falls.
7. `progress` is the whole state, apart from the rejected numbers, which are the names of the kept
   files: stored and loaded at any point, the delivery goes on in the same way.

The first three and that all of a done spool is committed are checked at every change. One that would
break them raises Broken and is not made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from penstock.errors import Broken
from penstock.shipper.replies import Reply
from penstock.spool.progress import Progress

__all__ = ["Delivery"]

log = logging.getLogger(__name__)


class Delivery:
    """The delivery of one spool. `run` is for the log, `kept` are the numbers of the batches in
    `rejected/`, and `now` is on the monotonic clock, in seconds."""

    def __init__(
        self, run: str, progress: Progress, *, now: float, kept: Iterable[int] = ()
    ) -> None:
        """Raises Broken if `progress` is impossible."""
        _check_state(progress)
        self._run = run
        self._progress = progress
        self._rejected = set(kept) - set(progress.dead)
        self._advanced_at = now
        self._announced: tuple[str, str, int] | None = None

    @property
    def progress(self) -> Progress:
        """The present state; later events do not change this copy."""
        return self._progress

    @property
    def is_all_acknowledged(self) -> bool:
        """Whether the server reported everything cut as stored."""
        return self._progress.acknowledged >= self._progress.cut

    def has_verdict(self, seq: int) -> bool:
        """Whether this batch is already counted as dead or rejected."""
        return seq in self._rejected or seq in self._progress.dead

    def cut_to(self, seq: int, state: str = "", *, dropped: int = 0, replaced: int = 0) -> None:
        """Record the numbers cut so far. `state`: the run's state in the last one, if any; `dropped`
        rows and `replaced` points are not in it."""
        before = self._progress
        self._change(
            cut=seq,
            state=state or before.state,
            dropped=before.dropped + dropped,
            replaced=before.replaced + replaced,
            done=before.done and seq == before.cut,
        )

    def queued_to(self, seq: int) -> None:
        """Record that the server has taken everything up to this number."""
        self._change(queued=seq)

    def send_again(self) -> None:
        """Queue everything uncommitted again."""
        self._change(queued=self._progress.committed)

    def stalled(self, now: float, after_s: float) -> None:
        """Queue it again after too long without progress."""
        if now - self._advanced_at > after_s:
            log.warning("%s: no progress for a long time, sending again", self._run)
            self._advanced_at = now
            self.send_again()

    def acknowledged(self, reply: Reply, now: float) -> None:
        """Adopt a reply's queue, store and committed position."""
        committed = self._position_in(reply)
        if committed is not None:
            if committed > self._progress.acknowledged:
                self._advanced_at = now
            if self._is_other_store(reply) or committed < self._progress.acknowledged:
                self.store_changed(committed, reply.store)
            else:
                self._adopt(committed, reply.store, self._progress.queued)
        known = self._progress.queue
        if reply.queue and known and reply.queue != known:
            log.warning("%s: the queue was replaced, sending again", self._run)
            self.send_again()
        self._change(queue=reply.queue or known)

    def store_changed(self, committed: int, store: str) -> None:
        """Adopt the position in a store that was replaced, or put back to an older copy: everything
        above it that is still held is sent again."""
        kept = max(committed, self._progress.released)
        if kept < self._progress.queued:
            log.warning(
                "%s: the store has less than before, sending from %d", self._run, committed + 1
            )
        self._adopt(committed, store, kept, has_store_changed=True)

    def lacking(self, reply: Reply) -> range:
        """The released numbers that the replying store lacks; empty if it has been told."""
        committed = self._position_in(reply)
        if committed is None or self._announced == self._place(reply):
            return range(0)
        return range(committed + 1, self._progress.released + 1)

    def lost(self, reply: Reply, points: int) -> None:
        """Count the batches that are `lacking`, and their points. The server no longer waits for them."""
        before, batches = self._progress, len(self.lacking(reply))
        log.error(
            "%s: the store lacks %d batches with %d points that are no longer kept on this machine",
            self._run, batches, points,
        )  # fmt: skip
        self._announced = self._place(reply)
        # Every loss ends at the last released number: the largest one contains the others.
        self._change(
            lost_batches=max(before.lost_batches, batches),
            lost_points=max(before.lost_points, points),
        )

    def released_to(self, seq: int) -> None:
        """Record that everything up to this number, all committed, is deleted here."""
        if seq > self._progress.committed:
            raise Broken(f"{self._run}: released {seq}, committed {self._progress.committed}")
        self._change(released=seq)

    def rejected(self, seq: int, why: str = "") -> None:
        """Count a batch that was refused and is kept in `rejected/`; `why` is the server's message."""
        is_new = not self.has_verdict(seq)
        if is_new:
            self._rejected.add(seq)
        before = self._progress
        self._change(rejected=before.rejected + is_new, refusal=why or before.refusal)

    def died(self, seq: int) -> None:
        """Count a batch that the server accepted and could not process."""
        if not self.has_verdict(seq):
            self._change(dead=sorted([*self._progress.dead, seq]))

    def retried(self, kept: Iterable[int]) -> None:
        """Record that rejected batches have new numbers; `kept` are those still in `rejected/`."""
        self._rejected = set(kept) - set(self._progress.dead)
        self._change(rejected=len(self._rejected))

    def written_off(self, seq: int) -> None:
        """Record that nobody waits for anything up to this number: the server does not take the run."""
        self._change(acknowledged=seq, committed=seq, queued=seq)

    def ended_in(self, segment: int) -> None:
        """Record that the writer ended in this segment."""
        self._change(ended=True, end_segment=segment)

    def continued(self) -> None:
        """Record that a writer continues after the end."""
        self._change(ended=False, done=False)

    def finished(self, at: float) -> None:
        """Record that all is stored. `at`: in seconds since the epoch."""
        if not (self._progress.ended and self.is_all_acknowledged):
            raise Broken(f"{self._run}: done, but not all of it is stored: {self._progress}")
        self._change(done=True, done_at=at)

    def damaged(self, size_bytes: int, missing_segments: int) -> None:
        """Record all the damage found so far."""
        before = self._progress
        if size_bytes > before.damaged_bytes or missing_segments > before.missing_segments:
            self._change(
                damaged_bytes=max(before.damaged_bytes, size_bytes),
                missing_segments=max(before.missing_segments, missing_segments),
            )

    def has_problem(self, code: str, text: str) -> None:
        """Set the problem, one line for the user; both are empty while all is well."""
        if (code, text) != (self._progress.problem_code, self._progress.problem):
            self._change(problem_code=code, problem=text)

    def _adopt(
        self, committed: int, store: str, queued: int, *, has_store_changed: bool = False
    ) -> None:
        before = self._progress
        kept = max(committed, before.released)
        after = replace(
            before,
            acknowledged=committed,
            committed=kept,
            queued=max(queued, kept),
            store=store or before.store,
            done=before.done and committed >= before.cut,
        )
        self._become(after, has_store_changed=has_store_changed)

    def _position_in(self, reply: Reply) -> int | None:
        """The committed position in this reply; None if it has none."""
        if reply.committed is not None:
            return min(max(0, reply.committed), self._progress.cut)
        # Another store that the queue knows nothing about yet is assumed to be empty.
        return 0 if self._is_other_store(reply) else None

    def _is_other_store(self, reply: Reply) -> bool:
        known = self._progress.store
        return bool(reply.store and known and reply.store != known)

    def _place(self, reply: Reply) -> tuple[str, str, int]:
        progress = self._progress
        return reply.store or progress.store, reply.queue or progress.queue, progress.released

    def _change(self, **fields: Any) -> None:
        self._become(replace(self._progress, **fields))

    def _become(self, after: Progress, *, has_store_changed: bool = False) -> None:
        _check_state(after)
        before = self._progress
        if after.cut < before.cut or after.released < before.released:
            raise Broken(f"{self._run}: {before} cannot become {after}")
        if after.committed < before.committed and not has_store_changed:
            raise Broken(f"{self._run}: {before} cannot become {after} in the same store")
        self._progress = after


def _check_state(progress: Progress) -> None:
    if not 0 <= progress.released <= progress.committed <= progress.queued <= progress.cut:
        raise Broken(f"not in order: {progress}")
    if progress.committed != max(progress.acknowledged, progress.released):
        raise Broken(f"neither acknowledged nor released: {progress}")
    if progress.done and progress.committed < progress.cut:
        raise Broken(f"done, but not all of it is committed: {progress}")
