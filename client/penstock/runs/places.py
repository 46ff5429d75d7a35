"""Chooses where to keep a run's data: the configured folder, or else another private one.

An unwritable home, a full disk or another user's folder must not end a training run. Memory
(`/dev/shm`) comes last and with a small limit: the script may need it, and in a container it has 64 MiB.
"""

# `tempfile` is imported inside functions that are rarely needed, to keep `penstock.init` cheap.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from penstock.bounded import within
from penstock.errors import PenstockError
from penstock.notices import NOTICES
from penstock.settings import Settings
from penstock.spool.root import default_root, is_network, open_root, spools_in, subfolders

__all__ = ["MEMORY_LIMIT_BYTES", "first_that_works", "other_places", "sync_command"]

MEMORY_LIMIT_BYTES = 64 << 20
_MEMORY_SHARE = 8
_MEMORY = Path("/dev/shm")  # noqa: S108 (open_root checks who owns what is made there)
_FAILURES = (PenstockError, OSError, ValueError, RuntimeError)

T = TypeVar("T")


def first_that_works(settings: Settings, make: Callable[[Path, int], T]) -> T | None:
    """The result of `make(root, limit_bytes)` for the first folder in which it does not raise; None if
    there is none. Warns if data is not kept in the configured folder.
    """
    reasons: list[str] = []
    for folder in _folders(settings):
        limit = settings.spool_limit_bytes
        if folder.is_relative_to(_MEMORY):
            limit = min(limit, _memory_limit_bytes())
        try:
            root = within(str(folder), partial(_opened, folder, settings.host_name))
            made = make(root, limit)
        except _FAILURES as error:
            reasons.append(_reason(folder, error))
            continue
        if reasons:
            NOTICES.warn(
                f"place {root}",
                f"{reasons[0]}; data is kept in {root} instead (later: {sync_command(root)})",
            )
        return made
    NOTICES.warn(
        "no place",
        f"{reasons[0] if reasons else 'there is no folder'}, and no other folder was found: nothing of "
        "this run is kept; set PENSTOCK_DIR to a writable folder",
    )
    return None


def other_places(root: Path) -> list[Path]:
    """Folders with more of this user's data than `root`: those used because the configured one did not
    work, and on a network file system the one with the folders of all hosts."""
    found = [each for each in _alternatives() if each != root and any(spools_in(each))]
    if is_network(root) and any(any(spools_in(each)) for each in _neighbours(root)):
        found.append(root.parent)
    return found


def _neighbours(root: Path) -> Iterator[Path]:
    return (each for each in subfolders(root.parent) if each != root)


def _memory_limit_bytes() -> int:
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return MEMORY_LIMIT_BYTES
    return min(MEMORY_LIMIT_BYTES, found.f_blocks * found.f_frsize // _MEMORY_SHARE)


def sync_command(root: Path) -> str:
    """The command that sends the data under `root`."""
    try:
        settings = Settings.resolve(None, {})
        host = settings.host_name or os.uname().nodename
        is_usual = root in (settings.root, settings.root / host)
    except _FAILURES:
        is_usual = False
    return "penstock sync" if is_usual else f"penstock sync --dir {root}"


def _folders(settings: Settings) -> Iterator[Path]:
    tried = set()
    with contextlib.suppress(*_FAILURES):
        tried.add(settings.root)
        yield settings.root
    for folder in _alternatives():
        if folder not in tried:
            tried.add(folder)
            yield folder
    import tempfile

    for parent in _parents():
        with contextlib.suppress(*_FAILURES):
            make = partial(tempfile.mkdtemp, prefix="penstock-", dir=parent)
            yield Path(within(str(parent), make))


def _alternatives() -> Iterator[Path]:
    with contextlib.suppress(*_FAILURES):
        yield default_root()
    for parent in _parents():
        yield parent / f"penstock-{os.getuid()}"


def _parents() -> Iterator[Path]:
    import tempfile

    with contextlib.suppress(*_FAILURES):
        yield Path(within("the folder for temporary files", tempfile.gettempdir))
    yield _MEMORY


def _opened(folder: Path, host: str) -> Path:
    root = open_root(folder, host)
    if is_network(root):  # cached entries of a dead file server may answer up to here
        import tempfile

        tempfile.TemporaryFile(dir=root).close()
    return root


def _reason(folder: Path, error: Exception) -> str:
    if isinstance(error, PenstockError):
        return str(error)
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot keep data in {folder}: {why}"
