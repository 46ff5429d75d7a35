"""One thread for all spools of a root in this process: prepares their next segments, and looks after each
about once a second.

With a thread per spool, a process with a thousand open runs would spend half a core on switching.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Protocol

from penstock.notices import NOTICES

__all__ = ["KeptSpool", "add", "remove", "wake"]

_LOOK_INTERVAL_S, _PER_SPOOL_S = 1.0, 0.005
"""How often to look after the spools; with many of them, this long for each."""


class KeptSpool(Protocol):
    """What the thread needs of a spool. Its methods do nothing once it is closed."""

    root: Path

    def prepare(self) -> None:
        """Have the next segment ready, and unmap the complete ones."""

    def look(self) -> None:
        """See to the folder and to what sends it."""


class _Keeper:
    """The thread of one root, from its first spool until it has none."""

    def __init__(self) -> None:
        self.spools: list[KeptSpool] = []
        self._woken: deque[KeptSpool] = deque()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises RuntimeError if the process cannot have another thread."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="penstock-spools", daemon=True)
            thread.start()
            self._thread = thread

    def wake(self, spool: KeptSpool) -> None:
        """Prepare this spool soon. Never blocks."""
        self._woken.append(spool)
        self._wake.set()

    def _run(self) -> None:
        look_at = 0.0
        while True:
            self._wake.wait(max(0.0, look_at - time.monotonic()))
            self._wake.clear()
            while self._woken:
                _keep(self._woken.popleft(), looks=False)
            if time.monotonic() < look_at:
                continue
            with _LOCK:
                spools = list(self.spools)
                if not spools:
                    self._thread = None
                    return
            look_at = time.monotonic() + max(_LOOK_INTERVAL_S, len(spools) * _PER_SPOOL_S)
            for spool in spools:
                _keep(spool, looks=True)


def _keep(spool: KeptSpool, *, looks: bool) -> None:
    try:
        spool.prepare()
        if looks:
            spool.look()
    except Exception as error:  # the seam between training and its surroundings
        NOTICES.warn("look", f"maintaining the spool failed: {error!r}")


# Reentrant: a signal handler may open or finish a run.
_LOCK = threading.RLock()
_KEEPERS: dict[Path, _Keeper] = {}


def add(spool: KeptSpool) -> None:
    """Keep a spool from now on. Without a thread, its segments are created when they are needed."""
    with _LOCK:
        keeper = _KEEPERS.setdefault(spool.root, _Keeper())
        keeper.spools.append(spool)
        with contextlib.suppress(RuntimeError):
            keeper.start()
    keeper.wake(spool)


def wake(spool: KeptSpool) -> None:
    """Prepare a spool soon. Never blocks."""
    keeper = _KEEPERS.get(spool.root)
    if keeper is not None:
        keeper.wake(spool)


def remove(spool: KeptSpool) -> None:
    """Forget a spool that is closed."""
    with _LOCK:
        keeper = _KEEPERS.get(spool.root)
        if keeper is not None and spool in keeper.spools:
            keeper.spools.remove(spool)


def _forget_all() -> None:
    """In a forked child, which has neither the threads nor, perhaps, a free lock."""
    global _LOCK
    _LOCK = threading.RLock()
    _KEEPERS.clear()


os.register_at_fork(after_in_child=_forget_all)
