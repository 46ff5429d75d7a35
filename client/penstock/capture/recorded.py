"""One run as the process beside records it: lines, facts and files, in a spool of its own.

What is in there survives the end of every process, like the rows of the training process; the shipper sends it.
The lines of a run that was resumed go on with the numbers of the earlier attempt.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.capture.lines import Line
from penstock.capture.secrets import Redactor, secrets_in
from penstock.ids import new_writer_id
from penstock.spool import keeper
from penstock.spool.bell import ring
from penstock.spool.files import add_file
from penstock.spool.meta import boot_us, load_meta
from penstock.spool.root import is_network
from penstock.spool.spool_folder import Spool, SpoolOptions
from penstock.spool.writer import NoRoom, Writer

__all__ = ["SYSTEM_RANK", "RecordedRun"]

SYSTEM_RANK = 2**30
"""As `penstock.wire` has it, which takes long to import; a test compares the two."""
BESIDE = "beside"


class RecordedRun:
    """A run that a training process writes to the spool `folder`. Raises OSError or ValueError."""

    def __init__(
        self, folder: Path, *, first_number: int, limit_bytes: int, goes_on: bool = False
    ) -> None:
        """Lines from `first_number` on belong to it. `goes_on`: its own numbers begin where
        `begin` says; until then lines are held back."""
        self.meta = load_meta(folder)
        self._root = folder.parent
        self._first_number = first_number
        self._limit_bytes = limit_bytes
        self._redact = Redactor({*secrets_in(os.environ), self.meta.api_key})
        self._offset: int | None = None if goes_on else 0
        self._is_beside = self.meta.start == BESIDE
        self._held: list[Line] = []
        self._writer = Writer(self._open, lambda data, step, commit: None)
        self._spool: Spool | None = None
        self.lost_lines = 0

    @property
    def is_held_back(self) -> bool:
        return self._offset is None

    def begin(self, offset: int | None) -> None:
        """Number the lines from here on; None: unknown, beside those of an earlier attempt."""
        if self._offset is not None:
            return
        self._is_beside = self._is_beside or offset is None
        self._offset = offset or 0
        held, self._held = self._held, []
        for line in held:
            self.add(line)

    def add(self, line: Line) -> None:
        """Record a line, as it is now."""
        if line.number < self._first_number:
            return
        if self._offset is None:
            self._held.append(line)
            return
        self._record(
            {
                "t": "console",
                "line": line.number - self._first_number + self._offset,
                "stream": line.stream,
                "time": line.at_us,
                "text": self._redact(line.text),
            }
        )

    def say(self, facts: dict[str, Any]) -> None:
        """Record facts about the run."""
        if facts:
            self._record({"t": "run", **facts})

    def keep(self, name: str, content: bytes) -> None:
        """Keep a file for the run. Raises OSError or ValueError."""
        add_file(self._writer.spool().folder, name, content)

    def close(self) -> None:
        """End it; what was held back is recorded first."""
        self.begin(None)
        if self._writer.has_spool:
            self._writer.close()
            ring(self._root)

    def _record(self, record: dict[str, Any]) -> None:
        try:
            self._writer.append_record(record)
        except (NoRoom, OSError, ValueError):
            self.lost_lines += 1

    def _open(self) -> Spool:
        meta = replace(
            self.meta,
            writer=new_writer_id(),
            writer_started=time.time_ns() // 1_000,
            started_boot_us=boot_us(),
            rank=SYSTEM_RANK + self.meta.rank,
            primary=False,
            parent="",
            pid=os.getpid(),
            start=BESIDE if self._is_beside else "",
            start_step=0,
        )
        spool = Spool(self._root, meta, SpoolOptions(self._limit_bytes))
        if not is_network(self._root):  # without a thread: at rest this process costs nothing
            with contextlib.suppress(Exception):
                keeper.remove(spool)
        return spool
