"""`run.status()`: how much of what a run has logged is stored."""

from __future__ import annotations

import datetime
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.spool.progress import load_progress

__all__ = ["RunStatus", "status_of_run"]


@dataclass(frozen=True)
class RunStatus:
    """`sync_items_total` and `sync_items_pending` are numbers of batches and of those not stored yet;
    `pending_bytes` are the bytes not stored yet, in batches or not. `sync_time` is when the server last reported
    what it has, in local time."""

    sync_items_total: int = 0
    sync_items_pending: int = 0
    sync_time: datetime.datetime | None = None
    pending_bytes: int = 0


def status_of_run(folder: Path | None) -> RunStatus:
    """`folder`: of its spool; None if it has none."""
    if folder is None:
        return RunStatus()
    from penstock.runs.backlog import backlog  # noqa: PLC0415  (loads the shipper's modules)

    progress = load_progress(folder)
    with suppress(OSError):  # the shipper may delete files meanwhile
        left = backlog(folder, progress)
        reported = None
        with suppress(OSError):
            seconds = (folder / "progress.json").stat().st_mtime
            reported = datetime.datetime.fromtimestamp(seconds)  # noqa: DTZ006  (as in W&B)
        return RunStatus(progress.committed + left.batches, left.batches, reported, left.size_bytes)
    return RunStatus()
