"""What a store must hold from a writer: count and hash of every key, computed from its spool.

The hashes are the server ledger's, implemented again in numpy. Keys with rising steps are summed in
one pass over the spool; only keys with late or repeated steps need their points held together, some
keys at a time, so that memory stays bounded for runs of any length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from penstock.shipper.batches import content_of
from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import Cut
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.shipper.rejects import Rejects
from penstock.wire import Frame
from penstock.wire.records import Record, known_records

__all__ = ["ALERTS", "KeySum", "Sums", "holds_all", "last_points", "sums_of"]

Table = Literal["points", "values"]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]

ALERTS = "_alert"
"""The store's key for alerts. It writes their text itself, so they are only counted."""

_UNLIMITED = BatchLimits(1 << 60, 1 << 60, 1 << 60, 1 << 60, 1 << 60)
_MAX_POINTS = 8_000_000  # in memory at once: 16 bytes each, three times that while sorting
_SALT = np.uint64(0x4CF2D2BAAE6DA887)
_FACTORS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_SHIFT = np.uint64(33)


class KeySum(NamedTuple):
    """The number of a key's points (or values), and the sum of their hashes modulo 2^64."""

    total: int
    hash: int | None


@dataclass(frozen=True)
class Sums:
    """For every key: its points, and its values other than numbers."""

    points: dict[str, KeySum]
    values: dict[str, KeySum]


class _Part(NamedTuple):
    """One batch's entries for one key in one table, without repeated steps."""

    table: Table
    key: str
    steps: Ints
    hashes: Hashes


def holds_all(folder: Path, cuts: Mapping[int, Cut]) -> bool:
    """Whether nothing that was cut has been deleted."""
    wanted = {
        segment
        for cut in cuts.values()
        if cut.kind == "rows"
        for segment in range(cut.start.segment, cut.end.segment + 1)
    }
    return wanted <= {int(path.stem) for path in folder.glob("*.seg")}


def sums_of(folder: Path, cuts: Mapping[int, Cut]) -> Sums:
    """The sums that these batches leave in a store, without entries replaced by later batches."""
    tallies: dict[tuple[Table, str], _Tally] = {}
    for number, parts in enumerate(_batches(folder, cuts), 1):
        for part in parts:
            name = part.table, part.key
            tally = tallies.get(name)
            if tally is None:
                tally = tallies[name] = _Tally()
            tally.add(number, part)
    contested = {name: tally.count for name, tally in tallies.items() if tally.is_contested}
    found = {
        name: KeySum(tally.count, tally.hash)
        for name, tally in tallies.items()
        if not tally.is_contested
    }
    for names, residue, modulus in _passes(contested):
        for name, part_sum in _sorted_out(folder, cuts, names, residue, modulus).items():
            before = found.get(name, KeySum(0, 0))
            found[name] = KeySum(
                before.total + part_sum.total, (_whole(before) + _whole(part_sum)) & (2**64 - 1)
            )
    sums = Sums({}, {})
    for (table, key), own in found.items():
        counted_only = table == "values" and key == ALERTS
        getattr(sums, table)[key] = KeySum(own.total, None) if counted_only else own
    return sums


