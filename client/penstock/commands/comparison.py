"""Compares what one writer sent with what the store holds: batch by batch, then point by point.

Batches are compared by number and digest with the store's record of them, points by count and hash
with the stored rows. If a key differs, its points are read as any reader would read them and
compared one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from penstock.reading.ledger import LedgerReader, StoredWriter
from penstock.runs.backlog import backlog
from penstock.shipper.cuts import Cut
from penstock.shipper.receipts import UNKNOWN, Receipt, cuts_of
from penstock.shipper.sums import KeySum, Sums, holds_all, last_points, sums_of
from penstock.shipper.uncut import uncut_points
from penstock.spool.progress import load_progress

__all__ = ["Comparison", "compare", "not_asked", "not_from_here", "spans"]

_KEYS_IN_DETAIL = 20
_EXAMPLES = 3
_NOWHERE = KeySum(0, 0)


@dataclass
class Comparison:
    """The result for one writer. `problems` say why it is not clean, `notes` add information. Counts
    are of points; a step logged again counts once if the data still exists or was summed up before
    it was deleted."""

    writer: str
    rank: int
    started: int
    is_from_here: bool = True
    batches_sent: int = 0
    batches_stored: int = 0
    sent: int = 0
    stored: int = 0
    missing: int = 0
    duplicate: int = 0
    altered: int = 0
    phantom: int = 0
    unsent: int = 0
    """Points that were logged and are in no batch yet; they are not among `sent`."""
    kept_in: str = ""
    """The folder with the data that is not stored yet."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        counts = self.missing, self.duplicate, self.altered, self.phantom
        return not self.problems and not any(counts)


def not_from_here(stored: StoredWriter) -> Comparison:
    """A writer from another host: only the store's own records can be compared."""
    found = Comparison(
        stored.writer,
        stored.rank,
        stored.started,
        is_from_here=False,
        batches_sent=_marked(stored),
        batches_stored=stored.batches,
        sent=stored.points_sent,
        stored=stored.points_stored,
    )
    found.notes.append("not sent from this machine")
    _add_duplicates(found, stored)
    if stored.dead:
        found.problems.append(
            f"{spans(stored.dead)} in the server's dead letters: penstock dead list"
        )
    return found


def not_asked(receipt: Receipt, folder: Path | None, *, is_writing: bool) -> Comparison:
    """A writer whose server does not answer: what the server last said, and what is kept here."""
    found = Comparison(receipt.writer, receipt.rank, receipt.started, batches_sent=receipt.batches)
    _say_what_was_not_sent(found, receipt, folder)
    stored = receipt.batches if receipt.is_complete else 0
    if folder is not None and not receipt.is_complete:
        stored = load_progress(folder).committed
        _say_what_is_left(found, receipt, folder, is_writing=is_writing)
    found.batches_stored = stored
    found.sent, found.stored = sum(receipt.points), sum(receipt.points[:stored])
    found.missing = found.sent - found.stored
    found.problems.append("not compared: the server does not answer; the counts are its last ones")
    return found


def compare(
    receipt: Receipt,
    folder: Path | None,
    stored: StoredWriter | None,
    ledger: LedgerReader,
    *,
    due: int,
    is_writing: bool = False,
) -> Comparison:
    """Compare one writer. `folder` is its spool, if it still exists; batches up to `due` must have
    arrived; `is_writing`: more may arrive meanwhile. Raises PenstockError."""
    found = Comparison(receipt.writer, receipt.rank, receipt.started, batches_sent=receipt.batches)
    _say_what_was_not_sent(found, receipt, folder)
    if not receipt.is_complete and not is_writing:
        if folder is None:
            found.problems.append("not everything has arrived yet")
        else:
            _say_what_is_left(found, receipt, folder, is_writing=False)
    if stored is None:
        found.sent = found.missing = sum(receipt.points)
        if receipt.batches:
            found.problems.append("the server does not know this writer")
        return found
    _compare_batches(found, receipt, stored, ledger, due, is_writing=is_writing)
    _add_duplicates(found, stored)
    found.stored = stored.points_stored
    found.sent = sum(receipt.points)
    if is_writing:
        found.notes.append(
            "it is still logging: only batches were compared; the data is compared once it has ended"
        )
        return found
    cuts: dict[int, Cut] = {}
    if folder is not None:
        all_cuts = cuts_of(folder)
        cuts = {seq: cut for seq, cut in all_cuts.items() if seq not in stored.dead}
    try:
        sums = receipt.sums
        if folder is not None and holds_all(folder, cuts):
            sums = sums_of(folder, cuts)
        if sums is None:
            _compare_counts(found)
        else:
            _Points(found, ledger, stored, folder, cuts).compare(sums)
    except FileNotFoundError:  # deleted while this was reading
        _compare_counts(found)
    return found


