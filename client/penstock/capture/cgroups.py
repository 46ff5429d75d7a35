"""The limits of this process's cgroup, of either version, and how often the kernel killed for memory in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["cpu_limit", "memory_limit_bytes", "oom_kills"]

_ROOT = Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60


def memory_limit_bytes() -> int | None:
    """The lowest that applies; None if there is none."""
    limits = [
        int(text)
        for name in ("memory.max", "memory.limit_in_bytes")
        for text in _texts("memory", name)
        if text.isdecimal() and int(text) < _NO_LIMIT_BYTES
    ]
    return min(limits, default=None)


def cpu_limit() -> float | None:
    """In processors; None if there is no limit."""
    limits = []
    for text in _texts("cpu", "cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            limits.append(int(quota) / int(period))
    for quota, period in zip(
        _texts("cpu", "cpu.cfs_quota_us"), _texts("cpu", "cpu.cfs_period_us"), strict=False
    ):
        if quota.isdecimal() and period.isdecimal() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def oom_kills() -> int:
    """How many processes of its own cgroup were killed because memory ran out; 0 if it is not said."""
    for name in ("memory.events", "memory.oom_control"):
        for text in _texts("memory", name):
            for line in text.splitlines():
                key, _, count = line.partition(" ")
                if key == "oom_kill" and count.isdecimal():
                    return int(count)
    return 0


def _texts(controller: str, name: str) -> Iterator[str]:
    """This file of the process's own cgroup and of those above it."""
    for folder in _folders(controller):
        try:
            yield (folder / name).read_text().strip()
        except (OSError, UnicodeDecodeError):
            continue


def _folders(controller: str) -> Iterator[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            base = _ROOT
        elif controller in controllers.split(","):
            base = _ROOT / controllers
        else:
            continue
        folder = base / path.lstrip("/")
        while folder.is_relative_to(base):
            yield folder
            folder = folder.parent
