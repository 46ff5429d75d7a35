"""A spool's `rejected/`: batches that the server refused or could not process, for a person."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["Rejects"]


class Rejects:
    """One file a batch, under its number; nothing here deletes them."""

    def __init__(self, spool: Path) -> None:
        self.folder = spool / "rejected"

    def keep(self, seq: int, raw: bytes) -> None:
        """Write the bytes of a batch. Raises OSError; what was written in part is then gone."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self.folder / f"{seq:08d}.batch"
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_bytes(raw)
            temporary.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def count(self) -> int:
        return sum(1 for _ in self.folder.glob("*.batch"))
