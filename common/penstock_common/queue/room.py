"""Problems with free disk space: reported before a disk is full, on small and large disks."""

from __future__ import annotations

from penstock_common.queue.problems import Problem

__all__ = ["room_problem"]

_LOW_SHARE, _FULL_SHARE = 0.1, 0.01
_FULL_OF_LOW = 16


def room_problem(
    where: str, subject: str, *, size: float, free: float, low_bytes: int
) -> Problem | None:
    """The problem of a disk with this size and free space, if any; `where` begins the sentence."""
    if free <= min(low_bytes / _FULL_OF_LOW, size * _FULL_SHARE):
        return Problem("disk_full", f"{where} is full: {_amount(free)} left.", subject)
    if free <= min(low_bytes, size * _LOW_SHARE):
        return Problem("disk_low", f"{where} is nearly full: {_amount(free)} left.", subject)
    return None


def _amount(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
