"""Fold: many frames of many writers become sorted columns for one insert per table. Pure numpy.

A *chunk* is one key's column in one frame: one series, one seq, consecutive rows. Chunks are put
into table order first; rows are sorted only for the few series whose steps are not rising already.
Of equal (series, step) the greatest (seq, frame, row) is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.wire import Frame
from penstock_storage.clickhouse.tiers import TIER_SHIFT
from penstock_workers.batches.series import NEVER, SeriesIndex

__all__ = ["Folded", "ResolvedFrame", "fold"]

_FLOAT, _INTEGER = 1, 2
Ints = npt.NDArray[np.int64]
Columns = dict[str, Any]


class ResolvedFrame(NamedTuple):
    """A frame with the numbers of its series, run and writer. `row`: the batch's rows before it."""

    frame: Frame
    series: Ints
    run: int
    lane: int
    seq: int
    row: int


@dataclass(frozen=True, slots=True)
class Folded:
    """Columns for the tables `points`, `times` and `series`.

    `rows`: the series of each point. `touched`, `first`, `last`: the series of this commit and the
    range of their new steps.
    """

    points: Columns
    times: Columns
    series: Columns
    rows: Ints
    touched: Ints
    first: Ints
    last: Ints

    def late(self, table: SeriesIndex) -> tuple[Ints, Ints]:
        """(series, bucket) of the buckets below their series' watermark that these points touch:
        their tier rows are about to be wrong. Buckets that are open are marked already."""
        step: Ints = self.points["step"]
        late = np.flatnonzero(step < table.tiered[self.rows])
        rows, buckets = self.rows[late], step[late] >> TIER_SHIFT
        marked = buckets == table.open[rows]
        pairs = np.unique(np.stack([rows[~marked], buckets[~marked]]), axis=1)
        return pairs[0], pairs[1]


def fold(pieces: list[ResolvedFrame], table: SeriesIndex) -> Folded:
    """The columns of these pieces, sorted as their tables are."""
    steps = np.frombuffer(b"".join([piece.frame.steps for piece in pieces]), "<i8")
    keys = np.array([len(piece.series) for piece in pieces], np.int64)
    rows = np.array([piece.frame.rows for piece in pieces], np.int64)
    seqs = np.array([piece.seq for piece in pieces], np.int64)
    starts = np.cumsum(rows) - rows

    chunk_series = np.concatenate([piece.series for piece in pieces])
    chunk_rows = np.repeat(rows, keys)
    chunk_seqs = np.repeat(seqs, keys)
    order = np.argsort((table.rank()[chunk_series] << 32) | chunk_seqs, kind="stable")
    series, step, seq, at = _rows(
        chunk_series[order],
        chunk_rows[order],
        chunk_seqs[order],
        np.repeat(starts, keys)[order],
        steps,
    )
    values = np.frombuffer(b"".join([piece.frame.values for piece in pieces]), "<f8")
    value_starts = np.cumsum(chunk_rows) - chunk_rows
    value = values[np.repeat(value_starts[order], chunk_rows[order]) + at]

    series_columns, touched = _last_values(pieces, keys, order, chunk_series, value_starts, values)
    kept = _in_order(series, step)
    series, step, seq, value = series[kept], step[kept], seq[kept], value[kept]
    heads = _heads(series)
    first, last = step[heads], step[np.append(heads[1:], len(step)) - 1]
    series_columns |= {"first_step": first, "last_step": last}
    points = {
        "key": table.key[series],
        "run": table.run[series],
        "lane": table.lane[series],
        "step": step,
        "v": value,
        "seq": seq.astype(np.uint32),
    }
    return Folded(
        points=points,
        times=_times(pieces, rows, starts, steps, seqs),
        series=_series(series_columns, touched, table),
        rows=series,
        touched=touched,
        first=first,
        last=last,
    )


