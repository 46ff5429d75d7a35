"""How much memory this machine, or this container of it, has.

A machine's own figure is no use in a container that may use a hundredth of it: caps that are shares of it
would lie beyond the container's limit, and the kernel would end the store instead of the store a query.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["usable_bytes"]

_MOUNTED = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_bytes(mounted: Path = _MOUNTED, own: Path = _OWN) -> int:
    """The machine's memory, or the lowest limit of the control groups that this process is in."""
    return min([psutil.virtual_memory().total, *_limits(mounted, own)])


def _limits(mounted: Path, own: Path) -> Iterator[int]:
    for file in _limit_files(mounted, own):
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdigit():  # version 2 writes "max" for none
            yield int(text)


def _limit_files(mounted: Path, own: Path) -> Iterator[Path]:
    """Those of the process's groups up to the root. In a container the root that is mounted may itself be
    the container's group, while the path is that of the machine."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = mounted, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = mounted / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = Path(path.lstrip("/"))
        for group in (folder, *folder.parents):
            yield root / group / name
