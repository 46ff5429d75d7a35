"""Keeps damaged files after a repair: in folders next to their replacements, each with a report.

Only the newest few are kept.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["new_folder", "recent_reports", "write_report"]

T = TypeVar("T")
_MAX_FOLDERS = 3
_RECENT_SECONDS = 3 * 86_400
_REPORT = "about.json"


def new_folder(beside: Path, prefix: str) -> Path:
    """A new private folder in `beside` for damaged files, named after the time."""
    known = sorted(beside.glob(f"{prefix}*"))
    folder = beside / f"{prefix}{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    while folder.exists():
        folder = folder.with_name(f"{folder.name}-")
    folder.mkdir(mode=0o700)
    for oldest in known[: -(_MAX_FOLDERS - 1)]:
        shutil.rmtree(oldest, ignore_errors=True)
    return folder


def write_report(folder: Path, report: Any) -> None:
    """Write the report into `folder`; it is a dataclass that JSON can hold."""
    (folder / _REPORT).write_text(json.dumps(asdict(report)))


def recent_reports(kind: type[T], beside: Path, prefix: str) -> list[T]:
    """The reports of the last three days whose damaged files are still there."""
    found = []
    for path in sorted(beside.glob(f"{prefix}*/{_REPORT}")):
        with suppress(OSError, ValueError, TypeError):
            if time.time() - path.stat().st_mtime < _RECENT_SECONDS:
                found.append(kind(**json.loads(path.read_text())))
    return found
