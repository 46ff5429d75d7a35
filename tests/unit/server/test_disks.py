"""Free disk space: reported before a disk is full, once per disk, on small disks as on large ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock_server.disks import DiskSpace, disk_problems

GIB = 2**30


@dataclass
class Disk:
    """A disk as `os.statvfs` describes it."""

    size: int
    free: int
    f_frsize: int = 4096
    f_files: int = 1000
    f_favail: int = 500

    @property
    def f_blocks(self) -> int:
        return self.size // self.f_frsize

    @property
    def f_bavail(self) -> int:
        return self.free // self.f_frsize


def said(*disks: Disk | OSError) -> list[tuple[str, str]]:
    """(code, folder) for folders on these disks."""

    def look(folder: Path) -> tuple[int, DiskSpace]:
        disk = disks[int(folder.name)]
        if isinstance(disk, OSError):
            raise disk
        return id(disk), disk

    folders = {f"folder {n}": Path(f"/{n}") for n in range(len(disks))}
    found = disk_problems(folders, low_bytes=GIB, look=look)
    return [(each.code, each.subject) for each in found]


@pytest.mark.parametrize(
    ("size", "free", "code"),
    [
        (1000 * GIB, 2 * GIB, None),
        (1000 * GIB, GIB - 4096, "disk_low"),
        (1000 * GIB, GIB // 16, "disk_full"),
        (1000 * GIB, 0, "disk_full"),
        (5 * GIB, GIB, None),
        (5 * GIB, GIB // 4, "disk_low"),
        (16 * 2**20, 8 * 2**20, None),
        (16 * 2**20, 2**20, "disk_low"),
        (16 * 2**20, 0, "disk_full"),
    ],
)
def test_what_is_little_depends_on_the_disk(size: int, free: int, code: str | None) -> None:
    assert said(Disk(size, free)) == ([(code, "/0")] if code else [])


def test_a_disk_without_inodes_is_full() -> None:
    assert said(Disk(1000 * GIB, 500 * GIB, f_favail=0)) == [("disk_full", "/0")]
    # Some file systems do not count them.
    assert not said(Disk(1000 * GIB, 500 * GIB, f_files=0, f_favail=0))


def test_a_disk_is_said_once_and_each_disk_is() -> None:
    shared, other = Disk(1000 * GIB, 0), Disk(1000 * GIB, GIB // 2)
    assert said(shared, shared, other) == [("disk_full", "/0"), ("disk_low", "/2")]


def test_a_folder_that_is_gone_is_said() -> None:
    gone = FileNotFoundError(2, "No such file or directory")
    assert said(gone, Disk(GIB, GIB)) == [("disk_full", "/0")]
