"""The data folder of `penstock up`: its paths, its format version and its secrets.

It holds all persistent data; copying it while Penstock is stopped is a backup.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from penstock.command_codes import CommandCode
from penstock.errors import Rejected
from penstock.ids import new_installation_secret

__all__ = ["FORMAT", "DataFolder"]

FORMAT = 1
_MAX_SOCKET_PATH_BYTES = 100


class DataFolder:
    """The paths below one folder. `open` prepares it and takes its lock."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Create what is missing and lock the folder for this process.

        Raises `Rejected` if another process holds it, a newer Penstock wrote it, or this user must not.
        """
        try:
            for folder in (self.root, self.queue, self.points, self.blobs, self.logs, self.run):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._close_to_others()
            self._take_lock()
            self._check_format()
        except PermissionError as error:
            raise Rejected(
                f"user {os.geteuid()} of group {os.getegid()} has no access to {error.filename}",
                code=CommandCode.CLOSED_FOLDER,
            ) from error

    def close(self) -> None:
        """Release the lock for another process."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def queue(self) -> Path:
        return self.root / "queue"

    @property
    def points(self) -> Path:
        return self.root / "points"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.db"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Files that only matter while Penstock is running."""
        return self.root / "run"

    @property
    def state(self) -> Path:
        """What is running now: url, pid, children."""
        return self.run / "up.json"

    @property
    def api_key(self) -> Path:
        return self.root / "api_key"

    def socket(self, name: str) -> Path:
        """A unix socket's path: in the folder, or in a private temporary folder if that is too long."""
        path = self.run / name
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
            return path
        short = Path(tempfile.gettempdir()) / f"penstock-{os.getuid()}-{self._folder_id()}"
        short.mkdir(mode=0o700, exist_ok=True)
        if short.stat().st_uid != os.getuid() or short.stat().st_mode & 0o077:
            raise Rejected(f"{short} belongs to another user", code=CommandCode.UNSAFE_FOLDER)
        return short / name

    def secret(self, name: str) -> str:
        """A random secret of this installation, generated on first use."""
        path = self.root / "secrets" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            write_private(path, new_installation_secret())
        return path.read_text().strip()

    def _folder_id(self) -> str:
        return self.secret("folder")[:12]

    def _close_to_others(self) -> None:
        """A volume's root may belong to root and be open to a group that we are in, as in Kubernetes: then
        its mode is not ours to change, and what lies in it is private all the same."""
        if self.root.stat().st_uid == os.geteuid():
            self.root.chmod(0o700)

    def _take_lock(self) -> None:
        lock = (self.root / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise Rejected(
                f"Penstock is already running on {self.root}",
                code=CommandCode.ALREADY_RUNNING,
                hint="Stop it with `penstock down`, or choose another folder with --data.",
            ) from None
        os.set_inheritable(lock.fileno(), False)
        self._lock = lock

    def _check_format(self) -> None:
        path = self.root / "format"
        if not path.exists():
            write_private(path, str(FORMAT))
        found = path.read_text().strip()
        if not found.isdigit() or int(found) > FORMAT:
            raise Rejected(
                f"{self.root} has data format {found}; this version of Penstock supports up to {FORMAT}",
                code=CommandCode.NEWER_DATA,
            )


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
