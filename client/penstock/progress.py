"""What the shipper has to say about a spool: `progress.json`, for `finish()` and for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from penstock.meta import replace_json

__all__ = ["Progress", "load_progress", "store_progress"]


@dataclass(slots=True)
class Progress:
    """`queued` and `committed` are batch numbers; `queue` and `store` identify what they are
    numbers in. `done`: the writer finished and all of it is committed. `problem` is empty while
    all is well, else one line for a person; `problem_code` is the error's code."""

    queued: int = 0
    committed: int = 0
    cut: int = 0
    freed: int = 0
    queue: str = ""
    store: str = ""
    ended: bool = False
    done: bool = False
    done_at: float = 0.0
    problem: str = ""
    problem_code: str = ""
    rejected: int = 0
    damaged_bytes: int = 0


_FIELDS = frozenset(item.name for item in fields(Progress))


def store_progress(folder: Path, progress: Progress) -> None:
    replace_json(folder / "progress.json", asdict(progress))


def load_progress(folder: Path) -> Progress:
    """What was stored last; a fresh one if there is none that can be read."""
    try:
        stored = json.loads((folder / "progress.json").read_text())
        return Progress(**{name: value for name, value in stored.items() if name in _FIELDS})
    except (OSError, ValueError, TypeError, AttributeError):
        return Progress()
