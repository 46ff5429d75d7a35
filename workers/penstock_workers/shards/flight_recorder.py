"""Which entry a worker was working on when it failed or died.

A batch may end its process or make it hang, and then nobody is left to say which one it was. So the
worker notes each entry in a small mapped file before it works on it, which costs a memory copy and
outlives the process. The next worker on this machine reads it. Without it, the batch has to be searched
for: see `Quarantine`.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from penstock.ids import new_worker_id
from penstock_common.queue.entries import Entry
from penstock_common.queue.redis_keys import SHARDS

__all__ = ["Death", "FlightRecorder", "left_behind"]

_LOG = logging.getLogger(__name__)

_NOTE = struct.Struct("<i60s?HI")
"""Shard, entry id, and whether a commit is in hand; of the read: the shards of which tries are counted, as
bits, and the number of entries."""
_NOTHING = -1
_ENTRY, _COMMIT, _READ = slice(0, 64), 64, slice(65, 71)
_SUFFIX = ".entry"
_ID = re.compile(rb"\d{1,20}-\d{1,20}")


class FlightRecorder:
    """Notes entries in a file of its own; only in memory if there is no folder for it."""

    def __init__(self, note: mmap.mmap) -> None:
        self._note = note
        self.entry: Entry | None = None
        self.steps = 0
        """How often work on an entry has begun."""
        self.clear()

    def note(self, entry: Entry) -> None:
        """Work on this entry begins."""
        self.entry = entry
        self.steps += 1
        self._write(entry.shard, entry.id)

    def clear(self) -> None:
        """Nothing is worked on that could be to blame alone."""
        self.entry = None
        self._write(_NOTHING, b"")

    def _write(self, shard: int, entry_id: bytes) -> None:
        self._note[_ENTRY] = _NOTE.pack(shard, entry_id, False, 0, 0)[_ENTRY]

    def reads(self, entries: Sequence[Entry], *, is_counted: bool) -> None:
        """These are worked on next. `is_counted`: a try of each is counted in advance."""
        shards = {entry.shard for entry in entries} if is_counted else ()
        bits = sum(1 << shard for shard in shards)
        self._note[_READ] = _NOTE.pack(0, b"", False, bits, len(entries))[_READ]

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Earlier entries are being committed: if the process dies now, it may be of those."""
        self._note[_COMMIT] = 1
        try:
            yield
        finally:
            self._note[_COMMIT] = 0

    @classmethod
    @contextmanager
    def opened(cls, folder: Path | None) -> Iterator[FlightRecorder]:
        """One whose file is locked as long as this process lives, and deleted at the end of the block. A
        folder that cannot be written to, or a full disk, does not keep a worker from working."""
        file = None
        try:
            file = _new_file(folder) if folder is not None else None
        except OSError as error:
            _LOG.warning("no_flight_recorder error=%s", os.strerror(error.errno or 0))
        with mmap.mmap(-1 if file is None else file.fileno(), _NOTE.size) as note:
            try:
                yield cls(note)
            finally:
                if file is not None:
                    Path(file.name).with_suffix(_SUFFIX).unlink(missing_ok=True)
                    file.close()


def _new_file(folder: Path) -> BinaryIO:
    """A locked file with room for a note. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / new_worker_id()
    file = path.open("xb+")
    try:
        # Written, not only made longer: on a full disk, the first note would end this process.
        file.write(bytes(_NOTE.size))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        path.rename(path.with_suffix(_SUFFIX))
    except OSError:
        path.unlink(missing_ok=True)
        file.close()
        raise
    return file


class Death(NamedTuple):
    """The entry that ended a worker, the shards of which it had counted tries in advance, and the number of
    entries that it had read together."""

    shard: int
    entry_id: str
    counted: frozenset[int]
    entries: int


def left_behind(folder: Path) -> list[Death]:
    """What ended the workers that used this folder, each told once."""
    found = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                raw = file.read(_NOTE.size)
                path.unlink()
        except BlockingIOError:
            continue  # its worker lives
        except OSError as error:
            _LOG.warning("note_unreadable path=%s error=%s", path, os.strerror(error.errno or 0))
            continue
        if len(raw) == _NOTE.size:
            shard, padded, is_committing, bits, entries = _NOTE.unpack(raw)
            entry_id = padded.rstrip(b"\0")
            if shard in range(SHARDS) and not is_committing and _ID.fullmatch(entry_id):
                counted = frozenset(each for each in range(SHARDS) if bits >> each & 1)
                found.append(Death(shard, entry_id.decode(), counted, entries))
    return found
