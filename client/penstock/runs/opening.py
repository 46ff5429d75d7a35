"""Opens the spool of a process that starts logging to a run."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock import __version__
from penstock.ids import new_writer_id
from penstock.notices import NOTICES
from penstock.runs.places import first_that_works, sync_command
from penstock.runs.start import FRESH, Start
from penstock.settings import Settings
from penstock.spool.meta import Meta, boot_id, boot_us, load_meta, pid_namespace
from penstock.spool.segment import NO_SEGMENT
from penstock.spool.spool_folder import Spool, SpoolOptions, is_disk_full
from penstock.system.wish import wish

__all__ = ["NewWriter", "say_what_is_missing"]


@dataclass(frozen=True)
class NewWriter:
    """A writer without a spool yet. `parent`: the writer of the process that forked this one or
    handed it the run."""

    settings: Settings
    run: str
    parent: str
    is_primary: bool
    start: Start = FRESH

    def open(self, look: Callable[[Path], None]) -> Spool:
        """Open its spool in the first folder that works. Raises OSError if none does."""

        def make(root: Path, limit_bytes: int) -> Spool:
            options = SpoolOptions(limit_bytes, self.settings.on_full)
            spool = Spool(root, self._meta(root, limit_bytes), options, look)
            if spool.first is NO_SEGMENT and is_disk_full(root):
                spool.discard()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))
            return spool

        spool = first_that_works(self.settings, make)
        if spool is None:
            raise OSError("there is no folder to keep data in")
        return spool

    def _meta(self, root: Path, limit_bytes: int) -> Meta:
        settings = self.settings
        return Meta(
            base_url=settings.base_url,
            api_key=settings.key or self._parents_key(root),
            entity=settings.entity,
            project=settings.project,
            run=self.run,
            writer=new_writer_id(),
            writer_started=time.time_ns() // 1_000,
            rank=settings.rank,
            primary=self.is_primary,
            offline=settings.mode == "offline",
            ca_file=settings.ca_file,
            proxies=settings.proxies,
            host=settings.host_name or os.uname().nodename,
            boot_id=boot_id(),
            pid=os.getpid(),
            pid_namespace=pid_namespace(),
            version=__version__,
            parent=self.parent,
            started_boot_us=boot_us(),
            start=self.start.kind,
            start_step=self.start.step,
            system=self._wish(limit_bytes),
        )

    def _wish(self, limit_bytes: int) -> dict[str, Any]:
        """Of system metrics: processes that join a writer are in its process tree."""
        settings = self.settings
        is_wanted = settings.system_metrics and not settings.x_disable_stats and not self.parent
        return wish(settings.system_interval_s, limit_bytes) if is_wanted else {}

    def _parents_key(self, root: Path) -> str:
        """A process that was handed a run gets the key from the folder with the data."""
        try:
            return load_meta(root / self.parent).api_key if self.parent else ""
        except (OSError, ValueError):
            return ""


def say_what_is_missing(settings: Settings, root: Path) -> None:
    """Warn about a missing address or key without which nothing can be sent."""
    server = settings.base_url
    if settings.problem:
        NOTICES.warn(
            "bad_url",
            f"{settings.problem}; data is kept in {root}; once the address is correct, send it with: "
            f"{sync_command(root)}",
        )
    elif not settings.key:
        NOTICES.warn(
            f"no key {server}",
            f"no API key for {server}; data is kept in {root} and sent after you run: penstock login",
        )
