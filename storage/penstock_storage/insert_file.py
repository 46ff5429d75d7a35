"""Where the rows of an insert wait until all of them have come: a file in memory that chDB reads.

chDB 4.4 also takes rows piece by piece (`send_insert`), but tells nothing of an error that comes after
it has read them: with a full disk, or a violated constraint, it reports success and stores nothing. A
statement that reads a file reports every error.
"""

from __future__ import annotations

import os
import tempfile

from penstock_storage.statement import InsertHead

__all__ = ["InsertFile"]


class InsertFile:
    """An empty one at first. Close it, but not before a statement that reads it has ended: its path is
    the number of a descriptor, which the next file may get."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file = os.fdopen(os.memfd_create("insert"), "wb")
            self._path = f"/proc/self/fd/{self._file.fileno()}"
        else:  # macOS
            named = tempfile.NamedTemporaryFile(prefix="penstock-insert-")  # noqa: SIM115
            self._file, self._path = named, named.name  # type: ignore[assignment]

    def write(self, rows: bytes) -> None:
        self._file.write(rows)

    def statement(self, head: InsertHead) -> str:
        """What inserts the rows that were written."""
        self._file.flush()
        return f"{head.sql} FROM INFILE '{self._path}' FORMAT {head.format}"

    def close(self) -> None:
        self._file.close()
