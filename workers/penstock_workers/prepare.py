"""Queue entries into everything that one commit writes: decode, resolve names, skip repeats, fold.

Nothing here touches queue or store except to look up names, so it can be done for the next commit
while the last one is being stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from penstock.failpoints import fail
from penstock.wire import Batch, Limits, decode_batch
from penstock_common.keys import split_writer_key
from penstock_storage.interface import RunChange, RunRef
from penstock_workers.applied import AppliedSet
from penstock_workers.fold import Columns, Folded, Piece, fold
from penstock_workers.queue import Entry, Settled
from penstock_workers.resolver import ALERT_KEY, Resolver, WriterName

__all__ = ["Prepared", "prepare"]

_LIMITS = Limits()


@dataclass(slots=True)
class Prepared:
    """One commit, under the epochs that its shards were held with when their entries were read.

    `applied` maps each shard to its writers' sets, as they will be after it.
    """

    entries: list[Entry]
    epochs: dict[int, int]
    folded: Folded | None = None
    values: Columns = field(default_factory=dict)
    console: Columns = field(default_factory=dict)
    changes: list[RunChange] = field(default_factory=list)
    applied: dict[int, dict[tuple[int, str], AppliedSet]] = field(default_factory=dict)
    settled: dict[int, Settled] = field(default_factory=dict)
    advanced: dict[RunRef, int] = field(default_factory=dict)
    """Runs that got points or values, each with the greatest step in this commit."""
    changed: set[RunRef] = field(default_factory=set)
    batches: int = 0
    duplicates: int = 0

    @property
    def points(self) -> int:
        return len(self.folded.points["v"]) if self.folded else 0


@dataclass(frozen=True, slots=True)
class _Delivery:
    entry: Entry
    name: WriterName
    batch: Batch


async def prepare(entries: list[Entry], epochs: dict[int, int], resolver: Resolver) -> Prepared:
    """What to commit for these entries.

    Raises `Rejected` for a batch that cannot be decoded or named; whatever it raises that is not
    `Transient` comes from the batches themselves.
    """
    deliveries = await asyncio.to_thread(_decode, entries)
    by_writer: dict[WriterName, list[Batch]] = {}
    for delivery in deliveries:
        by_writer.setdefault(delivery.name, []).append(delivery.batch)
    known = set(resolver.runs)
    await resolver.learn(by_writer)
    prepared = Prepared(entries, epochs)
    prepared.changed |= {ref for ref, _ in by_writer} - known
    fresh = [each for each in deliveries if _take(each, resolver, prepared)]
    prepared.batches = len(fresh)
    _settle(deliveries, resolver, prepared)
    await asyncio.to_thread(_fill, fresh, resolver, prepared)
    return prepared


def _decode(entries: Iterable[Entry]) -> list[_Delivery]:
    deliveries = []
    for entry in entries:
        entity, project, run, writer = split_writer_key(entry.writer)
        batch = decode_batch(entry.raw, _LIMITS)
        deliveries.append(_Delivery(entry, (RunRef(entity, project, run), writer), batch))
    return deliveries


def _take(delivery: _Delivery, resolver: Resolver, prepared: Prepared) -> bool:
    """Mark the batch as applied; False if it was already."""
    applied = resolver.writers[delivery.name]
    if delivery.entry.seq in applied:
        prepared.duplicates += 1
        return False
    applied.add(delivery.entry.seq, acked=delivery.batch.acked)
    return True


def _settle(deliveries: list[_Delivery], resolver: Resolver, prepared: Prepared) -> None:
    """Marks, rows of `applied` and entries to free, as they stand after this commit."""
    for delivery in deliveries:
        shard, key = delivery.entry.shard, delivery.entry.writer
        applied = resolver.writers[delivery.name]
        settled = prepared.settled.setdefault(shard, Settled())
        settled.marks[key] = applied.low
        settled.entries.append(delivery.entry)
        run = resolver.runs[delivery.name[0]].number
        frozen = AppliedSet(applied.lane, applied.low, applied.gaps, applied.dead)
        prepared.applied.setdefault(shard, {})[run, delivery.name[1]] = frozen


def _fill(deliveries: list[_Delivery], resolver: Resolver, prepared: Prepared) -> None:
    fail("worker.fold")
    pieces: list[Piece] = []
    values: list[tuple[int, int, int, int, str, str, int]] = []
    console: list[tuple[int, int, int, str, int, str, int]] = []
    for delivery in deliveries:
        ref, _ = delivery.name
        run, seq = resolver.runs[ref], delivery.entry.seq
        lane = resolver.writers[delivery.name].lane
        row = 0
        for frame in delivery.batch.frames:
            keys = tuple(frame.keys)
            series = resolver.table.of_frame(run.number, lane, keys)
            if series is None:
                numbers = resolver.key_numbers(run.project_number, keys)
                series = resolver.table.add_frame(
                    run.number, lane, keys, numbers, shard=delivery.entry.shard
                )
            pieces.append(Piece(frame, series, run.number, lane, seq, row))
            row += frame.rows
            _advance(prepared, ref, max(memoryview(frame.steps).cast("q")))
        for index, record in enumerate(delivery.batch.records):
            kind = record["t"]
            if kind in ("value", "alert"):
                key, step, name, text = _value(record)
                number = resolver.key_numbers(run.project_number, [key])[0]
                values.append((number, run.number, lane, step, name, text, seq))
                if kind == "value":
                    _advance(prepared, ref, step)
            elif kind == "console":
                line, stream = record["line"], record["stream"]
                console.append(
                    (run.number, lane, line, stream, record["time"], record["text"], seq)
                )
            else:
                started = delivery.batch.writer_started
                prepared.changes.append(_change(run.number, started, seq, index, record))
                prepared.changed.add(ref)
    prepared.folded = fold(pieces, resolver.table) if pieces else None
    prepared.values = _columns(values, ("key", "run", "lane", "step", "kind", "json", "seq"))
    prepared.console = _columns(console, ("run", "lane", "line", "stream", "t", "text", "seq"))


def _advance(prepared: Prepared, ref: RunRef, step: int) -> None:
    known = prepared.advanced.get(ref)
    prepared.advanced[ref] = step if known is None else max(known, step)


def _value(record: dict[str, Any]) -> tuple[str, int, str, str]:
    if record["t"] == "value":
        return record["key"], record["step"], record["kind"], record["json"]
    text = {name: value for name, value in record.items() if name != "t"}
    return ALERT_KEY, record["time"], "alert", orjson.dumps(text).decode()


def _change(run: int, started: int, seq: int, index: int, record: dict[str, Any]) -> RunChange:
    kind = record["t"]
    if kind in ("config", "summary"):
        update = record["update"]
    else:
        update = {name: value for name, value in record.items() if name != "t"}
    return RunChange(run, started, seq, index, kind, update)


_TEXT = frozenset({"kind", "json", "stream", "text"})
_TYPES = {"key": np.uint32, "run": np.uint32, "lane": np.uint16, "seq": np.uint32}


def _columns(rows: list[Any], names: tuple[str, ...]) -> Columns:
    if not rows:
        return {}
    return {
        name: list(column) if name in _TEXT else np.array(column, _TYPES.get(name, np.int64))
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
