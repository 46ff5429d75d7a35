"""Turns queue entries into everything that one commit writes: decode, resolve names, dedupe, fold.

Nothing here touches the queue or the store except to look up names, so the next commit can be
prepared while the last one is being stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from penstock.failpoints import fail
from penstock.wire import Batch
from penstock.wire.records import known_records
from penstock_common.process.bounds import Owner
from penstock_common.queue.entries import Entry
from penstock_common.queue.redis_keys import run_path
from penstock_storage.commits.batch_digests import BatchId
from penstock_storage.contracts.interface import RunChange, RunRef
from penstock_workers.batches.committed import CommittedSeqs
from penstock_workers.batches.deletions import QUEUE_WRITER, Arrival
from penstock_workers.batches.delivery import Delivery, decoded, noted
from penstock_workers.batches.fold import Columns, Folded, ResolvedFrame, fold
from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.left_out import LeftOut, with_numbers
from penstock_workers.batches.records import changes_of, columns_of, value_of
from penstock_workers.batches.writer_names import WriterName
from penstock_workers.shards.flight_recorder import FlightRecorder
from penstock_workers.shards.in_thread import StallLimit, Unusable, in_thread
from penstock_workers.shards.queue import (
    CONFLICT,
    NO_ROOM,
    Acknowledgement,
    CommittedPosition,
    Queue,
)

__all__ = ["Prepared", "prepare"]


@dataclass(slots=True)
class Prepared:
    """One commit, under the epochs of its shards at the time when their entries were read.

    `committed` maps each shard to its writers' committed numbers after this commit; they hold for the
    store with the id `store`.
    """

    entries: list[Entry]
    epochs: dict[int, int]
    store: str
    folded: Folded | None = None
    values: Columns = field(default_factory=dict)
    console: Columns = field(default_factory=dict)
    taken: Columns = field(default_factory=dict)
    """Rows of the table `batches`."""
    changes: list[RunChange] = field(default_factory=list)
    committed: dict[int, dict[tuple[int, str], CommittedSeqs]] = field(default_factory=dict)
    acknowledgements: dict[int, Acknowledgement] = field(default_factory=dict)
    advanced: dict[RunRef, int] = field(default_factory=dict)
    """Runs with new points or values, each with its greatest step in this commit."""
    changed: set[RunRef] = field(default_factory=set)
    batches: int = 0
    duplicates: int = 0
    conflicts: int = 0
    refused: int = 0
    """Batches of runs that were deleted."""
    beyond: list[Owner] = field(default_factory=list)
    """For each batch dead-lettered for a bound: whose number of runs or writers it would exceed."""
    left_out: LeftOut = field(default_factory=LeftOut)
    outlived: set[tuple[int, int]] = field(default_factory=set)
    """Lanes (run, lane) that claimed to resume a run which still goes on."""
    stored: set[tuple[int, str]] = field(default_factory=set)
    """The writers (shard, writer key) with new batches in this commit."""

    @property
    def points(self) -> int:
        return len(self.folded.points["v"]) if self.folded else 0


class _Outcome(Enum):
    """What happens to a delivered batch."""

    TAKEN = "taken"
    REPEATED = "repeated"
    DEAD = "dead"
    """Its number is dead: the batch counts as a repeat, and nothing of it is stored."""
    CONFLICT = CONFLICT


async def prepare(
    entries: list[Entry],
    epochs: dict[int, int],
    store: str,
    known: KnownState,
    queue: Queue,
    recorder: FlightRecorder,
    limit: StallLimit,
) -> Prepared:
    """What to commit for these entries, to the store with the id `store`.

    Raises `Unusable` or `Rejected` for batches that cannot be decoded, resolved or folded; then the
    known state forgets their writers, and everything else stays known. If decoding or folding stands
    still for longer than the limit, this process exits.
    """
    try:
        every = await in_thread(limit, decoded, entries, recorder)
        prepared = Prepared(entries, epochs, store)
        deliveries, before = await _placed(every, known, prepared)
        try:
            await _prepare(deliveries, before, known, queue, prepared, recorder, limit)
        except BaseException:
            known.forget_writers({each.name for each in deliveries})
            raise
    except Unusable as error:
        error.entry = recorder.entry
        raise
    finally:
        recorder.clear()
    return prepared


async def _prepare(
    deliveries: list[Delivery],
    before: Mapping[WriterName, int],
    known: KnownState,
    queue: Queue,
    prepared: Prepared,
    recorder: FlightRecorder,
    limit: StallLimit,
) -> None:
    by_writer: dict[WriterName, list[Batch]] = {}
    for delivery in deliveries:
        by_writer.setdefault(delivery.name, []).append(delivery.batch)
        known.note_began(delivery.name, delivery.entry.began)
    runs = set(known.runs)
    new = {name for name in by_writer if name not in known.writers}
    try:
        await known.read_edits()
        refused = await known.learn(by_writer, before)
    except BaseException:
        known.invalidate("names_not_stored")  # it may know some that are not in the store
        raise
    prepared.changed |= {ref for ref, _ in by_writer if ref in known.runs} - runs
    met = [each for each in deliveries if each.name in refused.keys() - known.beyond.keys()]
    for name in {each.name for each in met}:
        known.note_beyond(name, before.get(name, 0))
    await _mark_dead(met, known.beyond, queue)
    deliveries = _within_bounds(deliveries, refused, known, prepared)
    await _mark_dead([each for each in deliveries if each.name in new], known.writers, queue)
    outcomes = await _outcomes(deliveries, known)
    _acknowledge(deliveries, outcomes, known, prepared)
    await in_thread(limit, _fill, deliveries, outcomes, known, prepared, recorder)
    told = known.count_left_out(prepared.left_out)
    prepared.changes += told.values()
    prepared.changed.update(told)


async def _placed(
    deliveries: list[Delivery], known: KnownState, prepared: Prepared
) -> tuple[list[Delivery], dict[WriterName, int]]:
    """The deliveries that belong to a run, under its current name; those of deleted runs are dropped.

    And for each writer whose batches the queue numbers, the number before the first one here."""
    arrivals = [
        Arrival(*each.name, each.entry.began or each.batch.writer_started, each.entry.received)
        for each in deliveries
    ]
    places = await known.deletions.places(arrivals)
    kept: list[Delivery] = []
    before: dict[WriterName, int] = {}
    for delivery, ref in zip(deliveries, places, strict=True):
        if ref is None:
            prepared.acknowledgements.setdefault(
                delivery.entry.shard, Acknowledgement()
            ).entries.append(delivery.entry)
            prepared.refused += 1
        elif ref == delivery.name[0]:
            kept.append(delivery)
            if delivery.name[1].startswith(QUEUE_WRITER) and not delivery.entry.is_replay:
                before.setdefault(delivery.name, delivery.entry.seq - 1)
        else:
            known.note_shard(ref, delivery.entry.shard)
            kept.append(replace(delivery, name=(ref, delivery.name[1])))
    return kept, before


def _within_bounds(
    deliveries: list[Delivery],
    refused: dict[WriterName, str],
    known: KnownState,
    prepared: Prepared,
) -> list[Delivery]:
    """The deliveries whose run and writer are within bounds; each other one is dead-lettered alone.

    The store does not learn of these: there is no lane to record them under."""
    if not refused:
        return deliveries
    kept = []
    for delivery in deliveries:
        what = refused.get(delivery.name)
        if what is None:
            kept.append(delivery)
            continue
        entry = delivery.entry
        numbers = known.beyond[delivery.name]
        numbers.add_dead(entry.seq, released=delivery.batch.acked)
        acknowledgement = prepared.acknowledgements.setdefault(entry.shard, Acknowledgement())
        acknowledgement.positions[entry.writer] = CommittedPosition(
            numbers.low, tuple(sorted(numbers.dead))
        )
        acknowledgement.entries.append(entry)
        acknowledgement.dead.append((entry, f"{NO_ROOM} too many {what}"))
        prepared.beyond.append(Owner(what, run_path(*delivery.name[0])))
    return kept


async def _mark_dead(
    new: list[Delivery], numbers_of: Mapping[WriterName, CommittedSeqs], queue: Queue
) -> None:
    """The queue may know dead numbers of new writers, from before the store knew these writers."""
    places = {(each.entry.shard, each.entry.writer): each.name for each in new}
    if places:
        found = await queue.dead_numbers(list(places))
        for name, numbers in zip(places.values(), found, strict=True):
            numbers_of[name].mark_dead(numbers)


def _id(delivery: Delivery, known: KnownState) -> BatchId:
    run = known.runs[delivery.name[0]].number
    return BatchId(run, known.writers[delivery.name].lane, delivery.entry.seq)


async def _outcomes(deliveries: list[Delivery], known: KnownState) -> list[_Outcome]:
    """Dedupe: the outcome of each delivery; numbers that are taken count as committed after this."""
    digests = known.digests
    digests.turn()
    repeats = [
        _id(each, known) for each in deliveries if each.entry.seq in known.writers[each.name]
    ]
    stored = await digests.stored(each for each in repeats if digests.recent(each) is None)
    outcomes = []
    for delivery in deliveries:
        committed, seq = known.writers[delivery.name], delivery.entry.seq
        is_replay = delivery.entry.is_replay
        if seq in committed.dead and not is_replay:
            outcomes.append(_Outcome.DEAD)
            continue
        if seq in committed and seq not in committed.dead:
            batch = _id(delivery, known)
            first = digests.recent(batch) or stored.get(batch)
            # A replayed dead letter whose writer got its lane later is not stored, though its number
            # is passed.
            if first is not None or not is_replay:
                is_same = first in (None, delivery.digest)
                outcomes.append(_Outcome.REPEATED if is_same else _Outcome.CONFLICT)
                continue
        committed.add(seq, released=delivery.batch.acked)
        digests.note(_id(delivery, known), delivery.digest)
        outcomes.append(_Outcome.TAKEN)
    return outcomes


def _acknowledge(
    deliveries: list[Delivery], outcomes: list[_Outcome], known: KnownState, prepared: Prepared
) -> None:
    """Positions, rows of `applied` and entries to delete, as they stand after this commit."""
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        shard, key = delivery.entry.shard, delivery.entry.writer
        committed = known.writers[delivery.name]
        acknowledgement = prepared.acknowledgements.setdefault(shard, Acknowledgement())
        position = acknowledgement.positions.setdefault(key, CommittedPosition())
        position.low, position.dead = committed.low, tuple(sorted(committed.dead))
        acknowledgement.entries.append(delivery.entry)
        run = known.runs[delivery.name[0]].number
        frozen = CommittedSeqs(committed.lane, committed.low, committed.gaps, committed.dead)
        prepared.committed.setdefault(shard, {})[run, delivery.name[1]] = frozen
        if outcome is _Outcome.CONFLICT:
            acknowledgement.dead.append((delivery.entry, CONFLICT))
            prepared.conflicts += 1
        elif outcome is _Outcome.TAKEN:
            prepared.batches += 1
            prepared.stored.add((shard, key))
        else:
            prepared.duplicates += 1
        if outcome in (_Outcome.TAKEN, _Outcome.REPEATED):
            position.digests[delivery.entry.seq] = delivery.digest


def _fill(
    deliveries: list[Delivery],
    outcomes: list[_Outcome],
    known: KnownState,
    prepared: Prepared,
    recorder: FlightRecorder,
) -> None:
    fail("worker.fold")
    fresh = [
        each
        for each, outcome in zip(deliveries, outcomes, strict=True)
        if outcome is _Outcome.TAKEN
    ]
    left_out = _fill_points(noted(fresh, recorder), known, prepared)
    _fill_records(noted(fresh, recorder), known, prepared)
    prepared.taken = columns_of(
        [
            (
                *_id(each, known),
                each.digest,
                each.batch.points - left_out[each.entry.id],
                len(each.batch.records),
            )
            for each in fresh
        ],
        ("run", "lane", "seq", "digest", "points", "records"),
    )
    # Changes in repeats are applied again: the catalog may be an older copy than the store.
    for delivery, outcome in zip(noted(deliveries, recorder), outcomes, strict=True):
        if outcome in (_Outcome.TAKEN, _Outcome.REPEATED):
            _fill_changes(delivery, known, prepared)


def _fill_points(
    fresh: Iterable[Delivery], known: KnownState, prepared: Prepared
) -> Counter[bytes]:
    """Fold the points; returns how many of each entry are left out."""
    pieces: list[ResolvedFrame] = []
    left_out: Counter[bytes] = Counter()
    for delivery in fresh:
        ref, _ = delivery.name
        run, seq = known.runs[ref], delivery.entry.seq
        fail("worker.batch", ref.run, seq)
        lane = known.writers[delivery.name].lane
        row = 0
        for frame in delivery.batch.frames:
            keys = tuple(frame.keys)
            kept, series = frame, known.table.of_frame(run.number, lane, keys)
            if series is None:
                kept, numbers = with_numbers(frame, known.key_numbers(run, keys))
                if len(kept.keys) < len(keys):
                    prepared.left_out.note(ref, set(keys) - set(kept.keys), frame.rows)
                    left_out[delivery.entry.id] += frame.points - kept.points
                series = known.table.add_frame(
                    run.number, lane, tuple(kept.keys), numbers, shard=delivery.entry.shard
                )
            prepared.outlived |= known.attempts.outlived(run.number, lane, frame)
            if kept.keys:
                pieces.append(ResolvedFrame(kept, series, run.number, lane, seq, row))
                _advance(prepared, ref, max(memoryview(frame.steps).cast("q")))
            row += frame.rows
    prepared.folded = fold(pieces, known.table) if pieces else None
    return left_out


def _fill_records(fresh: Iterable[Delivery], known: KnownState, prepared: Prepared) -> None:
    values: list[tuple[int, int, int, int, str, str, int]] = []
    console: list[tuple[int, int, int, str, int, str, int]] = []
    for delivery in fresh:
        ref, _ = delivery.name
        run, seq = known.runs[ref], delivery.entry.seq
        lane = known.writers[delivery.name].lane
        for record in known_records(delivery.batch.records):
            if record["t"] == "value" or record["t"] == "alert":
                key, step, name, text = value_of(record)
                (number,) = known.key_numbers(run, [key])
                if number is None:
                    prepared.left_out.note(ref, [key], 1)
                    continue
                values.append((number, run.number, lane, step, name, text, seq))
                if record["t"] == "value":
                    _advance(prepared, ref, step)
            elif record["t"] == "console":
                line, stream = record["line"], record["stream"]
                console.append(
                    (run.number, lane, line, stream, record["time"], record["text"], seq)
                )
    prepared.values = columns_of(values, ("key", "run", "lane", "step", "kind", "json", "seq"))
    prepared.console = columns_of(console, ("run", "lane", "line", "stream", "t", "text", "seq"))


def _fill_changes(delivery: Delivery, known: KnownState, prepared: Prepared) -> None:
    ref, writer = delivery.name
    run, entry = known.runs[ref].number, delivery.entry
    lane = known.writers[delivery.name].lane
    is_late = entry.is_replay or known.attempts.is_replaced(run, lane)
    edited = known.edited.get(run, set())
    changes = changes_of(run, writer, delivery.batch, edited=edited, is_late=is_late)
    prepared.changes += changes
    if changes:
        prepared.changed.add(ref)


def _advance(prepared: Prepared, ref: RunRef, step: int) -> None:
    known = prepared.advanced.get(ref)
    prepared.advanced[ref] = step if known is None else max(known, step)
