"""The loop over all spools of a root: who is the shipper, which spools there are, when to leave.

One process per root holds the lock on `shipper.lock`. It takes up every spool it finds, of live and
of dead writers, deletes what is done and old, and leaves when there was nothing to do for a minute.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from penstock.errors import PenstockError
from penstock.link import Link
from penstock.meta import load_meta
from penstock.receipts import keep_receipt
from penstock.root import spools_in, used_bytes
from penstock.shipper.backoff import Backoff
from penstock.shipper.sender import KEEP_S, TICK_S, SpoolSender

__all__ = ["Daemon", "hold_root"]

log = logging.getLogger(__name__)

_SCAN_S = 0.25
_MEASURE_S = 5.0
_ELECTION_S = 1.0
_AFTER_BUG_S = 5.0
_THREADS = 8
_PER_SPOOL_S = 0.002


class Daemon:
    """Sends what lies under `root` until there is nothing left to do."""

    def __init__(
        self, root: Path, *, idle_exit_s: float = 60.0, limit_bytes: int = 2 << 30
    ) -> None:
        self.root = root
        self._idle_exit_s = idle_exit_s
        self._limit_bytes = limit_bytes
        self._senders: dict[Path, SpoolSender] = {}
        self._due: dict[Path, float] = {}
        self._running: dict[Path, Future[float]] = {}
        self._links: dict[tuple[str, str | None, str], tuple[Link, Backoff]] = {}
        self._ignored: dict[Path, float] = {}
        self._tight = False
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="send")

    def run(self) -> None:
        """Work until there was nothing to do for `idle_exit_s`."""
        worked_at = scan_at = measure_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= measure_at:
                self._tight = used_bytes(self.root) > self._limit_bytes // 2
                measure_at = now + _MEASURE_S
            if now >= scan_at:
                self._scan()
                scan_at = now + _SCAN_S
            self._turn(now)
            if self._has_work():
                worked_at = now
            elif now - worked_at >= self._idle_exit_s:
                break
            time.sleep(TICK_S if self._senders else _SCAN_S)
        self._pool.shutdown()

    def has_new_spools(self) -> bool:
        """Whether there is a spool now that `run` did not see."""
        return any(f not in self._senders and f not in self._ignored for f in spools_in(self.root))

    def _turn(self, now: float) -> None:
        for folder, running in list(self._running.items()):
            if running.done():
                del self._running[folder]
                delay_s = self._delay_s(folder, running)
                self._due[folder] = now + self._pause_s(folder, delay_s, now)
        for folder, sender in self._senders.items():
            if folder not in self._running and now >= self._due.get(folder, 0.0):
                self._running[folder] = self._pool.submit(self._drive, sender)

    def _pause_s(self, folder: Path, delay_s: float, now: float) -> float:
        """With many spools each is looked at less often, so that looking costs the same; but a run
        that is logging is not kept waiting when its next batch is due."""
        if not delay_s:
            return 0.0
        pause_s = max(delay_s, len(self._senders) * _PER_SPOOL_S)
        next_cut = self._senders[folder].next_cut
        if next_cut is None or delay_s > TICK_S:
            return pause_s
        return min(pause_s, max(0.0, next_cut - now))

    def _drive(self, sender: SpoolSender) -> float:
        """Turns without a pause while there is something to do, but not for ever: others wait."""
        for _ in range(16):
            delay_s = sender.turn(tight=self._tight)
            if delay_s > 0:
                return delay_s
        return 0.0

    def _delay_s(self, folder: Path, turned: Future[float]) -> float:
        try:
            return turned.result()
        except Exception:  # the seam between spools: one that fails must not stop the others
            log.exception("%s: sending failed", folder.name)
            return _AFTER_BUG_S

    def _has_work(self) -> bool:
        return bool(self._running) or any(not s.waiting for s in self._senders.values())

    def _scan(self) -> None:
        now = time.monotonic()
        found = set(spools_in(self.root))
        for folder in found - self._senders.keys():
            if now >= self._ignored.get(folder, 0.0):
                self._take_up(folder)
        for folder in list(self._senders):
            if folder not in self._running and (folder not in found or self._is_old(folder)):
                self._drop(folder)

    def _take_up(self, folder: Path) -> None:
        try:
            sender = SpoolSender(folder, *self._link_of(folder))
        except (OSError, ValueError, KeyError, PenstockError) as error:
            log.warning("%s cannot be read: %s", folder.name, error)
            self._ignored[folder] = time.monotonic() + 60.0
            return
        if sender.meta.offline:
            sender.close()
            self._ignored[folder] = time.monotonic() + 2.0
            return
        self._senders[folder] = sender

    def _link_of(self, folder: Path) -> tuple[Link, Backoff]:
        meta = load_meta(folder)
        name = (meta.base_url, meta.ca_file, repr(sorted(meta.proxies.items())))
        if name not in self._links:
            self._links[name] = (Link.of(meta), Backoff())
        return self._links[name]

    def _is_old(self, folder: Path) -> bool:
        progress = self._senders[folder].progress
        if not progress.done:
            return False
        if time.time() - progress.done_at < KEEP_S and not self._tight:
            return False
        # What was refused is kept for a person to look at.
        if not progress.rejected:
            keep_receipt(self.root, folder)
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def _drop(self, folder: Path) -> None:
        self._senders.pop(folder).close()
        self._due.pop(folder, None)
        self._ignored[folder] = time.monotonic() + 3_600.0


@contextlib.contextmanager
def hold_root(root: Path) -> Iterator[bool]:
    """Be the root's shipper; yields False if another process is. The file holds its number."""
    fd = os.open(root / "shipper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        elected = _elected(fd)
        if elected:
            os.truncate(fd, 0)
            os.write(fd, str(os.getpid()).encode())
        yield elected
    finally:
        os.close(fd)


def _elected(fd: int) -> bool:
    # Others hold the lock for an instant, to see whether a shipper runs.
    deadline = time.monotonic() + _ELECTION_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
