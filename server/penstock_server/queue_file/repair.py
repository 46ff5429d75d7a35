"""Repairs the embedded queue's file when Redis does not load it.

The file is cut at its first damage and the valid part is loaded. The damaged file is kept aside
unchanged, and rows sent as JSON are recovered from after the damage. Redis 7 splits its file into
several; they are repaired into one, which every version reads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from penstock_common.process.damaged import new_folder, recent_reports, write_report
from penstock_common.queue.redis_keys import RedisKeys
from penstock_server.queue_file.aof_files import (
    FILE,
    FOLDER,
    AofFile,
    aof_files_of,
    mapped,
    paths_of,
)
from penstock_server.queue_file.commands import readable_commands
from penstock_server.queue_file.rows import fresh_numbers, rows_in

__all__ = ["Repair", "finish_repair", "recent_repairs", "repair"]

_FRESH = f".{FILE}.repaired"
_ASIDE = "damaged-"
_COPY_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Repair:
    """The result: `kept_bytes` of `file_bytes` remain, and `rows` requests with JSON rows were
    recovered from the rest. The damaged file is in `aside`."""

    kept_bytes: int
    file_bytes: int
    rows: int
    aside: str

    def __str__(self) -> str:
        cut = self.file_bytes - self.kept_bytes
        return (
            f"The queue's file was damaged: {cut:,} of its {self.file_bytes:,} bytes were cut off, and"
            f" {self.rows:,} requests with JSON rows in them were recovered. Clients send the rest"
            f" again. The damaged file is kept in {self.aside}"
        )


def repair(
    folder: Path, keys: RedisKeys, *, refused: Collection[bytes] = (), whole: bool = False
) -> Repair | None:
    """Make the queue's file loadable; None if no damage is found.

    `refused` are commands unknown to Redis. With `whole`, nothing of the file is kept, because Redis
    does not load it although it looks valid.
    """
    paths, is_listed = paths_of(folder)
    parts = aof_files_of(paths, refused)
    if whole:
        parts = [replace(part, end=0) for part in parts]
    cut = next((i for i, part in enumerate(parts) if not part.is_sound), len(parts))
    if not parts or (cut == len(parts) and is_listed):
        return None
    kept, cut_off = parts[: cut + 1], parts[cut:]
    aside = new_folder(folder, _ASIDE)
    rows = _write(folder / _FRESH, kept, cut_off, keys)
    _swap(folder, aside)
    done = Repair(
        sum(part.end for part in kept), sum(max(0, part.size) for part in parts), rows, str(aside)
    )
    write_report(aside, done)
    return done


def recent_repairs(folder: Path) -> list[Repair]:
    """Repairs of the last three days whose damaged file still exists."""
    return recent_reports(Repair, folder, _ASIDE)


def finish_repair(folder: Path) -> None:
    """Continue a repair that was interrupted right after the damaged file was moved aside."""
    fresh = folder / _FRESH
    if fresh.exists():
        if (folder / FILE).exists() or (folder / FOLDER).exists():
            fresh.unlink()
        else:
            fresh.replace(folder / FILE)


def _write(
    fresh: Path, kept: Sequence[AofFile], cut_off: Sequence[AofFile], keys: RedisKeys
) -> int:
    """Write the new file; returns the number of recovered requests with JSON rows."""
    rows = rows_in(_readable(cut_off))
    with fresh.open("wb") as out:
        for part in kept:
            _copy(part, out)
        out.write(fresh_numbers(keys))
        for row in rows:
            out.write(row.commands(keys))
        out.flush()
        os.fsync(out.fileno())
    return len(rows)


def _readable(cut_off: Sequence[AofFile]) -> Iterator[list[bytes]]:
    for number, part in enumerate(cut_off):
        with mapped(part.path) as data:
            yield from readable_commands(data, 0 if number else part.end)


def _copy(part: AofFile, out: BinaryIO) -> None:
    if part.end <= 0:
        return
    with part.path.open("rb") as source:
        left = part.end
        while left and (piece := source.read(min(left, _COPY_BYTES))):
            out.write(piece)
            left -= len(piece)


def _swap(folder: Path, aside: Path) -> None:
    """Move the damaged file aside and put the new one in its place."""
    file, several = folder / FILE, folder / FOLDER
    if file.exists():
        _link(file, aside / FILE)  # so that a file exists at all times
    else:
        several.rename(aside / FOLDER)
    (folder / _FRESH).replace(file)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:  # a file system without links
        shutil.copyfile(file, copy)