def last_points(
    folder: Path, cuts: Mapping[int, Cut], key: str
) -> tuple[Ints, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """One key's points after these batches: rising steps, and values."""
    steps, values = [np.empty(0, np.int64)], [np.empty(0)]
    for frames, _ in _gathered(folder, cuts):
        for frame in frames:
            for row in (row for row, name in enumerate(frame.keys) if name == key):
                steps.append(np.frombuffer(frame.steps, "<i8"))
                values.append(_matrix(frame).view("<f8")[row])
    return _last_of_each(np.concatenate(steps), np.concatenate(values))


class _Tally:
    """One key, summed batch by batch as long as its steps rise."""

    __slots__ = ("batch", "before", "count", "hash", "is_contested", "last")

    def __init__(self) -> None:
        self.batch = 0
        self.before = self.last = -(2**63)
        self.count = self.hash = 0
        self.is_contested = False

    def add(self, batch: int, part: _Part) -> None:
        self.count += len(part.steps)
        if self.is_contested:
            return
        if batch != self.batch:
            self.batch, self.before = batch, self.last
        if int(part.steps.min()) <= self.before:
            self.is_contested = True
            return
        self.last = max(self.last, int(part.steps.max()))
        self.hash = (self.hash + int(part.hashes.sum(dtype=np.uint64))) & (2**64 - 1)


def _passes(
    counts: Mapping[tuple[Table, str], int],
) -> Iterator[tuple[set[tuple[Table, str]], int, int]]:
    """Which keys to hold at once, and which of their steps, by remainder and modulus."""
    names: set[tuple[Table, str]] = set()
    points = 0
    for name, count in counts.items():
        if count > _MAX_POINTS:
            modulus = -(-count // _MAX_POINTS)
            yield from (({name}, residue, modulus) for residue in range(modulus))
            continue
        if names and points + count > _MAX_POINTS:
            yield names, 0, 1
            names, points = set(), 0
        names.add(name)
        points += count
    if names:
        yield names, 0, 1


def _sorted_out(
    folder: Path,
    cuts: Mapping[int, Cut],
    names: set[tuple[Table, str]],
    residue: int,
    modulus: int,
) -> dict[tuple[Table, str], KeySum]:
    """The sums of these keys, counting only the newest point of each step."""
    kept: dict[tuple[Table, str], list[tuple[Ints, Hashes]]] = {name: [] for name in names}
    for parts in _batches(folder, cuts):
        for part in parts:
            if (pieces := kept.get((part.table, part.key))) is not None:
                mine = part.steps % modulus == residue
                pieces.append((part.steps[mine], part.hashes[mine]))
    found = {}
    for name, pieces in kept.items():
        steps, hashes = (np.concatenate(column) for column in zip(*pieces, strict=True))
        steps, hashes = _last_of_each(steps, hashes)
        found[name] = KeySum(len(steps), int(hashes.sum(dtype=np.uint64)))
    return found


def _last_of_each(steps: Ints, values: Any) -> tuple[Ints, Any]:
    """Unique steps in rising order, each with its last entry."""
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    is_last = np.append(steps[1:] != steps[:-1], True)[: len(steps)]
    return steps[is_last], values[is_last]


def _gathered(
    folder: Path, cuts: Mapping[int, Cut]
) -> Iterator[tuple[list[Frame], Sequence[Mapping[str, Any]]]]:
    """Frames and records of each batch, by number; later batches win."""
    reader, rejects = SpoolReader(folder), Rejects(folder)
    try:
        for _, cut in sorted(cuts.items()):
            if cut.kind == "rows":
                found = gather(
                    reader, cut.start, _UNLIMITED, stop=cut.end, complete_to=ALL_SEGMENTS
                )
                yield content_of(cut, found, rejects)
            elif cut.kind == "again" and rejects.has(cut.source):
                yield content_of(cut, None, rejects)
    finally:
        reader.close()


def _batches(folder: Path, cuts: Mapping[int, Cut]) -> Iterator[list[_Part]]:
    for frames, records in _gathered(folder, cuts):
        yield [*_of_frames(frames), *_of_records(known_records(records))]


def _of_frames(frames: Iterable[Frame]) -> Iterator[_Part]:
    for frame in frames:
        steps = np.frombuffer(frame.steps, "<i8")
        hashes = _mixed(_matrix(frame) ^ _mixed(steps.view(np.uint64)))
        for key, row in zip(frame.keys, hashes, strict=True):
            yield _Part("points", key, steps, row)


def _of_records(records: Iterable[Record]) -> Iterator[_Part]:
    found: dict[str, dict[int, int]] = {}
    for record in records:
        if record["t"] == "value":
            text = f"{record['step']} {record['kind']} {record['json']}".encode()
            digest = hashlib.md5(text, usedforsecurity=False).digest()
            hashed = int.from_bytes(digest[:8], "little")
            found.setdefault(record["key"], {})[record["step"]] = hashed
        elif record["t"] == "alert":
            found.setdefault(ALERTS, {})[record["time"]] = 0
    for key, by_step in found.items():
        steps = np.fromiter(by_step.keys(), np.int64, len(by_step))
        yield _Part("values", key, steps, np.fromiter(by_step.values(), np.uint64, len(by_step)))


def _matrix(frame: Frame) -> Hashes:
    """The bits of a frame's values, one row per key."""
    return np.frombuffer(frame.values, "<u8").reshape(len(frame.keys), -1)


def _mixed(numbers: Hashes) -> Hashes:
    """ClickHouse's intHash64: a salt, then MurmurHash3's finalizer."""
    mixed = numbers ^ _SALT
    for factor in _FACTORS:
        mixed ^= mixed >> _SHIFT
        mixed *= factor
    mixed ^= mixed >> _SHIFT
    return mixed


def _whole(own: KeySum) -> int:
    return own.hash or 0