def spans(numbers: Iterable[int]) -> str:
    """Batch numbers as text: "batch 3", "batches 1-4, 7"."""
    ordered = sorted(numbers)
    parts: list[list[int]] = []
    for number in ordered:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in parts[:10]]
    more = ", …" if len(parts) > 10 else ""
    return f"batch{'es' if len(ordered) > 1 else ''} {', '.join(shown)}{more}"


def _marked(stored: StoredWriter) -> int:
    return (stored.low or 0) + len(stored.gaps)


def _add_duplicates(found: Comparison, stored: StoredWriter) -> None:
    found.duplicate = stored.points_duplicate
    if found.duplicate:
        found.problems.append(f"{found.duplicate:,} points appear twice to readers")


def _say_what_was_not_sent(found: Comparison, receipt: Receipt, folder: Path | None) -> None:
    if receipt.refused:
        where = f", kept in {folder / 'rejected'}" if folder else ""
        found.problems.append(f"{spans(receipt.refused)} refused by the server{where}")
    if divided := set(receipt.voided) - set(receipt.refused):
        found.notes.append(f"{spans(divided)} split into smaller ones")
    if receipt.dropped:
        found.notes.append(
            f"{receipt.dropped:,} rows were dropped when logged because the spool was full"
        )
    if receipt.damaged_bytes:
        found.notes.append(f"{receipt.damaged_bytes:,} bytes of the spool could not be read")


def _say_what_is_left(
    found: Comparison, receipt: Receipt, folder: Path, *, is_writing: bool
) -> None:
    """What is not stored yet, where it lies, and why. A folder that disappears meanwhile was stored."""
    progress = load_progress(folder)
    try:
        left = backlog(folder, progress)
        # After the receipt's last batch: a shipper may have cut more since that was read.
        found.unsent = uncut_points(folder, receipt.batches, is_writing=is_writing)
    except OSError as error:
        found.problems.append(f"not everything has arrived yet: {folder}: {error.strerror}")
        return
    found.kept_in = str(folder)
    unsent = f", {found.unsent:,} logged points not sent yet" if found.unsent else ""
    why = f"; {progress.problem}" if progress.problem else ""
    found.problems.append(
        f"not everything has arrived yet: {left} not stored{unsent}; kept in {folder}{why}"
    )


def _compare_batches(
    found: Comparison,
    receipt: Receipt,
    stored: StoredWriter,
    ledger: LedgerReader,
    due: int,
    *,
    is_writing: bool,
) -> None:
    """Check that every number arrived and is recorded with the digest that was sent, and that there
    are no others."""
    known = ledger.batches(receipt.writer)
    found.batches_stored = len(known)
    wanted = range(1, due + 1)
    marked = set(stored.gaps)
    dead = set(stored.dead)
    low = stored.low or 0
    groups = {
        "not recorded as stored": [n for n in wanted if n > low and n not in marked],
        "in the server's dead letters: penstock dead list": sorted(dead),
        "not in the store": [n for n in wanted if n not in known and n not in dead],
        "in the store with different content": [
            n
            for n, batch in known.items()
            if n <= receipt.batches
            and receipt.digests[n - 1] != UNKNOWN
            and (batch.digest != receipt.digests[n - 1] or batch.points > receipt.points[n - 1])
        ],
        "in the store but never sent": [n for n in known if n > receipt.batches and not is_writing],
    }
    for what, numbers in groups.items():
        if numbers:
            found.problems.append(f"{spans(numbers)} {what}")


def _compare_counts(found: Comparison) -> None:
    """Compare the counts of points whose data is gone."""
    found.notes.append("digests compared; the data itself has been deleted")
    if found.stored > found.sent:
        found.phantom = found.stored - found.sent
        found.problems.append(f"{found.phantom:,} more points in the store than were sent")
    elif found.stored < found.sent:
        left = found.sent - found.stored
        found.notes.append(f"{left:,} of the sent points were logged again later or are missing")


