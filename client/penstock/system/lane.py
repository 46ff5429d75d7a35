"""The system metrics of one run on this node: rows in a spool of their own, which outlives every process here.

The spool's writer has the lowest rank on the node at its first row, plus SYSTEM_RANK, so that each node of a run has a
lane; the step is the whole seconds since that rank began, so that no setting of the clock moves it. If a
sampler is killed, the next one goes on in the same spool.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from penstock.ids import new_writer_id
from penstock.spool.meta import Meta, boot_us, load_meta
from penstock.spool.spool_folder import Spool, SpoolOptions
from penstock.spool.writer import NoRoom, Unusual, Writer
from penstock.system.membership import RunOnNode
from penstock.system.wish import SYSTEM_RANK, limit_of

__all__ = ["Lane"]

_BESIDE = "beside"


class Lane:
    """Opens its spool with the first row."""

    def __init__(self, root: Path, run: RunOnNode) -> None:
        self.dropped = 0
        self._root = root
        self._interval_s = run.interval_s
        self._left = run.left
        self._first = _first_of(run)
        self._last_step = -1
        self._notices: list[str] = []
        self._writer = Writer(self._open, _refuse)

    def append(self, row: dict[str, float]) -> None:
        """Append a row now. Where the disk is full it is dropped: the next one comes soon."""
        try:
            self._writer.spool()
            step = max(self._last_step + 1, self._writer.step, self._age_s())
            self._writer.append_row(row, step, time.time_ns())
            self._last_step = step
            while self._notices:
                self._writer.append_record(
                    {"t": "run", "notice system metrics": self._notices.pop(0)}
                )
        except (NoRoom, Unusual, OSError):
            self.dropped += 1

    def _age_s(self) -> int:
        first = self._first  # of this boot
        age_us = boot_us() - first.started_boot_us if first.started_boot_us else first.age_us
        return max(0, age_us) // 1_000_000

    def note(self, text: str) -> None:
        """Show a notice on the run's page, with the next row."""
        self._notices.append(text)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self._writer.has_spool:
                self._writer.close()

    def _open(self) -> Spool:
        options = SpoolOptions(limit_of(self._first), is_mapped=False)
        return Spool(self._root, self._meta(), options, siblings=self._left)

    def _meta(self) -> Meta:
        first = self._first
        return replace(
            first,
            writer=new_writer_id(),
            writer_started=time.time_ns() // 1_000,
            started_boot_us=boot_us(),
            rank=SYSTEM_RANK + first.rank,
            primary=False,
            pid=os.getpid(),
            parent=first.writer,
            # A machine's metrics replace nothing that an earlier attempt's machine measured.
            start=_BESIDE,
            start_step=0,
            system={"interval_s": self._interval_s},  # how often its batches are worth sending
        )


def _first_of(run: RunOnNode) -> Meta:
    """The writer that stands for the node: that of the spool to go on with, if there is one."""
    parents = set()
    for folder in run.left:
        with contextlib.suppress(OSError, ValueError):
            parents.add(load_meta(folder).parent)
    return next((each for each in run.members.values() if each.writer in parents), run.first)


def _refuse(data: object, step: object, commit: object) -> NoReturn:
    raise Unusual("rows of system metrics are plain")
