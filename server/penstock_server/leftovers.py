"""Ends the children of a killed supervisor before new ones use their files."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import psutil

__all__ = ["end_leftovers", "identify"]

_GRACE_S = 2.0


def identify(pids: list[int]) -> list[list[float]]:
    """Each process as (pid, start time), which no later process can share."""
    found: list[list[float]] = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append([pid, psutil.Process(pid).create_time()])
    return found


def end_leftovers(state: Path) -> int:
    """End the processes left over by this folder's last supervisor; returns their number.

    The caller holds the folder's lock, so that supervisor has exited.
    """
    left = [process for process in _recorded(state) if process is not None]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(left, timeout=_GRACE_S)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=_GRACE_S)
    return len(left)


def _recorded(state: Path) -> list[psutil.Process | None]:
    try:
        content: dict[str, Any] = json.loads(state.read_text())
        return [_same(int(pid), float(born)) for pid, born in content["processes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _same(pid: int, born: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return process if abs(process.create_time() - born) < 0.05 else None
    except psutil.Error:
        return None
