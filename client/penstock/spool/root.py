"""The private folder that holds all spools of one user on one host.

Each writer has its own subfolder; one shipper process serves the whole root. On a network file system
the root is a subfolder named after the host, because locks and memory maps are trusted only per host.
Containers count as hosts: their name is their pod's, unless PENSTOCK_HOST_NAME says otherwise.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from penstock.errors import PenstockError
from penstock.spool.meta import META_FILE

__all__ = [
    "default_root",
    "folder_bytes",
    "folders_in",
    "host_root",
    "is_network",
    "note_used_bytes",
    "open_root",
    "recently_used_bytes",
    "roots_at",
    "spools_in",
    "subfolders",
    "used_bytes",
]

_MEASURED_S = 1.0
_measured: dict[Path, tuple[float, int]] = {}
_NETWORK_TYPES = (
    "nfs", "lustre", "fuse", "cifs", "smb", "9p", "ceph", "gpfs", "beegfs", "afs", "virtiofs"
)  # fmt: skip


def default_root() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "penstock"
    return Path(f"/var/tmp/penstock-{os.getuid()}")  # noqa: S108 (open_root checks who owns it)


def open_root(folder: Path, host: str = "") -> Path:
    """Return `folder`, created if necessary, as one that only this user can read; on a network file
    system its subfolder of `host` (default: the host name).

    Raises PenstockError if it cannot be created or belongs to another user.
    """
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(folder)
        if (own := host_root(folder, host)) != folder:
            folder = own
            folder.mkdir(mode=0o700, exist_ok=True)
            _make_private(folder)
    except OSError as error:
        raise PenstockError(
            f"cannot keep data in {folder}: {error.strerror}; set PENSTOCK_DIR to a local folder"
        ) from error
    return folder


def host_root(folder: Path, host: str = "") -> Path:
    """Where `host` (default: the host name) keeps its data in this folder."""
    host = host or os.uname().nodename
    return folder / host if folder.name != host and is_network(folder) else folder


def roots_at(folder: Path, host: str = "") -> list[Path]:
    """Every root at or right below a folder that a person names: a network file system, or a copy of
    one, has a root for each host. If there is none yet, the one that `open_root` returns.

    Raises PenstockError if one of them belongs to another user.
    """
    folder = folder.expanduser().absolute()
    found = [each for each in (folder, *sorted(subfolders(folder))) if _is_root(each)]
    try:
        for each in found:
            _make_private(each)
    except OSError as error:
        raise PenstockError(f"cannot read {folder}: {error.strerror}") from error
    return found or [open_root(folder, host)]


def _make_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PenstockError(f"{folder} is not a folder; set PENSTOCK_DIR to a private folder")
    if found.st_uid != os.getuid():
        raise PenstockError(
            f"{folder} belongs to user {found.st_uid} and is not owned by this user, {os.getuid()}; set "
            "PENSTOCK_DIR to a private folder, or run this as that user"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)


def _is_root(folder: Path) -> bool:
    """Whether data was kept in this folder, in whatever state it is now."""
    names = ("shipper.lock", "receipts")
    is_served = any(os.path.exists(f"{folder}/{name}") for name in names)  # noqa: PTH110 (never raises)
    return is_served or any(folders_in(folder))


def is_network(folder: Path) -> bool:
    """Whether `folder` is on a file system without reliable shared memory maps."""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    path = f"{folder.resolve()}/"
    best, kind = "", ""
    for line in mounts:
        _, point, fs_type, *_ = line.split(" ", 3)
        point = point.replace("\\040", " ").rstrip("/") + "/"
        if path.startswith(point) and len(point) >= len(best):
            best, kind = point, fs_type
    return kind.startswith(_NETWORK_TYPES)


def spools_in(root: Path) -> Iterator[Path]:
    """The spools under `root`, except those still being created, which have no meta file."""
    for path in _paths_in(root):
        if os.path.exists(f"{path}/{META_FILE}"):  # noqa: PTH110 (a quarter of the cost, for thousands)
            yield Path(path)


def folders_in(root: Path) -> Iterator[Path]:
    """Every folder under `root` that holds or held data, including those without their meta file."""
    for folder in subfolders(root):
        if os.path.exists(f"{folder}/lock") or any(folder.glob("*.seg")):  # noqa: PTH110 (never raises)
            yield folder


def subfolders(root: Path) -> Iterator[Path]:
    """The folders right below `root`; none if it cannot be read."""
    return map(Path, _paths_in(root))


def _paths_in(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def used_bytes(root: Path) -> int:
    """The disk space used by all spools under `root`."""
    return sum(folder_bytes(folder) for folder in spools_in(root))


def recently_used_bytes(root: Path, few: int) -> int:
    """The same, as measured up to a second ago while it was below `few`: a process that opens many runs would
    otherwise measure all of them for each."""
    measured_at, used = _measured.get(root, (-1.0, 0))
    if used >= few or time.monotonic() > measured_at + _MEASURED_S:
        used = used_bytes(root)
        _measured[root] = (time.monotonic(), used)
    return used


def note_used_bytes(root: Path, size_bytes: int) -> None:
    """This process has just used more of it."""
    measured_at, used = _measured.get(root, (-1.0, 0))
    _measured[root] = (measured_at, used + size_bytes)


def folder_bytes(folder: Path) -> int:
    """The disk space used by one spool."""
    total = 0
    # Files and folders may disappear meanwhile.
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
