"""Splits frames and records into batches within the limits, cutting values that exceed them alone. For
endpoints that number batches themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from penstock.wire.batch import Frame
from penstock.wire.fitting import RECORD_ROOM, Fitter, Room
from penstock.wire.limits import DEFAULT_LIMITS, Limits

__all__ = ["Packed", "packed"]

# Even with the largest frame or record added, a batch stays within the limits.
_MAX_POINTS = 500_000
_MAX_FRAMES = 2_000
_MAX_RECORDS = 20_000
_MAX_ELEMENTS = 400_000
_MAX_BYTES = 16 * 2**20


class Packed(NamedTuple):
    """The content of one batch."""

    frames: list[Frame]
    records: list[dict[str, Any]]


def packed(
    frames: Iterable[Frame], records: Iterable[Any], limits: Limits = DEFAULT_LIMITS
) -> Iterator[Packed]:
    """Frames first, then records, in order; at the end the notices for the run."""
    fitter = Fitter(limits)
    batch, room, points = Packed([], []), Room(_MAX_BYTES, _MAX_ELEMENTS), 0
    for item, used, count in _items(frames, records, fitter):
        is_frame = isinstance(item, Frame)
        is_full = (
            points + count > _MAX_POINTS
            or len(batch.frames) >= _MAX_FRAMES
            or len(batch.records) >= _MAX_RECORDS
            or not room.holds(used)
        )
        if is_full and (batch.frames or batch.records):
            yield batch
            batch, room, points = Packed([], []), Room(_MAX_BYTES, _MAX_ELEMENTS), 0
        if is_frame:
            batch.frames.append(item)
        else:
            batch.records.append(item)
        room.bytes, room.elements = room.bytes - used.bytes, room.elements - used.elements
        points += count
    batch.records.extend(fitter.notices())
    if batch.frames or batch.records:
        yield batch


def _items(
    frames: Iterable[Frame], records: Iterable[Any], fitter: Fitter
) -> Iterator[tuple[Any, Room, int]]:
    """Each frame and record that fits, with its size and number of points."""
    for whole in frames:
        for wide in fitter.frame(whole):
            for frame in _slices(wide):
                text = sum(map(len, frame.keys))
                size = 4 * text + 9 * len(frame.keys) + len(frame.values) + 2 * len(frame.steps)
                yield frame, Room(size + 64, len(frame.keys) + 8), frame.points
    for record in records:
        room = Room(*RECORD_ROOM)
        fitted = fitter.record(record, room)
        if fitted is not None:
            used = Room(RECORD_ROOM[0] - room.bytes, RECORD_ROOM[1] - room.elements)
            yield fitted, used, 0


def _slices(frame: Frame) -> Iterator[Frame]:
    """The frame, split by rows if it has too many."""
    height = max(1, _MAX_POINTS // len(frame.keys))
    if frame.rows <= height:
        yield frame
        return
    column = len(frame.steps)
    for start in range(0, column, 8 * height):
        rows = slice(start, start + 8 * height)
        values = (
            frame.values[at + start : min(at + start + 8 * height, at + column)]
            for at in range(0, len(frame.values), column)
        )
        yield frame._replace(
            steps=frame.steps[rows], times=frame.times[rows], values=b"".join(values)
        )
