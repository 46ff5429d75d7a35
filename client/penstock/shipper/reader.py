"""Reads a spool while it is being written: only contiguous records with valid checksums.

A record with length 0 is where the writer will continue. After a damaged record nothing is trusted up
to the next offset in the segment that holds a record with a valid checksum; the gap is counted. In
the segment that a live writer fills, an invalid checksum may be an unfinished record, so reading
waits there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgpack
import numpy as np

from penstock.shipper.uniform import Passed, are_alike, count_alike, is_right, turns_alike
from penstock.spool.record import (
    FIRST_OFFSET,
    PAYLOAD_HEAD,
    RECORD_HEAD,
    PayloadKind,
    Position,
    aligned,
    read_segment_header,
    segment_name,
)

__all__ = ["Cycle", "Record", "RowBlock", "SpoolReader", "SpoolRow"]

_MIN_READ_BYTES = 64 << 10
_MAX_READ_BYTES = 4 << 20
_MAX_RECORD_BYTES = 256 << 20
_HEAD = RECORD_HEAD.size
_BODY = _HEAD + PAYLOAD_HEAD.size
_MAX_CYCLE_ROWS = 2_000


class Record(NamedTuple):
    """One record; `end` is the offset of the next."""

    kind: int
    shape: int
    step: int
    time_ns: int
    body: memoryview
    end: int


@dataclass(slots=True)
class RowBlock:
    """Consecutive rows of one shape and length: `rows` is u8[n, stride]."""

    keys: tuple[str, ...]
    rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    length: int

    @property
    def count(self) -> int:
        return self.rows.shape[0]

    def column(self, start: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The i64 at byte offset `start` of each record."""
        return np.ascontiguousarray(self.rows[:, start : start + 8]).view("<i8")[:, 0]

    @property
    def steps(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return self.column(_HEAD + 8)

    @property
    def times_ns(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return self.column(_HEAD + 16)

    def bodies(self) -> Iterator[memoryview]:
        for row in self.rows:
            yield row.data[_BODY : _HEAD + self.length]


class SpoolRow(NamedTuple):
    """A row between rows of other shapes; `end` is the offset of the next record."""

    keys: tuple[str, ...]
    step: int
    time_ns: int
    body: memoryview
    end: int


class Cycle(NamedTuple):
    """Interleaved rows of several shapes, as from one `log` call per metric: a block of each, all of
    the same length. `end` is the offset of the next record."""

    runs: list[RowBlock]
    end: int

    @property
    def turns(self) -> int:
        return self.runs[0].count


class SpoolReader:
    """Random and sequential access to one spool's records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: set[int] = set()
        """Missing segments between existing ones."""
        self._damage: dict[Position, int] = {}
        self._read_size = _MIN_READ_BYTES
        self._fd = -1
        self._segment = 0
        self._shapes: dict[int, tuple[str, ...]] = {}
        self._shapes_to = 0
        self._interned: dict[tuple[str, ...], tuple[str, ...]] = {}

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._segment = -1, 0

    @property
    def damaged_bytes(self) -> int:
        """The total size of all damage seen so far."""
        return sum(self._damage.values())

    def sight(self, position: Position) -> int | None:
        """A cheap check, for comparing: it differs from an earlier one at the same `position` if a file of
        the spool has come or gone since, and is None if records follow. Raises OSError."""
        changed_at = self.folder.stat().st_mtime_ns
        if self._open(position.segment) and any(os.pread(self._fd, 4, position.offset)):
            return None
        return changed_at

    def first(self) -> Position:
        """The start of the oldest existing segment."""
        return Position(min(self.segments(), default=1), FIRST_OFFSET)

    def segments(self) -> list[int]:
        with os.scandir(self.folder) as entries:
            names = [entry.name.partition(".") for entry in entries]
        return sorted(int(stem) for stem, _, end in names if end == "seg" and stem.isdigit())

    def following(self, position: Position) -> Position | None:
        """The start of the next segment, if it exists, which means that this one is complete."""
        number = position.segment + 1
        if not (self.folder / segment_name(number)).exists():
            # They are created in order: if there is a later one, missing ones before it are lost.
            later = next((each for each in self.segments() if each > position.segment), None)
            if later is None:
                return None
            self.missing.update(range(number, later))
            number = later
        return Position(number, FIRST_OFFSET)

    def chunk(self, position: Position) -> bytes:
        """Bytes from `position` on that start with a complete, valid record; empty if there is none."""
        if not self._open(position.segment):
            return b""
        head = os.pread(self._fd, _HEAD, position.offset)
        length = RECORD_HEAD.unpack(head)[0] if len(head) == _HEAD else 0
        if length == 0 or length > _MAX_RECORD_BYTES:
            return b""
        wanted = max(self._read_size, _HEAD + length)
        data = os.pread(self._fd, wanted, position.offset)
        self._read_size = (
            _MAX_READ_BYTES if len(data) == wanted and data[-8:] != bytes(8) else _MIN_READ_BYTES
        )
        if is_right(memoryview(data), 0):
            return data
        return b""

    def after_damage(self, position: Position) -> Position | None:
        """The next position in the segment after `position` with a valid record.

        Call it only for a complete segment; the bytes in between are lost and counted.
        """
        if not self._open(position.segment):
            return None
        size = os.fstat(self._fd).st_size - position.offset
        data = os.pread(self._fd, max(size, 0), position.offset).rstrip(b"\0")
        view = memoryview(data + bytes(-len(data) % 8))
        lengths = np.frombuffer(view, "<u4")[2::2]
        plausible = (lengths >= PAYLOAD_HEAD.size) & (lengths <= len(view))
        for offset in ((np.flatnonzero(plausible) + 1) * 8).tolist():
            if is_right(view, offset):
                self._damage[position] = offset
                return Position(position.segment, position.offset + offset)
        if data:
            self._damage[position] = len(data)
        return None

    def records(
        self, data: bytes, position: Position, room_for: Callable[[int], int]
    ) -> Iterator[Record | SpoolRow | RowBlock | Cycle]:
        """The records in `data`, which starts at `position`; uniform rows come as one `RowBlock`,
        interleaved ones as one `Cycle`.

        `room_for(keys)` returns how many rows with these keys are wanted; 0 stops. Also stops before an
        incomplete or invalid record.
        """
        self._learn_shapes(position)
        view = memoryview(data)
        offset, base = 0, position.offset
        passed: list[Passed] = []
        places: dict[int, int] = {}
        while is_right(view, offset):
            length = RECORD_HEAD.unpack_from(view, offset)[0]
            end = aligned(offset + _HEAD + length)
            kind, shape, step, time_ns = PAYLOAD_HEAD.unpack_from(view, offset + _HEAD)
            if kind != PayloadKind.ROW or shape not in self._shapes:
                body = view[offset + _BODY : offset + _HEAD + length]
                if kind == PayloadKind.SHAPE:
                    self._learn(shape, body)
                self._shapes_to = max(self._shapes_to, base + end)
                yield Record(kind, shape, step, time_ns, body, base + end)
                offset = end
                passed, places = [], {}
                continue
            keys = self._shapes[shape]
            room = room_for(len(keys))
            if room <= 0:
                return
            item: SpoolRow | RowBlock | Cycle | None = None
            if are_alike(view, offset, end - offset, length, shape):
                item = self._run(view, offset, length, keys, room)
                end = offset + item.count * (end - offset)
            elif shape in places:
                item = self._cycle(view, offset, base, passed[places[shape] :], room)
                end = end if item is None else item.end - base
            if item is not None or len(passed) >= _MAX_CYCLE_ROWS or shape in places:
                passed, places = [], {}
            if item is None:
                places[shape] = len(passed)
                passed.append(Passed(offset, length, shape))
                body = view[offset + _BODY : offset + _HEAD + length]
                item = SpoolRow(keys, step, time_ns, body, base + end)
            offset = end
            self._shapes_to = max(self._shapes_to, base + offset)
            yield item

    def _cycle(
        self, view: memoryview, offset: int, base: int, turn: list[Passed], room: int
    ) -> Cycle | None:
        """The rows from `offset` on if they continue the interleaving. `room`: how many rows like the
        first are wanted."""
        stride = offset - turn[0].offset
        keys = [self._shapes[each.shape] for each in turn]
        width, first = sum(map(len, keys)), len(keys[0])
        most = min(
            room * first // width,
            room * (8 * first + 16) // (8 * width + 16 * len(turn)),
            (len(view) - offset) // stride,
        )
        starts = [each.offset - turn[0].offset for each in turn]
        count = turns_alike(view, offset, stride, most, turn, starts)
        if count < 2:
            return None
        rows = np.frombuffer(view, np.uint8, count * stride, offset).reshape(count, stride)
        ends = [*starts[1:], stride]
        runs = [
            RowBlock(names, rows[:, start:end], each.length)
            for names, start, end, each in zip(keys, starts, ends, turn, strict=True)
        ]
        return Cycle(runs, base + offset + count * stride)

    def _run(
        self, view: memoryview, offset: int, length: int, keys: tuple[str, ...], most_rows: int
    ) -> RowBlock:
        stride = aligned(_HEAD + length)
        available = max(1, min(most_rows, (len(view) - offset) // stride))
        count = 1
        # Probe further only while rows stay uniform, so that short blocks cost little.
        while count < available:
            probe = min(available, count * 8)
            alike = count_alike(view, offset, stride, probe)
            count = alike
            if alike < probe:
                break
        ends = offset + count * stride
        if ends > len(view):  # the last record's padding is beyond the chunk
            data = bytes(view[offset:]) + bytes(ends - len(view))
            rows = np.frombuffer(data, np.uint8, count * stride)
        else:
            rows = np.frombuffer(view, np.uint8, count * stride, offset)
        return RowBlock(keys, rows.reshape(count, stride), length)

    def _open(self, segment: int) -> bool:
        """Whether this segment exists. Raises OSError if it exists but cannot be read."""
        if segment == self._segment:
            return True
        self.close()
        try:
            self._fd = os.open(self.folder / segment_name(segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.missing.add(segment)
            return False
        self._segment = segment
        self._shapes, self._shapes_to = {}, FIRST_OFFSET
        if read_segment_header(os.pread(self._fd, FIRST_OFFSET, 0)) != segment:
            self._damage[Position(segment, 0)] = FIRST_OFFSET
        return True

    def _learn(self, shape: int, body: memoryview) -> None:
        keys = tuple(msgpack.unpackb(body))
        self._shapes[shape] = self._interned.setdefault(keys, keys)

    def _learn_shapes(self, position: Position) -> None:
        """Learn the shapes declared before `position` if reading starts inside a segment."""
        offset = self._shapes_to
        self._shapes_to = max(self._shapes_to, position.offset)
        if offset >= position.offset:
            return
        data = memoryview(os.pread(self._fd, position.offset - offset, offset))
        start = 0
        while start + _BODY <= len(data):
            length = RECORD_HEAD.unpack_from(data, start)[0]
            if length and data[start + _HEAD] == PayloadKind.SHAPE and is_right(data, start):
                shape = PAYLOAD_HEAD.unpack_from(data, start + _HEAD)[1]
                self._learn(shape, data[start + _BODY : start + _HEAD + length])
            # Damaged lengths are skipped in the smallest steps.
            right = length >= PAYLOAD_HEAD.size and start + _HEAD + length <= len(data)
            start = aligned(start + _HEAD + length) if right else start + 8
