"""Where a run's data can be kept: the folder that was asked for, else another private one.

A home that cannot be written, a full disk or a folder of somebody else's must not end a training.
Memory (`/dev/shm`) comes last and holds little: the training may need it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from penstock.bounded import within
from penstock.errors import PenstockError
from penstock.notices import NOTICES
from penstock.root import default_root, is_network, open_root, spools_in
from penstock.settings import Settings

__all__ = ["MEMORY_LIMIT_BYTES", "first_that_works", "other_places", "sync_command"]

MEMORY_LIMIT_BYTES = 64 << 20
_MEMORY = Path("/dev/shm")  # noqa: S108 (open_root checks who owns what is made there)
_FAILURES = (PenstockError, OSError, ValueError, RuntimeError)

T = TypeVar("T")


def first_that_works(settings: Settings, make: Callable[[Path, int], T]) -> T | None:
    """What `make(root, limit_bytes)` returns for the first folder in which it does not raise.

    None if there is no place at all. Says where data is kept if that is not where it was asked for.
    """
    reasons: list[str] = []
    for folder in _folders(settings):
        limit = settings.spool_limit_bytes
        if folder.is_relative_to(_MEMORY):
            limit = min(limit, MEMORY_LIMIT_BYTES)
        try:
            root = within(str(folder), partial(_opened, folder))
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


def other_places() -> list[Path]:
    """Folders that hold data of this user's because the one that was asked for did not work."""
    return [folder for folder in _alternatives() if any(spools_in(folder))]


def sync_command(root: Path) -> str:
    """What sends the data under `root`."""
    try:
        found = Settings.resolve(None, {}).root
        is_usual = root in (found, found / os.uname().nodename)
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
    with contextlib.suppress(*_FAILURES):
        yield Path(within("the folder for temporary files", tempfile.gettempdir))
    yield _MEMORY


def _opened(folder: Path) -> Path:
    root = open_root(folder)
    if is_network(root):  # what is remembered of a server that is gone may answer up to here
        tempfile.TemporaryFile(dir=root).close()
    return root


def _reason(folder: Path, error: Exception) -> str:
    if isinstance(error, PenstockError):
        return str(error)
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot keep data in {folder}: {why}"
