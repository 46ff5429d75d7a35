"""A spool's `progress.json`: the shipper's report for `finish()` and for users.

The record is only read here. What changes it, and what always holds, is `shipper/delivery.py`.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from penstock.spool.meta import replace_json

__all__ = ["Progress", "load_progress", "store_progress"]

_CHECKSUM = "checksum"
_STORED_NAMES = {"acknowledged": "heard", "released": "freed"}
"""Fields with another name in the file."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`queued` and `committed` are batch numbers; `queue` and `store` identify what they are
    numbers in. `done`: the writer finished and all of it is committed. `problem` is empty while
    all is well, otherwise one line for the user; `problem_code` is the error's code."""

    queued: int = 0
    committed: int = 0
    acknowledged: int = 0
    """The committed number last reported by the server; `committed` is higher if less can be resent."""
    cut: int = 0
    released: int = 0
    queue: str = ""
    store: str = ""
    state: str = ""
    """The last run state recorded by the writer that has been cut."""
    ended: bool = False
    end_segment: int = 0
    """The segment in which it ended; a forked child that continues the spool starts a later one."""
    done: bool = False
    done_at: float = 0.0
    problem: str = ""
    problem_code: str = ""
    rejected: int = 0
    """Number of batches that the server refused; they are kept in `rejected/`."""
    refusal: str = ""
    """The server's message for the last of them."""
    dead: list[int] = field(default_factory=list)
    """Numbers of the dead letters: batches that the server accepted but could not process; kept too."""
    dropped: int = 0
    """Rows that the writer reported as dropped."""
    replaced: int = 0
    """Points that later ones with the same key and step replaced before they were sent."""
    damaged_bytes: int = 0
    damaged_cuts: int = 0
    missing_segments: int = 0
    lost_batches: int = 0
    """Batches missing from a replaced store that were no longer kept on this machine."""
    lost_points: int = 0

    def is_stored(self, segment: int) -> bool:
        """Whether the writer has ended and everything from this segment on is committed."""
        return self.done and (segment <= 1 or self.end_segment >= segment)


_FIELDS = {_STORED_NAMES.get(item.name, item.name): item.name for item in fields(Progress)}
_TYPES: dict[str, type] = {
    stored: type(getattr(Progress(), name)) for stored, name in _FIELDS.items()
}


def store_progress(folder: Path, progress: Progress) -> None:
    """Raises OSError."""
    values = asdict(progress)
    content = {stored: values[name] for stored, name in _FIELDS.items()}
    replace_json(folder / "progress.json", {**content, _CHECKSUM: _checksum(content)})


def load_progress(folder: Path) -> Progress:
    """The stored progress; a fresh one if there is none or it is damaged."""
    try:
        stored = json.loads((folder / "progress.json").read_text())
        checksum = stored.pop(_CHECKSUM, None)
        if checksum is not None and checksum != _checksum(stored):
            return Progress()
        known = {name: value for name, value in stored.items() if name in _TYPES}
        if any(not isinstance(value, _TYPES[name]) for name, value in known.items()):
            return Progress()
        return Progress(**{_FIELDS[name]: value for name, value in known.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return Progress()


def _checksum(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
