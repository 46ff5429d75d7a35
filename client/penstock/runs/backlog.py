"""A spool's backlog: batches and bytes not stored yet, and the age of the oldest row.

Only reads, and works without a running shipper.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from penstock.shipper.cuts import CutLog
from penstock.spool.progress import Progress
from penstock.spool.record import (
    FIRST_OFFSET,
    PAYLOAD_HEAD,
    RECORD_HEAD,
    PayloadKind,
    Position,
    aligned,
    segment_name,
)

__all__ = ["Backlog", "backlog", "size_text"]

_HEADS = RECORD_HEAD.size + PAYLOAD_HEAD.size
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass
class Backlog:
    """`batches` are cut but not stored; `size_bytes` is everything not stored, cut or not.
    `oldest_ns` is when its oldest row was logged. `ended`: END is the last record."""

    batches: int = 0
    size_bytes: int = 0
    oldest_ns: int | None = None
    ended: bool = False

    def __str__(self) -> str:
        if not self.batches:
            return size_text(self.size_bytes)
        plural = "" if self.batches == 1 else "es"
        return f"{self.batches} batch{plural}, {size_text(self.size_bytes)}"


def backlog(folder: Path, progress: Progress) -> Backlog:
    """Raises OSError if the spool cannot be read."""
    found = Backlog()
    with os.scandir(folder) as entries:
        stems = [e.name.removesuffix(".seg") for e in entries if e.name.endswith(".seg")]
    segments = sorted(int(stem) for stem in stems if stem.isdigit())
    if not segments:
        return found
    cuts = CutLog(folder, Position(segments[0], FIRST_OFFSET))
    open_cuts = [cut for cut in cuts.cuts.values() if cut.seq > progress.committed]
    found.batches = len(open_cuts)
    ends = [cuts.end or Position(segments[0], FIRST_OFFSET)]
    start = min([cut.start for cut in open_cuts if cut.kind == "rows"] + ends)
    for number in segments:
        if number < start.segment:
            continue
        offset = start.offset if number == start.segment else FIRST_OFFSET
        path = folder / segment_name(number)
        if number not in (start.segment, segments[-1]):
            found.size_bytes += path.stat().st_size - offset
            continue
        end, first_ns, last_kind = _walk(path, offset)
        found.size_bytes += end - offset
        found.oldest_ns = found.oldest_ns or first_ns or None
        if number == segments[-1]:
            # Nothing after the start: then END was cut last.
            found.ended = last_kind == PayloadKind.END or (last_kind is None and cuts.complete)
    return found


def size_text(size_bytes: float) -> str:
    """A size as text: 312 bytes, 1.2 MiB."""
    for unit in _UNITS[:-1]:
        if size_bytes < 1_024:
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1_024
    return f"{size_bytes:.1f} {_UNITS[-1]}"


def _walk(path: Path, offset: int) -> tuple[int, int, int | None]:
    """Scan the records from `offset` on: where they end, the time of the first and the kind of the
    last. Ignores checksums, since this only measures."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    at, first_ns, kind = 0, 0, None
    while at + _HEADS <= len(data):
        length = RECORD_HEAD.unpack_from(data, at)[0]
        if length < PAYLOAD_HEAD.size or at + RECORD_HEAD.size + length > len(data):
            break
        kind, _, _, time_ns = PAYLOAD_HEAD.unpack_from(data, at + RECORD_HEAD.size)
        first_ns = first_ns or time_ns
        at = aligned(at + RECORD_HEAD.size + length)
    return offset + at, first_ns, kind
