"""The samplers of system metrics that tests have started: which run, and their end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from penstock.system.launch import FOLDER, is_sampler_running

__all__ = ["MEASURED", "end_samplers", "sampler_pids"]

MEASURED = {"PENSTOCK_SYSTEM_METRICS": "on", "PENSTOCK_SYSTEM_INTERVAL_S": "0.5"}
"""Variables with which a script's machine is measured."""


def sampler_pids(root: Path) -> list[int]:
    """Of the samplers that run for this root."""
    return [
        int(lock.read_text())
        for lock in sorted((root / FOLDER).glob("*.lock"))
        if is_sampler_running(root, lock.stem) and lock.read_text()
    ]


def end_samplers(root: Path, by: signal.Signals = signal.SIGTERM) -> None:
    for pid in sampler_pids(root):
        with suppress(ProcessLookupError):
            os.kill(pid, by)
