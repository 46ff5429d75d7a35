"""Folders of spools, whose shipper ends with them: it would outlive the training process, as it should."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["shipper_of", "spool_folder"]

_START_S = 30.0


@contextlib.contextmanager
def spool_folder() -> Iterator[Path]:
    """A temporary folder for `PENSTOCK_DIR`, deleted at the end of the block."""
    # A shipper that is slow to end may still write.
    with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        if (lock := Path(folder) / "shipper.lock").exists() and (text := lock.read_text()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(text.split()[0]), signal.SIGTERM)


def shipper_of(folder: Path) -> int:
    """The process id of the shipper, which may take a while to start. Raises `RuntimeError` if it does not."""
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(FileNotFoundError, IndexError):
            return int((folder / "shipper.lock").read_text().split()[0])
        if time.monotonic() > deadline:
            raise RuntimeError("the shipper does not start")
        time.sleep(0.1)
