"""A segment file being written: its disk space is allocated, then mapped, then prefaulted.

Space is allocated before mapping because a full disk under a sparse map kills the process with
SIGBUS. Pages are faulted in ahead by reading zeros into the map: one system call, off the logging
path and without the GIL; a page that the disk cannot back raises an error there. On file systems
without coherent local maps (NFS, Lustre, FUSE), records are written with pwrite.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from penstock.spool.record import FIRST_OFFSET, RECORD_HEAD, aligned, segment_header, segment_name

__all__ = ["NO_SEGMENT", "Segment", "standard_numbers_taken"]

_PREFAULT_STEP = 4 << 20
_STANDARD_ERROR = 2


class Segment:
    """One file of a spool. `position` is the offset of the next record; a record may be written
    through `buffer` if it ends at or before `limit` (0: never, use `write`)."""

    __slots__ = ("_fd", "buffer", "limit", "path", "position", "sequence", "size")

    def __init__(self, path: Path, sequence: int, size: int, fd: int) -> None:
        self.path = path
        self.sequence = sequence
        self.size = size
        self.position = FIRST_OFFSET
        self.limit = 0
        self.buffer: mmap.mmap | bytearray = bytearray()
        self._fd = fd

    @classmethod
    def create(cls, folder: Path, sequence: int, size: int, *, mapped: bool) -> Segment:
        """Create a file under a temporary name, so that readers do not see it as the next segment
        before `publish`. Raises OSError if there is not enough disk space."""
        path = folder / f"{segment_name(sequence)}.tmp"
        with standard_numbers_taken():
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            segment = cls(path, sequence, size, fd)
            try:
                if mapped:
                    segment._map()
                os.pwrite(fd, segment_header(sequence, time.time_ns()), 0)
            except OSError:
                segment.close()
                path.unlink(missing_ok=True)
                raise
        return segment

    def _map(self) -> None:
        _allocate(self._fd, self.size)
        self.buffer = mapped = mmap.mmap(self._fd, self.size)
        _prefault(mapped, self.size)
        self.limit = self.size

    def publish(self) -> None:
        """Give the file its final name, which makes it part of the spool."""
        path = self.path.with_suffix("")
        self.path.rename(path)
        self.path = path

    def fits(self, payload_bytes: int) -> bool:
        return self.position + RECORD_HEAD.size + payload_bytes <= self.size

    def write(self, payload: bytes) -> None:
        """Append a record that fits. Raises OSError if there is no map and the disk is full."""
        head = RECORD_HEAD.pack(len(payload), zlib.crc32(payload))
        start = self.position + RECORD_HEAD.size
        end = start + len(payload)
        try:
            if self.buffer:
                self.buffer[start:end] = payload
                self.buffer[self.position : start] = head
            else:
                _pwrite_all(self._fd, head + payload, self.position)
            self.position = aligned(end)
        except BaseException:
            self.seal()  # partly written: never overwrite it
            raise

    def seal(self) -> None:
        """Accept no more records."""
        self.limit = 0
        self.size = 0

    def close(self, *, trim: bool = False) -> None:
        """Unmap and close; with `trim`, release the space after the last record."""
        self.limit = 0
        if isinstance(self.buffer, mmap.mmap):
            self.buffer.close()
            self.buffer = bytearray()
        if self._fd >= 0:
            if trim:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self.position)
            os.close(self._fd)
            self._fd = -1

    def forget(self) -> None:
        """Drop it after a fork: the file belongs to the parent and must not change."""
        self.limit = 0
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


NO_SEGMENT = Segment(Path(os.devnull), 0, 0, -1)
"""Accepts no records; a placeholder while a writer has no spool."""


@contextlib.contextmanager
def standard_numbers_taken() -> Iterator[None]:
    """Files opened meanwhile get other numbers than standard input, output and error, also in a process that has
    closed one of these: what it prints would end up in them."""
    taken: list[int] = []
    try:
        while (fd := os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)) <= _STANDARD_ERROR:
            taken.append(fd)
        os.close(fd)
        yield
    finally:
        for each in taken:
            os.close(each)


def _allocate(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
        return
    zeros = bytes(_PREFAULT_STEP)
    for start in range(0, size, len(zeros)):
        _pwrite_all(fd, zeros[: size - start], start)


def _prefault(buffer: mmap.mmap, size: int) -> None:
    zero = os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with memoryview(buffer) as view:
            start = 0
            while start < size:
                with view[start : start + _PREFAULT_STEP] as part:
                    start += os.readv(zero, [part])
    finally:
        os.close(zero)


def _pwrite_all(fd: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data = data[written:]
        offset += written
