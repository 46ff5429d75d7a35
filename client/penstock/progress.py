"""What the shipper has to say about a spool: `progress.json`, for `finish()` and for people."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from penstock.meta import replace_json

__all__ = ["Progress", "load_progress", "store_progress"]

_CHECKSUM = "checksum"
_STORED_NAMES = {"acknowledged": "heard", "released": "freed"}
"""Fields that have another name in the file."""


@dataclass(slots=True)
class Progress:
    """`queued` and `committed` are batch numbers; `queue` and `store` identify what they are
    numbers in. `done`: the writer finished and all of it is committed. `problem` is empty while
    all is well, else one line for a person; `problem_code` is the error's code."""

    queued: int = 0
    committed: int = 0
    acknowledged: int = 0
    """What the server last said is committed; `committed` is more where less can be sent again."""
    cut: int = 0
    released: int = 0
    queue: str = ""
    store: str = ""
    state: str = ""
    """The last state of the run that its writer recorded and that is cut."""
    ended: bool = False
    end_segment: int = 0
    """The segment in which it ended; a forked child that goes on in the spool begins a later one."""
    done: bool = False
    done_at: float = 0.0
    problem: str = ""
    problem_code: str = ""
    rejected: int = 0
    """Batches that the server refused; they are kept in `rejected/`."""
    refusal: str = ""
    """What the server said of the last of them."""
    dead: list[int] = field(default_factory=list)
    """The numbers of batches that the server took and could not process; kept there too."""
    dropped: int = 0
    """Rows that the writer dropped, as far as it said so."""
    damaged_bytes: int = 0
    damaged_cuts: int = 0
    missing_segments: int = 0
    lost_batches: int = 0
    """Batches that a replaced store does not have and that were no longer kept here."""
    lost_points: int = 0

    def end_in(self, segment: int) -> None:
        """The writer ended in this segment."""
        self.ended, self.end_segment = True, segment

    def go_on(self) -> None:
        """It had ended, and goes on."""
        self.ended = self.done = False

    def is_stored(self, segment: int) -> bool:
        """Whether the writer has ended, and all that it wrote from this segment on is committed."""
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
    """What was stored last; a fresh one if there is none that can be read and is whole."""
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
