"""How much memory this process may use: that of the machine, or of its container if that is less."""

from __future__ import annotations

from pathlib import Path

import psutil

__all__ = ["usable_memory_bytes"]

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_memory_bytes(root: Path = _ROOT, own: Path = _OWN) -> int:
    """The machine's memory, or the lowest limit of this process's control groups.

    `root` is where control groups are mounted, `own` names those of this process.
    """
    return min([psutil.virtual_memory().total, *_limits(root, own)])


def _limits(root: Path, own: Path) -> list[int]:
    """The limits that can be read, of version 1 and 2, from this process's group up to the root."""
    found = []
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            folder, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = folder / path.strip("/")
        # In a container the path may be the host's, and the container's own group the root.
        for each in (folder, *(p for p in (group, *group.parents) if p.is_relative_to(folder))):
            text = _text(each / name).strip()
            if text.isdigit() and int(text) > 0:
                found.append(int(text))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
