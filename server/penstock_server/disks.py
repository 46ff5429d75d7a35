"""Free space on the disks of an installation: reports a problem before one is full."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from penstock_common.queue.problems import Problem
from penstock_common.queue.room import room_problem

__all__ = ["disk_problems", "look_at"]


class DiskSpace(Protocol):
    """The result of `os.statvfs`."""

    @property
    def f_frsize(self) -> int: ...
    @property
    def f_blocks(self) -> int: ...
    @property
    def f_bavail(self) -> int: ...
    @property
    def f_files(self) -> int: ...
    @property
    def f_favail(self) -> int: ...


def look_at(folder: Path) -> tuple[int, DiskSpace]:
    """The folder's disk and its free space."""
    return folder.stat().st_dev, os.statvfs(folder)


def disk_problems(
    folders: Mapping[str, Path],
    *,
    low_bytes: int,
    look: Callable[[Path], tuple[int, DiskSpace]] = look_at,
) -> list[Problem]:
    """One problem per disk with less than `low_bytes` free, or less than a tenth if it is small; a disk
    with several of these folders is reported once."""
    found: dict[int, Problem] = {}
    unseen: list[Problem] = []
    for what, folder in folders.items():
        try:
            disk, room = look(folder)
        except OSError as error:
            text = f"The folder {folder} ({what}) cannot be read: {error.strerror}."
            unseen.append(Problem("disk_full", text, str(folder)))
            continue
        problem = _problem(what, folder, room, low_bytes)
        if problem is not None:
            found.setdefault(disk, problem)
    return [*found.values(), *unseen]


def _problem(what: str, folder: Path, room: DiskSpace, low_bytes: int) -> Problem | None:
    where = f"The disk of {folder} ({what})"
    size, free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
    if room.f_files and not room.f_favail:
        text = f"{where} cannot hold any more files: it has no free inodes."
        return Problem("disk_full", text, str(folder))
    return room_problem(where, str(folder), size=size, free=free, low_bytes=low_bytes)
