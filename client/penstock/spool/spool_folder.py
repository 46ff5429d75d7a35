"""A writer's folder of segments: its lock, its disk limit, and the next segment prepared ahead.

One spool belongs to one writer, and one process at a time fills it; others only drain it. Only a
forked child may continue where a sibling has ended (`siblings.py`), in segments of its own. A living
process holds a lock on the folder's `lock` file; a free lock without an END record means that it
died. `keeper.py`'s thread keeps the next segment ready, so that the logging path only swaps, and looks
after the spool once a second.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from penstock.spool import keeper
from penstock.spool.meta import Meta, boot_id, load_meta, pid_namespace, store_meta
from penstock.spool.record import FIRST_OFFSET, RECORD_HEAD
from penstock.spool.root import is_network, note_used_bytes, recently_used_bytes
from penstock.spool.segment import NO_SEGMENT, Segment, standard_numbers_taken
from penstock.spool.siblings import take_left

__all__ = ["Spool", "SpoolOptions", "is_disk_full", "is_writer_alive"]

FIRST_SEGMENT_BYTES = 256 << 10
MAX_SEGMENT_BYTES = 8 << 20
_SEGMENTS_PER_ROOT = 64
HEADROOM_BYTES = 1 << 20
"""Disk space that writers leave free: the shipper needs a little in order to release any."""
_ROOM_INTERVAL_S = 0.25
_TOUCH_S, _SILENT_S = 30.0, 600.0
"""Without locks: how often a writer touches its lock file, and after which silence it is dead for other
machines and containers."""


@dataclass(frozen=True)
class SpoolOptions:
    """`limit_bytes` applies to all spools of the root together; at the limit, `on_full` "drop" drops
    the newest rows, counted and reported, and "block" waits for space."""

    limit_bytes: int = 2 << 30
    on_full: str = "drop"
    is_mapped: bool = True
    """Whether segments are allocated and mapped ahead, where the file system can: fast, but not worth its
    memory for a row now and then."""


class Spool:
    """The folder `root/<writer>` while its writer fills it.

    `next_step` is the lowest step not used by rows from other processes in it.
    """

    def __init__(
        self,
        root: Path,
        meta: Meta,
        options: SpoolOptions,
        look: Callable[[Path], None] = lambda folder: None,
        siblings: Iterable[Path] | None = None,
    ) -> None:
        """Creates the folder, or continues a sibling's, and creates its own first segment; raises
        OSError if that fails.

        `look` is called with the folder about once a second, by the keeper's thread. `siblings`: the only
        folders to look for one in, if they are known.
        """
        self.root = root
        self.options = options
        self._mapped = options.is_mapped and not is_network(root)
        self._look = look
        self._size = FIRST_SEGMENT_BYTES
        # Small compared to the limit: segments being filled cannot be released to make space.
        share = options.limit_bytes // _SEGMENTS_PER_ROOT
        self._largest = min(MAX_SEGMENT_BYTES, max(FIRST_SEGMENT_BYTES, share))
        self._ready: Segment | None = None
        self._retired: list[Segment] = []
        self.problem = ""
        """Why there is no next segment, if not for want of disk space."""
        self._no_room_until = 0.0
        self._making = threading.Lock()
        self._closed = False
        self._touch_at = 0.0
        left = take_left(root, meta, siblings)
        if left is None:
            self.folder, self._sequence, self.next_step = root / meta.writer, 0, 0
            self.folder.mkdir(mode=0o700)
            self._lock_fd = _hold_lock(self.folder / "lock")
        else:
            self.folder, self._sequence, self.next_step = left.folder, left.segment, left.next_step
            self._lock_fd, meta = left.lock_fd, left.meta
        self.writer = meta.writer
        self.first = self.next_segment(0) or NO_SEGMENT
        # Last, because a shipper may open any folder with a meta file.
        store_meta(self.folder, meta)
        keeper.add(self)

    def next_segment(self, payload_bytes: int) -> Segment | None:
        """The segment after the current one, with space for a payload; None if there is no space.

        The previous segment must be complete: a reader may leave it as soon as this one exists.
        """
        need = FIRST_OFFSET + RECORD_HEAD.size + payload_bytes
        with self._making:
            segment, self._ready = self._ready, None
            if segment is not None and segment.size < need:
                segment.close()
                segment = None
            segment = segment or self._make(need)
            if segment is not None:
                segment.publish()
                # Under the lock, since the thread numbers the next segment.
                self._sequence = segment.sequence
                self._size = min(self._size * 2, self._largest)
                keeper.wake(self)
        return segment

    def retire(self, segment: Segment) -> None:
        """Unmap a complete segment, later and off the logging path."""
        if segment is not NO_SEGMENT:
            self._retired.append(segment)

    def close(self, segment: Segment) -> None:
        """Release everything, including the lock, after the writer's last record."""
        self._closed = True
        keeper.remove(self)
        with self._making:
            if self._ready is not None:
                self._ready.close()
                self._ready.path.unlink(missing_ok=True)
                self._ready = None
        self._close_retired()
        if segment is not NO_SEGMENT:
            segment.close(trim=True)
        os.close(self._lock_fd)

    def discard(self) -> None:
        """Release and delete everything: nothing of value was written."""
        self.close(NO_SEGMENT)
        self.delete()

    def delete(self) -> None:
        """Remove its folder, once it is closed."""
        import shutil  # noqa: PLC0415  (rare: keeps `penstock.init` cheap)

        shutil.rmtree(self.folder, ignore_errors=True)

    def abandon(self) -> None:
        """In a forked child: release the parent's files without changing them."""
        self._closed = True
        for segment in (self._ready, *self._retired):
            if segment is not None:
                segment.forget()
        # If the child held the lock, a dead parent would appear alive.
        os.close(self._lock_fd)

    def prepare(self) -> None:
        """Have the next segment ready, and unmap the complete ones."""
        self._close_retired()
        with self._making:
            if self._ready is None and not self._closed:
                self._ready = self._make(0)

    def look(self) -> None:
        """Say that this writer is alive where locks do not, and call the function given for that."""
        if self._closed:
            return
        if not self._mapped and time.monotonic() >= self._touch_at:
            self._touch_at = time.monotonic() + _TOUCH_S
            with contextlib.suppress(OSError):  # its folder may have been deleted
                os.utime(self._lock_fd)
        self._look(self.folder)

    def _make(self, need: int) -> Segment | None:
        now = time.monotonic()
        if now < self._no_room_until:
            return None
        room = self.options.limit_bytes - recently_used_bytes(
            self.root, self.options.limit_bytes // 2
        )
        size = max(self._size, need)
        while size > max(room, 0) and size // 2 >= max(need, FIRST_SEGMENT_BYTES):
            size //= 2
        if size <= room and _free_bytes(self.root) - size >= HEADROOM_BYTES:
            try:
                segment = self._created(size)
            except OSError as error:
                self.problem = error.strerror or str(error)
            else:
                self.problem = ""
                note_used_bytes(self.root, size)
                return segment
        else:
            self.problem = ""
        self._no_room_until = now + _ROOM_INTERVAL_S
        return None

    def _created(self, size: int) -> Segment:
        number = self._sequence + 1
        try:
            return Segment.create(self.folder, number, size, mapped=self._mapped)
        except OSError as error:
            if error.errno != errno.ENOMEM:  # no address space is left for a map
                raise
            return Segment.create(self.folder, number, size, mapped=False)

    def _close_retired(self) -> None:
        with contextlib.suppress(IndexError):  # the keeper's thread does the same
            while True:
                self._retired.pop().close()


def is_disk_full(root: Path) -> bool:
    """Whether the disk of `root` has no space for a segment, regardless of the limit."""
    return _free_bytes(root) < FIRST_SEGMENT_BYTES + HEADROOM_BYTES


def _free_bytes(folder: Path) -> int:
    """The disk space available to this user."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _hold_lock(path: Path) -> int:
    with standard_numbers_taken():
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # Without lock support the shipper falls back on the process id in the meta file.
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def is_writer_alive(folder: Path) -> bool:
    """Whether the spool's writer still holds its lock."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return _is_process_there(folder)
    finally:
        os.close(fd)
    return False


def _is_process_there(folder: Path) -> bool:
    """Whether the process in the meta file is running: by its id where that is valid here, otherwise by
    when it last touched its lock file."""
    try:
        meta = load_meta(folder)
        silent_s = time.time() - (folder / "lock").stat().st_mtime
    except (OSError, ValueError):
        return False
    if meta.pid <= 0:
        return False
    if meta.boot_id != boot_id() or meta.pid_namespace not in ("", pid_namespace()):
        return silent_s < _SILENT_S
    try:
        os.kill(meta.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
