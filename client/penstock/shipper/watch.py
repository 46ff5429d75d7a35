"""Tracks whether a spool's writer is alive, has ended, or was replaced by a sibling process."""

from __future__ import annotations

from pathlib import Path

from penstock.shipper.reader import SpoolReader
from penstock.spool.meta import Meta
from penstock.spool.record import Position
from penstock.spool.spool_folder import is_writer_alive

__all__ = ["WriterWatch"]


class WriterWatch:
    """Watches the lock of one spool. `alive` is the last known state; segments up to `complete_to`
    get no more records."""

    def __init__(self, folder: Path, meta: Meta, reader: SpoolReader) -> None:
        self.alive = True
        self.complete_to = 0
        self._folder = folder
        self._parent = folder.parent / meta.parent if meta.parent else None
        self._reader = reader

    def has_gone(self) -> bool:
        """Check a live writer again; returns whether it is gone now."""
        if not self.alive or is_writer_alive(self._folder):
            return False
        # Another writer may come at any time; it starts a segment that is not among these.
        complete_to = max(self._reader.segments(), default=0)
        if is_writer_alive(self._folder):
            return False
        self.alive, self.complete_to = False, complete_to
        return True

    def has_come(self, end: Position) -> bool:
        """Whether another writer has continued the spool after its `end`."""
        if self._parent is None:
            return False
        if not self.is_continued(end) and not is_writer_alive(self._folder):
            return False
        self.alive = True
        return True

    def is_continued(self, end: Position) -> bool:
        """Whether there are segments after `end`."""
        return self._reader.following(end) is not None

    def may_come(self) -> bool:
        """Whether the process that may fork another writer is alive."""
        return self._parent is not None and is_writer_alive(self._parent)