class _Points:
    """Compares the points and values of one writer, key by key."""

    def __init__(
        self,
        found: Comparison,
        ledger: LedgerReader,
        stored: StoredWriter,
        folder: Path | None,
        cuts: Mapping[int, Cut],
    ) -> None:
        self._found = found
        self._ledger = ledger
        self._stored = stored
        self._folder = folder
        self._cuts = cuts
        self._details = 0

    def compare(self, sums: Sums) -> None:
        writer = self._stored.writer
        in_store = self._ledger.sums(writer, "points")
        self._found.sent = sum(own.total for own in sums.points.values())
        self._found.stored = sum(own.total for own in in_store.values())
        for key, sent, held in _unequal(sums.points, in_store):
            self._explain(key, sent, held)
        for key, sent, held in _unequal(sums.values, self._ledger.sums(writer, "values")):
            how = "with different content" if sent.total == held.total else f"{held.total:,} stored"
            self._found.problems.append(f"{key}: {sent.total:,} values sent, {how}")

    def _explain(self, key: str, sent: KeySum, held: KeySum) -> None:
        self._details += 1
        if self._folder is None or not self._cuts or self._details > _KEYS_IN_DETAIL:
            difference = _Difference.of_counts(sent, held)
        else:
            steps, values = last_points(self._folder, self._cuts, key)
            difference = _Difference()
            difference.compare(steps, values, self._ledger.points(self._stored.lane, key))
            if not difference.counts:
                # A row that readers do not see, or bits that JSON cannot represent.
                difference = _Difference.of_counts(sent, held)
        self._found.missing += difference.missing
        self._found.altered += difference.altered
        self._found.phantom += difference.phantom
        self._found.problems.append(f"{key}: {difference}")


class _Difference:
    """How the points of one key differ."""

    def __init__(self, missing: int = 0, altered: int = 0, phantom: int = 0) -> None:
        self.missing, self.altered, self.phantom = missing, altered, phantom
        self._examples: dict[str, list[str]] = {"missing": [], "altered": [], "phantom": []}

    @classmethod
    def of_counts(cls, sent: KeySum, held: KeySum) -> _Difference:
        """Lower bounds, if points cannot be compared one by one."""
        less = sent.total - held.total
        return cls(missing=max(less, 0), altered=int(less == 0), phantom=max(-less, 0))

    @property
    def counts(self) -> int:
        return self.missing + self.altered + self.phantom

    def compare(self, steps: Any, values: Any, stored: Iterable[tuple[int, float]]) -> None:
        """Walk both sides in step order."""
        place = 0
        for step, value in stored:
            reached = place + int(np.searchsorted(steps[place:], step))
            self._miss(steps[place:reached], values[place:reached])
            place = reached
            if place == len(steps) or steps[place] != step:
                self.phantom += 1
                self._show("phantom", f"step {step}: {value!r}")
                continue
            wanted = float(values[place])
            if wanted != value and not (np.isnan(wanted) and np.isnan(value)):
                self.altered += 1
                self._show("altered", f"step {step}: {wanted!r} was sent, {value!r} is stored")
            place += 1
        self._miss(steps[place:], values[place:])

    def _miss(self, steps: Any, values: Any) -> None:
        self.missing += len(steps)
        for step, value in zip(
            steps[:_EXAMPLES].tolist(), values[:_EXAMPLES].tolist(), strict=True
        ):
            self._show("missing", f"step {step}: {value!r}")

    def _show(self, what: str, example: str) -> None:
        if len(self._examples[what]) < _EXAMPLES:
            self._examples[what].append(example)

    def __str__(self) -> str:
        parts = []
        for what, examples in self._examples.items():
            if count := getattr(self, what):
                more = "; …" if examples and count > len(examples) else ""
                shown = f" ({'; '.join(examples)}{more})" if examples else ""
                parts.append(f"{count:,} {what}{shown}")
        return ", ".join(parts)


def _unequal(
    sent: Mapping[str, KeySum], held: Mapping[str, KeySum]
) -> Iterable[tuple[str, KeySum, KeySum]]:
    for key in sorted(sent.keys() | held.keys()):
        one, other = sent.get(key, _NOWHERE), held.get(key, _NOWHERE)
        if one.total != other.total or (one.hash is not None and one.hash != other.hash):
            yield key, one, other
