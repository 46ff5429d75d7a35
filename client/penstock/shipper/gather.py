"""Collects one batch's records from a spool, starting at a position."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from penstock.shipper.columns import BatchLimits, Columns
from penstock.shipper.reader import Cycle, Record, SpoolReader, SpoolRow
from penstock.spool.record import PayloadKind, Position
from penstock.wire import RULES

__all__ = ["ALL_SEGMENTS", "Gathered", "gather"]

ALL_SEGMENTS = 1 << 62


@dataclass
class Gathered:
    """`columns` hold the records in [start, end). `ended`: they include END, with its `dropped`.
    `full`: more may follow at once."""

    columns: Columns
    end: Position
    ended: bool = False
    full: bool = False
    dropped: int = 0


def gather(
    reader: SpoolReader,
    start: Position,
    limits: BatchLimits,
    *,
    stop: Position | None = None,
    complete_to: int = 0,
    rules: int = RULES,
) -> Gathered:
    """Read from `start` to `stop` (default: to the end) or until a batch is full. `rules` are those
    with which the batch is or was cut.

    Segments up to `complete_to` have no writer any more: damage in them is permanent.
    """
    found = Gathered(Columns(limits, rules), start)
    while not found.full and not found.ended and (stop is None or found.end < stop):
        data = reader.chunk(found.end)
        if data:
            _take(reader, data, found, stop)
            continue
        following = reader.following(found.end)
        if following is None and found.end.segment > complete_to:
            break
        # Checked again: the last record may have been written before the next segment appeared.
        if reader.chunk(found.end):
            continue
        after = reader.after_damage(found.end) or following
        if after is None:
            break
        found.end = after
    return found


def _take(reader: SpoolReader, data: bytes, found: Gathered, stop: Position | None) -> None:
    columns = found.columns
    segment, base = found.end
    if stop is not None and stop.segment == segment:
        data = data[: stop.offset - base]
    for item in reader.records(data, found.end, columns.room_for):
        if isinstance(item, Record):
            if item.kind == PayloadKind.RECORD:
                record = msgpack.unpackb(item.body, strict_map_key=False)
                columns.add_record(record, len(item.body))
            elif item.kind == PayloadKind.END:
                found.ended, found.dropped = True, item.step
            end = item.end
        elif isinstance(item, SpoolRow):
            columns.add_row(item)
            end = item.end
        elif isinstance(item, Cycle):
            columns.add_cycle(item)
            end = item.end
        else:
            columns.add_run(item)
            end = found.end.offset + item.rows.size
        found.end = Position(segment, end)
        if found.ended or columns.full:
            break
    found.full = columns.full