def _rows(
    series: Ints, rows: Ints, seqs: Ints, starts: Ints, steps: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """Chunks expanded: series, step and seq of every row, and its place in its chunk."""
    begin = np.cumsum(rows) - rows
    at = np.arange(int(rows.sum())) - np.repeat(begin, rows)
    return (
        np.repeat(series, rows),
        steps[np.repeat(starts, rows) + at],
        np.repeat(seqs, rows),
        at,
    )


def _in_order(group: Ints, step: Ints) -> Ints:
    """Row numbers in (group, step) order without repeats; rows come grouped, and in each group
    oldest first."""
    same = group[1:] == group[:-1]
    wrong = np.flatnonzero(same & (step[1:] <= step[:-1]))
    rows = np.arange(len(group))
    if not len(wrong):
        return rows
    heads = _heads(group)
    sizes = np.diff(np.append(heads, len(group)))
    unsorted = np.zeros(len(heads), bool)
    unsorted[np.searchsorted(heads, wrong, side="right") - 1] = True
    part = np.flatnonzero(np.repeat(unsorted, sizes))
    number = np.repeat(np.arange(len(heads)), sizes)[part]
    rows[part] = part[_order(number, step[part])]
    step = step[rows]
    repeated = np.append((group[1:] == group[:-1]) & (step[1:] == step[:-1]), False)
    kept: Ints = rows[~repeated]
    return kept


def _order(number: Ints, step: Ints) -> Ints:
    """A stable order by (number, step). Packed into one integer where it fits: a stable sort of
    nearly sorted integers is many times faster than a sort by two keys."""
    lowest = int(step.min())
    span = int(step.max()) - lowest + 1
    if (int(number[-1]) + 1) * span < 2**62:
        return np.argsort(number * span + (step - lowest), kind="stable")
    return np.lexsort((step, number))


def _heads(group: Ints) -> Ints:
    """Where each group of equal neighbours begins."""
    heads: Ints = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    return heads


def _last_values(
    pieces: list[ResolvedFrame],
    keys: Ints,
    order: Ints,
    chunk_series: Ints,
    value_starts: Ints,
    values: npt.NDArray[np.float64],
) -> tuple[Columns, Ints]:
    """`last` and `kinds` of each series touched: its newest chunk's last row, and all kinds."""
    kinds = np.concatenate([_kinds(piece.frame) for piece in pieces])[order]
    sorted_series = chunk_series[order]
    heads = _heads(sorted_series)
    newest = order[np.append(heads[1:], len(order)) - 1]
    piece_of = np.repeat(np.arange(len(pieces)), keys)[newest]
    seqs = np.array([piece.seq for piece in pieces], np.uint64)[piece_of]
    rows = np.array([piece.frame.rows for piece in pieces], np.int64)[piece_of]
    before = np.array([piece.row for piece in pieces], np.int64)[piece_of]
    version = (seqs << np.uint64(32)) | (before + rows - 1).astype(np.uint64)
    columns: Columns = {
        "last": (version, values[value_starts[newest] + rows - 1]),
        "kinds": np.bitwise_or.reduceat(kinds, heads),
    }
    return columns, sorted_series[heads]


def _kinds(frame: Frame) -> npt.NDArray[np.uint8]:
    if frame.ints is None:
        return np.full(len(frame.keys), _FLOAT, np.uint8)
    return np.where(np.frombuffer(frame.ints, np.uint8) != 0, _INTEGER, _FLOAT).astype(np.uint8)


def _times(
    pieces: list[ResolvedFrame], rows: Ints, starts: Ints, steps: Ints, seqs: Ints
) -> Columns:
    """One row per logged step of each lane, however many frames the step is in."""
    times = np.frombuffer(b"".join([piece.frame.times for piece in pieces]), "<i8")
    lanes = np.array([piece.run << 16 | piece.lane for piece in pieces], np.int64)
    order = np.lexsort((seqs, lanes))
    lane, step, seq, at = _rows(lanes[order], rows[order], seqs[order], starts[order], steps)
    time = times[np.repeat(starts[order], rows[order]) + at]
    kept = _in_order(lane, step)
    lane = lane[kept]
    return {
        "run": (lane >> 16).astype(np.uint32),
        "lane": (lane & 0xFFFF).astype(np.uint16),
        "step": step[kept],
        "t": time[kept],
        "seq": seq[kept].astype(np.uint32),
    }


def _series(columns: Columns, touched: Ints, table: SeriesIndex) -> Columns:
    return {
        "run": table.run[touched],
        "key": table.key[touched],
        "lane": table.lane[touched],
        **columns,
        "tiered": np.full(len(touched), NEVER),
    }
