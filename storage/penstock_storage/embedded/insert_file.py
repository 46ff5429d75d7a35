"""Buffers the rows of an insert until all have arrived: a file in memory that chDB reads.

chDB 4.4 also accepts rows piece by piece (`send_insert`), but does not report errors that occur after it
has read them: with a full disk, or a violated constraint, it reports success and stores nothing. A
statement that reads a file reports every error.
"""

from __future__ import annotations

import os
import tempfile

from penstock_storage.clickhouse.statement import InsertHead

__all__ = ["InsertFile"]


class InsertFile:
    """Empty at first. Close it, but only after the statement that reads it has ended: its path contains
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
        """The statement that inserts the written rows."""
        self._file.flush()
        return f"{head.sql} FROM INFILE '{self._path}' FORMAT {head.format}"

    def close(self) -> None:
        self._file.close()
