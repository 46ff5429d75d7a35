"""A root's shipper, or its sampler of system metrics, on a file system without locks, as Lustre is if it was mounted
without `flock`: a claim file that its holder touches.

A process that writes a claim waits a moment and reads it again: of several that write at once, the last one has
it. A holder that has not touched it for a minute has lost it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from penstock.ids import new_claim_token

__all__ = ["Claim", "is_claimed"]

_SHIPPER = "shipper.claim"
_TOUCH_S, _SILENT_S, _SETTLE_S = 10.0, 60.0, 0.5


def is_claimed(root: Path, name: str = _SHIPPER) -> bool:
    """Whether a process that lives holds the root's claim of this name."""
    return _age_s(root / name) < _SILENT_S


class Claim:
    """The claim of one process. `on_loss` is called, in a thread, if another process has taken it."""

    def __init__(self, root: Path, on_loss: Callable[[], None], name: str = _SHIPPER) -> None:
        self._path = root / name
        self._token = new_claim_token()
        self._on_loss = on_loss
        self._is_over = threading.Event()

    def take(self) -> bool:
        """Try to get it; returns whether this process has it now. Raises OSError."""
        if is_claimed(self._path.parent, self._path.name):
            return False
        temporary = self._path.with_name(f"{self._path.name}.{self._token}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(self._token)
        temporary.rename(self._path)
        time.sleep(_SETTLE_S)
        if not self._is_ours():
            return False
        threading.Thread(target=self._keep, name="penstock-claim", daemon=True).start()
        return True

    def release(self) -> None:
        self._is_over.set()
        if self._is_ours():
            self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._is_over.wait(_TOUCH_S):
            if not self._is_ours():
                self._on_loss()
                return
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def _is_ours(self) -> bool:
        try:
            return self._path.read_text() == self._token
        except OSError:
            return False


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
