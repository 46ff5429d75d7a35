"""The loop over all spools of a root: finds them, gives each its turns, and decides when to exit.

It handles the spools of live and dead writers and deletes finished old ones. It exits after being
idle for a while, or at once on request.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from penstock.link import Link
from penstock.shipper.circuit_breaker import CircuitBreaker
from penstock.shipper.heartbeats import HeartbeatSender
from penstock.shipper.polls import HURRIED_TICK_S, REST_S, TICK_S
from penstock.shipper.receipts import keep_receipt
from penstock.shipper.rejects import Rejects
from penstock.shipper.report import state_problem
from penstock.shipper.sender import KEEP_S, SpoolSender
from penstock.spool.bell import Bell
from penstock.spool.meta import Meta, load_meta
from penstock.spool.root import spools_in, used_bytes
from penstock.spool.siblings import hold_left
from penstock.spool.spool_folder import is_writer_alive

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

_SCAN_S = 0.25
_MEASURE_S = 1.0
_BEAT_S = 1.0
_AFTER_BUG_S = 5.0
_THREADS = 8
_PER_SPOOL_S, _PER_SCAN_S, _PER_TURN_S, _PER_MEASURED_S, _PER_TICK_S = (
    0.002,
    0.005,
    0.02,
    0.03,
    0.0001,
)
"""With many spools, each is looked at, has its turn and is measured less often, and the loop is slower,
so that a thousand idle ones cost next to nothing."""
_UNREADABLE_RETRY_S = 5.0
_LEAVE_S = 1.5
"""How long requests in flight may take once the shipper is asked to exit."""


class Daemon:
    """Sends everything under `root` until nothing is left to do."""

    def __init__(
        self, root: Path, *, idle_exit_s: float = 60.0, limit_bytes: int = 2 << 30
    ) -> None:
        self.root = root
        self._idle_exit_s = idle_exit_s
        self._limit_bytes = limit_bytes
        self._senders: dict[Path, SpoolSender] = {}
        self._due: dict[Path, float] = {}
        self._running: dict[Path, Future[float]] = {}
        self._hurried: set[Path] = set()
        self._links: dict[tuple[str, str | None, str], tuple[Link, CircuitBreaker]] = {}
        self._ignored: dict[Path, float] = {}
        self._tight = False
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="send")
        self._heartbeats = HeartbeatSender(self._pool)
        self._asked_to_leave = threading.Event()
        self._bell = Bell(root)

    @property
    def asked_to_leave(self) -> bool:
        return self._asked_to_leave.is_set()

    def leave(self) -> None:
        """Make `run` return soon, even with work left. May be called from a signal handler."""
        self._asked_to_leave.set()
        self._bell.ring()

    def run(self) -> None:
        """Work until it has been idle for `idle_exit_s` or `leave` was called.

        In the second case a request may still hang: exit without waiting for it. Its spool is then as
        after a crash, and nothing is lost.
        """
        worked_at = scan_at = measure_at = beat_at = time.monotonic()
        while not self.asked_to_leave:
            now = time.monotonic()
            if now >= measure_at:
                self._tight = used_bytes(self.root) > self._limit_bytes // 2
                measure_at = now + max(_MEASURE_S, len(self._senders) * _PER_MEASURED_S)
            if now >= scan_at:
                self._scan()
                scan_at = now + max(_SCAN_S, len(self._senders) * _PER_SCAN_S)
            self._turn(now)
            if now >= beat_at:
                held = [(*self._link_of(each.meta), each) for each in self._senders.values()]
                self._heartbeats.turn(now, held)
                beat_at = now + _BEAT_S
            if self._has_work():
                worked_at = now
            elif now - worked_at >= self._idle_exit_s or not self.root.is_dir():
                break
            if self._bell.wait(self._tick_s(now)):
                scan_at = 0.0
                self._hurried = set(self._running)
                for folder in self._senders:  # somebody is waiting for one of them
                    self._hurry(folder)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._heartbeats.wait(_LEAVE_S / 2)
        hanging = wait(self._running.values(), _LEAVE_S).not_done
        for folder, sender in self._senders.items():
            if self._running.get(folder) not in hanging:
                sender.keep_progress()
                sender.close()
        for link, _ in self._links.values():
            link.close_all()
        self._bell.close()

    def has_new_spools(self) -> bool:
        """Whether there is data that `run` has not seen."""
        return any(each.goes_on for each in self._senders.values()) or any(
            f not in self._senders and f not in self._ignored for f in spools_in(self.root)
        )

    def _turn(self, now: float) -> None:
        for folder, running in list(self._running.items()):
            if running.done():
                del self._running[folder]
                delay_s = self._delay_s(folder, running)
                self._due[folder] = now + self._pause_s(folder, delay_s, now)
                if folder in self._hurried:  # it may have looked before the bell rang
                    self._hurried.discard(folder)
                    self._hurry(folder)
        rest_s = len(self._senders) * _PER_TURN_S
        for folder, sender in self._senders.items():
            if folder in self._running or now < self._due.get(folder, 0.0):
                continue
            if sender.is_resting(now, rest_s):
                self._due[folder] = now + self._pause_s(folder, REST_S, now)
            else:
                self._running[folder] = self._pool.submit(self._drive, sender)

    def _tick_s(self, now: float) -> float:
        if any(sender.hurries(now) for sender in self._senders.values()):
            return HURRIED_TICK_S
        tick_s = max(TICK_S, len(self._senders) * _PER_TICK_S)
        if self._running:
            return tick_s
        next_due = min((self._due.get(each, 0.0) for each in self._senders), default=now + _SCAN_S)
        return min(max(next_due - now, tick_s), _SCAN_S)

    def _hurry(self, folder: Path) -> None:
        if self._senders[folder].hurry():
            self._due[folder] = 0.0

    def _pause_s(self, folder: Path, delay_s: float, now: float) -> float:
        """With many spools, check each less often, so that the total cost stays the same; a logging run
        still gets its turn when its next batch is due."""
        if not delay_s:
            return 0.0
        pause_s = max(delay_s, len(self._senders) * _PER_SPOOL_S)
        next_cut = self._senders[folder].next_cut
        if next_cut is None or delay_s > REST_S:
            return pause_s
        return min(pause_s, max(0.0, next_cut - now))

    def _drive(self, sender: SpoolSender) -> float:
        """Take turns without a pause while there is work, for a limited time: others are waiting."""
        for _ in range(16):
            delay_s = sender.turn(tight=self._tight)
            if delay_s > 0 or self.asked_to_leave:
                return delay_s
        return 0.0

    def _delay_s(self, folder: Path, turned: Future[float]) -> float:
        try:
            return turned.result()
        except (
            Exception
        ) as error:  # the seam between spools: a failing one must not stop the others
            log.exception("%s: sending failed", folder.name)
            self._senders[folder].report.broke(error)
            return _AFTER_BUG_S

    def _has_work(self) -> bool:
        return bool(self._running) or any(not s.waiting for s in self._senders.values())

    def _scan(self) -> None:
        now = time.monotonic()
        found = set(spools_in(self.root))
        for folder in found - self._senders.keys():
            if now >= self._ignored.get(folder, 0.0) or Rejects(folder).asked_for():
                self._take_up(folder)
        for folder in list(self._senders):
            if folder not in self._running and (folder not in found or self._is_old(folder)):
                self._drop(folder)

    def _take_up(self, folder: Path) -> None:
        try:
            sender = SpoolSender(folder, *self._link_of(load_meta(folder)))
        except Exception as error:  # the seam between spools
            self._leave_alone(folder, error)
            return
        if sender.meta.offline:
            sender.close()
            self._ignored[folder] = time.monotonic() + 2.0
            return
        self._senders[folder] = sender

    def _leave_alone(self, folder: Path, error: Exception) -> None:
        """Record why a spool cannot be handled now, for those who wait for it."""
        log.warning("%s cannot be sent: %s", folder.name, error)
        self._ignored[folder] = time.monotonic() + _UNREADABLE_RETRY_S
        state_problem(folder, error)

    def _link_of(self, meta: Meta) -> tuple[Link, CircuitBreaker]:
        name = (meta.base_url, meta.ca_file, repr(sorted(meta.proxies.items())))
        if name not in self._links:
            self._links[name] = (Link.of(meta), CircuitBreaker())
        return self._links[name]

    def _is_old(self, folder: Path) -> bool:
        sender = self._senders[folder]
        kept_s = time.time() - sender.progress.done_at
        if not sender.progress.done or Rejects(folder).asked_for():
            return False
        is_old = self._tight or (kept_s >= KEEP_S and not sender.writer.may_come())
        return is_old and self._clear(folder)

    def _clear(self, folder: Path) -> bool:
        """Delete a spool, except for its refused batches; False if a writer holds it."""
        lock_fd = hold_left(folder)
        if lock_fd is None and is_writer_alive(folder):
            return False
        try:
            if self._senders[folder].is_continued:
                return False
            if Rejects(folder).kept():  # these batches are kept for inspection
                for segment in folder.glob("*.seg"):
                    segment.unlink(missing_ok=True)
            else:
                keep_receipt(self.root, folder)
                shutil.rmtree(folder, ignore_errors=True)
            return True
        finally:
            if lock_fd is not None:
                os.close(lock_fd)

    def _drop(self, folder: Path) -> None:
        self._senders.pop(folder).close()
        self._due.pop(folder, None)
        self._ignored[folder] = time.monotonic() + 3_600.0
