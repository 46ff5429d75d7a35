"""A spool's `rejected/`: batches that the server refused, and dead letters that it could not process.

`penstock sync --rejected` retries them: `N.batch` becomes `N.again`, and `N.sent` once the sender has
cut it under a new number. `N.sent` is deleted with the spool.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["Rejects"]


class Rejects:
    """One file per batch, named by its number; batches that were not retried are never deleted."""

    def __init__(self, spool: Path) -> None:
        self.folder = spool / "rejected"

    def keep(self, seq: int, raw: bytes, *, instead_of: int = 0) -> None:
        """Write the bytes of a batch, which may have been here under another number. Raises OSError,
        leaving no partial file."""
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
        for suffix in (".again", ".sent") if instead_of else ():
            self._path(instead_of, suffix).unlink(missing_ok=True)

    def kept(self) -> set[int]:
        """Numbers of the batches kept for inspection."""
        return {int(path.stem) for path in self.folder.glob("*.batch") if path.stem.isdigit()}

    def ask_again(self) -> int:
        """Request a retry of all of them; returns their number. Raises OSError."""
        paths = list(self.folder.glob("*.batch"))
        for path in paths:
            path.rename(path.with_suffix(".again"))
        return len(paths)

    def asked_for(self) -> list[int]:
        """Numbers of the batches to retry that are not cut yet."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.stem) for path in self.folder.glob("*.again") if path.stem.isdigit())

    def read(self, seq: int) -> bytes:
        """The bytes of a retried batch. Raises OSError."""
        path = self._path(seq, ".again")
        return (path if path.exists() else self._path(seq, ".sent")).read_bytes()

    def has(self, seq: int) -> bool:
        """Whether a retried batch can still be read."""
        return self._path(seq, ".again").exists() or self._path(seq, ".sent").exists()

    def take_all(self) -> None:
        """Record that all requested ones have been cut. Raises OSError."""
        for seq in self.asked_for():
            self._path(seq, ".again").rename(self._path(seq, ".sent"))

    def put_back(self, seq: int) -> None:
        """Put one back that cannot be sent. Raises OSError."""
        self._path(seq, ".again").rename(self._path(seq, ".batch"))

    def _path(self, seq: int, suffix: str) -> Path:
        return self.folder / f"{seq:08d}{suffix}"
