"""Converts a batch's rows to the wire's columns.

Rows with the same keys become one frame, without handling floats one by one. Values other than
numbers become `value` records. Of each (key, step) only the last is kept. The same range of a spool
always gives the same bytes, regardless of the pieces in which it was read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np

from penstock.shipper.reader import Cycle, RowBlock, SpoolRow
from penstock.spool.record import PAYLOAD_HEAD, RECORD_HEAD
from penstock.values.trees import flatten
from penstock.wire import RULES, Frame
from penstock.wire.numbers import not_finite_text
from penstock.wire.records import STATE_KINDS, ValueRecord

__all__ = ["BatchLimits", "Columns"]

_FLOAT_TAG = 0xCB
_RULES_THAT_JOIN = 2
_TOGETHER_US = 1_000_000
"""Rows of one step logged within this time are merged."""
_BODY = RECORD_HEAD.size + PAYLOAD_HEAD.size
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True)
class BatchLimits:
    """The limits of a batch; a single larger row is still a batch."""

    points: int = 200_000
    size_bytes: int = 4 << 20
    frames: int = 5_000
    elements: int = 500_000
    records: int = 20_000

    def halved(self) -> BatchLimits:
        return BatchLimits(
            max(1, self.points // 2),
            max(1, self.size_bytes // 2),
            max(1, self.frames // 2),
            max(1, self.elements // 2),
            max(1, self.records // 2),
        )


@dataclass(slots=True)
class _Block:
    steps: Ints
    times_us: Ints
    order: Ints
    values: Floats
    ints: np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(slots=True)
class _Group:
    """The rows of one tuple of keys; `rows` are single ones not yet in a block."""

    blocks: list[_Block] = field(default_factory=list)
    rows: list[tuple[int, int, int, list[float]]] = field(default_factory=list)


class Columns:
    """Collects rows and records for a batch."""

    def __init__(self, limits: BatchLimits, rules: int = RULES) -> None:
        self.limits = limits
        self._joins = rules >= _RULES_THAT_JOIN
        self.rows = 0
        self.points = 0
        self.replaced = 0
        """Points that later ones with the same key and step replace, once the frames are made."""
        self.state = ""
        """The last run state among the records."""
        self._size = 0
        self._elements = 0
        self._refused = False
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._records: list[Mapping[str, Any]] = []

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        return self._records

    @property
    def empty(self) -> bool:
        return not self._groups and not self._records

    @property
    def full(self) -> bool:
        limits = self.limits
        return (
            self._refused
            or self.points >= limits.points
            or self._size >= limits.size_bytes
            or len(self._groups) >= limits.frames
            or self._elements >= limits.elements
            or len(self._records) >= limits.records
        )

    def room_for(self, keys: int) -> int:
        """How many more rows with these keys fit; at least one if the batch is empty. Once this has
        returned 0, the batch is full."""
        points = (self.limits.points - self.points) // keys
        size = (self.limits.size_bytes - self._size) // (8 * keys + 16)
        records = (self.limits.records - len(self._records)) // keys  # if none of them is a number
        room = 0 if self.full else max(min(points, size, records), 1 if self.empty else 0)
        self._refused = room == 0
        return room

    def add_record(self, record: dict[str, Any], size_bytes: int) -> None:
        self._records.append(record)
        if record.get("t") in STATE_KINDS:
            self.state = str(record.get("state") or "")
        self._size += size_bytes
        self._elements += 2 * size_bytes

    def add_row(self, row: SpoolRow) -> None:
        values = msgpack.unpackb(row.body, strict_map_key=False)
        self._add_row(row.keys, row.step, row.time_ns // 1_000, values)

    def add_run(self, run: RowBlock) -> None:
        """Add all rows of a block."""
        values = _floats(run)
        if values is None:
            for row in _rows(run):
                self._add_row(*row)
            return
        self._add_block(run, values, self.rows, 1)
        self.rows += run.count

    def add_cycle(self, cycle: Cycle) -> None:
        """Add all rows of interleaved blocks, in their original order."""
        runs = cycle.runs
        values = [floats for run in runs if (floats := _floats(run)) is not None]
        if len(values) < len(runs):
            for turn in zip(*map(_rows, runs), strict=True):
                for row in turn:
                    self._add_row(*row)
            return
        for place, (run, floats) in enumerate(zip(runs, values, strict=True)):
            self._add_block(run, floats, self.rows + place, len(runs))
        self.rows += len(runs) * cycle.turns

    def batch(self) -> tuple[list[Frame], Sequence[Mapping[str, Any]]]:
        """The frames and records collected so far."""
        groups = {keys: _joined(group) for keys, group in self._groups.items()}
        groups = {keys: _last_of_each_step(block) for keys, block in groups.items()}
        if sum(map(len, groups)) != len({key for keys in groups for key in keys}):
            groups = _without_repeats(groups)
        kept = sum(len(keys) * len(block.steps) for keys, block in groups.items())
        self.replaced = self.points - kept
        frames = _together(groups) if self._joins else groups.items()
        return [_frame(keys, block) for keys, block in frames], self._records

    def _group(self, keys: tuple[str, ...]) -> _Group:
        group = self._groups.get(keys)
        if group is None:
            group = self._groups[keys] = _Group()
            self._elements += len(keys) + 8
        return group

    def _add_block(self, run: RowBlock, values: Floats, first: int, turn: int) -> None:
        group = self._group(run.keys)
        _settle(group)
        order = np.arange(first, first + run.count * turn, turn)
        ints = np.zeros(len(run.keys), np.bool_)
        group.blocks.append(_Block(run.steps, run.times_ns // 1_000, order, values, ints))
        self._count(run.count, len(run.keys))

    def _count(self, rows: int, keys: int) -> None:
        self.points += rows * keys
        self._size += rows * (8 * keys + 16)

    def _add_row(self, keys: tuple[str, ...], step: int, time_us: int, values: list[Any]) -> None:
        if not {*map(type, values)} <= {float, int}:
            numbers = {}
            for key, value in flatten(dict(zip(keys, values, strict=True))).items():
                if type(value) is float or type(value) is int:
                    numbers[key] = value
                else:
                    self._add_value(key, step, time_us, value)
            keys, values = tuple(numbers), list(numbers.values())
        if keys:
            self._group(keys).rows.append((step, time_us, self.rows, values))
            self.rows += 1
            self._count(1, len(keys))

    def _add_value(self, key: str, step: int, time_us: int, value: Any) -> None:
        kind, text = _value(value)
        record: ValueRecord = {
            "t": "value", "key": key, "step": step, "time": time_us, "kind": kind, "json": text,
        }  # fmt: skip
        self._records.append(record)
        self._size += len(text) + len(key) + 64
        self._elements += 8


def _rows(run: RowBlock) -> Iterator[tuple[tuple[str, ...], int, int, list[Any]]]:
    """The keys, step, time in µs and values of each row."""
    steps, times_us = run.steps.tolist(), (run.times_ns // 1_000).tolist()
    for step, time_us, body in zip(steps, times_us, run.bodies(), strict=True):
        yield run.keys, step, time_us, msgpack.unpackb(body, strict_map_key=False)


def _floats(run: RowBlock) -> Floats | None:
    """The values of a block whose rows contain only floats; None for any other."""
    keys = len(run.keys)
    head = 1 if keys < 16 else 3 if keys < 65_536 else 5
    start = _BODY + head
    if run.length != PAYLOAD_HEAD.size + head + 9 * keys:
        return None
    cells = run.rows[:, start : start + 9 * keys].reshape(run.count, keys, 9)
    if not (cells[:, :, 0] == _FLOAT_TAG).all():
        return None
    values = np.ascontiguousarray(cells[:, :, 1:]).view(">f8")[:, :, 0]
    return values.astype("<f8")


def _settle(group: _Group) -> None:
    """Turn the single rows into a block."""
    if not group.rows:
        return
    steps, times_us, order, rows = zip(*group.rows, strict=True)
    ints = np.fromiter(
        ({*map(type, column)} == {int} for column in zip(*rows, strict=True)), np.bool_
    )
    group.blocks.append(
        _Block(
            np.array(steps, "<i8"),
            np.array(times_us, "<i8"),
            np.array(order, "<i8"),
            np.array(rows, "<f8"),
            ints,
        )
    )
    group.rows = []


def _joined(group: _Group) -> _Block:
    _settle(group)
    blocks = group.blocks
    if len(blocks) == 1:
        return blocks[0]
    return _Block(
        np.concatenate([block.steps for block in blocks]),
        np.concatenate([block.times_us for block in blocks]),
        np.concatenate([block.order for block in blocks]),
        np.concatenate([block.values for block in blocks]),
        np.logical_and.reduce([block.ints for block in blocks]),
    )


def _taken(block: _Block, rows: Any, columns: Any = slice(None)) -> _Block:
    return _Block(
        block.steps[rows],
        block.times_us[rows],
        block.order[rows],
        block.values[rows][:, columns],
        block.ints[columns],
    )


def _last_of_each_step(block: _Block) -> _Block:
    if (block.steps[1:] > block.steps[:-1]).all():
        return block
    _, from_end = np.unique(block.steps[::-1], return_index=True)
    return _taken(block, np.sort(len(block.steps) - 1 - from_end))


def _without_repeats(groups: dict[tuple[str, ...], _Block]) -> dict[tuple[str, ...], _Block]:
    """If two groups share a key and a step, only the later row keeps that key."""
    newest: dict[tuple[str, int], int] = {}
    counts: dict[str, int] = {}
    for keys in groups:
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
    shared = {key for key, count in counts.items() if count > 1}
    for keys, block in groups.items():
        for key in shared.intersection(keys):
            for step, order in zip(block.steps.tolist(), block.order.tolist(), strict=True):
                newest[key, step] = max(order, newest.get((key, step), -1))
    kept: dict[tuple[str, ...], list[_Block]] = {}
    for keys, block in groups.items():
        for columns, rows in _rows_by_kept_columns(keys, block, shared, newest).items():
            if columns:
                part = _taken(block, np.array(rows), np.array(columns))
                kept.setdefault(tuple(keys[column] for column in columns), []).append(part)
    return {keys: _in_order(_joined(_Group(blocks=parts))) for keys, parts in kept.items()}


def _rows_by_kept_columns(
    keys: tuple[str, ...], block: _Block, shared: set[str], newest: dict[tuple[str, int], int]
) -> dict[tuple[int, ...], list[int]]:
    rows: dict[tuple[int, ...], list[int]] = {}
    contested = [(column, key) for column, key in enumerate(keys) if key in shared]
    for row, (step, order) in enumerate(
        zip(block.steps.tolist(), block.order.tolist(), strict=True)
    ):
        lost = {column for column, key in contested if newest[key, step] != order}
        columns = tuple(column for column in range(len(keys)) if column not in lost)
        rows.setdefault(columns, []).append(row)
    return rows


def _in_order(block: _Block) -> _Block:
    return _taken(block, np.argsort(block.order, kind="stable"))


def _together(
    groups: dict[tuple[str, ...], _Block],
) -> Iterator[tuple[tuple[str, ...], _Block]]:
    """Merge groups with the same steps, logged at about the same times, so that one `log` per metric
    costs no more than one `log` for all metrics. No (key, step) is in two of them."""
    alike: dict[bytes, list[list[tuple[str, ...]]]] = {}
    for keys, block in groups.items():
        bundles = alike.setdefault(block.steps.tobytes(), [])
        for bundle in bundles:
            apart = np.abs(block.times_us - groups[bundle[0]].times_us)
            if apart.max(initial=0) <= _TOGETHER_US:
                bundle.append(keys)
                break
        else:
            bundles.append([keys])
    for bundle in (bundle for bundles in alike.values() for bundle in bundles):
        if len(bundle) == 1:
            yield bundle[0], groups[bundle[0]]
            continue
        first, blocks = groups[bundle[0]], [groups[keys] for keys in bundle]
        values = np.concatenate([block.values for block in blocks], axis=1)
        ints = np.concatenate([block.ints for block in blocks])
        names = tuple(key for keys in bundle for key in keys)
        yield names, _Block(first.steps, first.times_us, first.order, values, ints)


def _frame(keys: tuple[str, ...], block: _Block) -> Frame:
    ints = block.ints.astype(np.uint8).tobytes() if block.ints.any() else None
    return Frame(
        list(keys),
        block.steps.astype("<i8").tobytes(),
        block.times_us.astype("<i8").tobytes(),
        np.ascontiguousarray(block.values.T).tobytes(),
        ints,
    )


def _value(value: Any) -> tuple[str, str]:
    """The kind and JSON text of a value that is not a number; no text if JSON cannot encode it."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, dict):
        kind = str(value.get("_type", "dict"))
    else:
        kinds = {str: "string", bool: "bool", type(None): "null", list: "list"}
        kind = kinds.get(type(value), "other")
    try:
        return kind, json.dumps(value, allow_nan=False, separators=(",", ":"), default=str)
    except ValueError:
        pass
    except (TypeError, RecursionError):  # odd keys, or nested too deeply
        return kind, ""
    try:
        return kind, json.dumps(_named(value), separators=(",", ":"), default=str)
    except RecursionError:
        return kind, ""


def _named(value: Any) -> Any:
    """NaN and ±Inf as the strings that the API uses for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return not_finite_text(value)
    if isinstance(value, list):
        return [_named(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _named(item) for key, item in value.items()}
    return value
