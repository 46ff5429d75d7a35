"""Reuse of spools among forked children: a new child continues the spool of one that has ended.

A data loader forks new workers for every epoch. If each that logs had its own writer, a long training
run would have tens of thousands of writers, each a lane of the run. So a child looks for the spool of
a sibling that has ended, takes its lock, and fills the segments after the last one. Batch numbers
belong to the spool, so the server sees one writer. Children that log at the same time have a spool
each.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from penstock.spool.meta import Meta, load_meta
from penstock.spool.record import (
    FIRST_OFFSET,
    PAYLOAD_HEAD,
    RECORD_HEAD,
    PayloadKind,
    aligned,
    segment_name,
)
from penstock.spool.root import spools_in

__all__ = ["LeftSpool", "hold_left", "last_step_of", "take_left"]

_HEADS = RECORD_HEAD.size + PAYLOAD_HEAD.size


@dataclass(frozen=True)
class LeftSpool:
    """A spool whose lock this process now holds. `segment` is its last segment; `next_step` is above
    every step in it, so that automatic steps overwrite nothing."""

    folder: Path
    meta: Meta
    lock_fd: int
    segment: int
    next_step: int


def take_left(root: Path, meta: Meta, candidates: Iterable[Path] | None = None) -> LeftSpool | None:
    """The spool of an ended sibling, ready to be continued; None if there is none. Only `candidates` are
    looked at, if they are given."""
    if not meta.parent or meta.primary:
        return None
    for folder in spools_in(root) if candidates is None else candidates:
        with contextlib.suppress(OSError, ValueError):
            theirs = load_meta(folder)
            if not _are_siblings(meta, theirs):
                continue
            lock_fd = hold_left(folder)
            if lock_fd is None:
                continue
            segments = _segments(folder)
            if segments:
                own = replace(theirs, pid=meta.pid, boot_id=meta.boot_id)
                last_step = last_step_of(folder)
                next_step = 0 if last_step is None else last_step + 1
                return LeftSpool(folder, own, lock_fd, segments[-1], next_step)
            os.close(lock_fd)  # emptied by a shipper except for refused batches
    return None


def hold_left(folder: Path) -> int | None:
    """The lock of a spool without a writer, as a file descriptor; None if a writer holds it or that
    cannot be determined. While it is held, no writer starts and no shipper deletes the spool."""
    path = folder / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and locking, the folder may have been deleted.
        if os.path.samestat(path.stat(), os.fstat(fd)):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _are_siblings(meta: Meta, other: Meta) -> bool:
    """Whether two writers differ only in their process."""
    same = replace(
        other,
        writer=meta.writer,
        writer_started=meta.writer_started,
        boot_id=meta.boot_id,
        pid=meta.pid,
        started_boot_us=meta.started_boot_us,
    )
    return same == meta


def _segments(folder: Path) -> list[int]:
    stems = [path.stem for path in folder.glob("*.seg")]
    return sorted(int(stem) for stem in stems if stem.isdigit())


def last_step_of(folder: Path) -> int | None:
    """The highest step of the last segment that holds rows; None if none does. Raises OSError."""
    for number in reversed(_segments(folder)):
        highest = _highest_step((folder / segment_name(number)).read_bytes())
        if highest is not None:
            return highest
    return None


def _highest_step(data: bytes) -> int | None:
    highest, at = None, FIRST_OFFSET
    while at + _HEADS <= len(data):
        length = RECORD_HEAD.unpack_from(data, at)[0]
        if length < PAYLOAD_HEAD.size:
            break
        kind, _, step, _ = PAYLOAD_HEAD.unpack_from(data, at + RECORD_HEAD.size)
        if kind == PayloadKind.ROW:
            highest = step if highest is None else max(highest, step)
        at = aligned(at + RECORD_HEAD.size + length)
    return highest
