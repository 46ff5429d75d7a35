"""The spool's `cuts` file: which range of the spool is which batch, decided once.

A cut is appended before its batch is first sent and never changed, so that a retry after a crash, a
lost reply or a lost queue builds the same bytes and the server can deduplicate them. A later line for
the same number replaces the earlier one only to void it.

A line is JSON, a space, and its CRC32 in eight hex digits. A damaged or missing line costs no rows:
the range is rebuilt from its neighbours, or, at the end, its number is voided and its rows are cut
again. Rows that the server receives twice this way are identical.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from penstock.spool.record import Position

__all__ = ["Cut", "CutLog"]

log = logging.getLogger(__name__)

CutKind = Literal["rows", "again", "void", "crashed", "mark"]


@dataclass(frozen=True)
class Cut:
    """Batch `seq` holds the records in [start, end).

    Kind `void` is a number whose batch was refused, `crashed` carries the state of a run whose process
    died, `mark` only tells the server what was released; these three have no rows. `again` holds the
    batch in `rejected/` with the number `source`. `rules` is the version of the rules for cutting
    values, used again on a rebuild. `digest` is of the bytes before compression; `state` is the run's
    state, if the batch contains it.
    """

    seq: int
    start: Position
    end: Position
    kind: CutKind = "rows"
    sent_at: int = 0
    released: int = 0
    """`acked` in the file and in the batch: the server need not wait for numbers up to here."""
    client: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    points: int = 0
    last: bool = False
    """Whether it contains the writer's END or crash."""
    state: str = ""
    rules: int = 0
    source: int = 0
    fold: dict[str, Any] = field(default_factory=dict)
    """The aggregates requested with `define_metric` after this batch: the state `kept`, and this batch's
    record, `said`."""
    rebuilt: bool = False
    """Whether its line was lost: the server may have the same rows with other bytes."""

    def voided(self) -> Cut:
        return replace(self, kind="void", digest="", points=0, end=self.start, source=0)


class CutLog:
    """The cuts of one spool by number, from 1 without gaps.

    `first` is where the spool starts, `least` a number known to have been cut.
    """

    def __init__(self, folder: Path, first: Position | None = None, least: int = 0) -> None:
        self.cuts: dict[int, Cut] = {}
        self.end: Position | None = None
        """Where the next cut starts; None before the first."""
        self.damaged = 0
        """Number of damaged or missing lines."""
        self.fold: dict[str, Any] = {}
        """The last `fold` of a cut, which includes all earlier ones."""
        self._path = folder / "cuts"
        self._torn_at: int | None = None
        self._load(first or Position(1, 0), least)

    @property
    def last(self) -> int:
        """The highest number so far."""
        return len(self.cuts)

    @property
    def rebuilt(self) -> list[Cut]:
        return [cut for _, cut in sorted(self.cuts.items()) if cut.rebuilt]

    @property
    def complete(self) -> bool:
        """Whether the end of the spool has been cut."""
        return any(cut.last for cut in self.cuts.values())

    @property
    def state(self) -> str:
        """The last run state recorded by the writer, as far as it has been cut."""
        return next((c.state for _, c in sorted(self.cuts.items(), reverse=True) if c.state), "")

    def append(self, *cuts: Cut) -> None:
        """Store these, all or none, before any of them is sent. Raises OSError."""
        lines = b"".join(map(_line, cuts))
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if self._torn_at is not None:  # truncated by a crash, so never sent
                os.ftruncate(fd, self._torn_at)
                self._torn_at = None
            size = os.fstat(fd).st_size
            try:
                with open(fd, "wb", closefd=False) as file:
                    file.write(lines)
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        self.put(*cuts)

    def put(self, *cuts: Cut) -> None:
        """Add these without storing them."""
        for cut in cuts:
            self._add(cut)

    def _add(self, cut: Cut) -> None:
        before = self.cuts.get(cut.seq)
        self.cuts[cut.seq] = cut
        if cut.fold and cut.kind != "void":
            self.fold = cut.fold
        if before is None and (self.end is None or cut.end > self.end):
            self.end = cut.end

    def _load(self, first: Position, least: int) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._torn_at = whole
        damaged_behind = 0
        for line in data[:whole].split(b"\n")[:-1]:
            cut = _parsed(line)
            if cut is None:
                self.damaged += 1
                damaged_behind += 1
                continue
            if cut.seq not in self.cuts:
                damaged_behind = 0
            self._add(cut)
        # Each damaged line after the last number may have been a batch that was sent.
        highest = max([0, *self.cuts]) + damaged_behind
        missing = [n for n in range(1, max(highest, least) + 1) if n not in self.cuts]
        if not missing:
            return
        self.damaged = max(self.damaged, len(missing))
        for seq in missing:
            self._rebuild(seq, first)
        log.error("%s: %d lines were damaged, rebuilt cuts %s", self._path, self.damaged, missing)

    def _rebuild(self, seq: int, first: Position) -> None:
        before, after = self.cuts.get(seq - 1), self.cuts.get(seq + 1)
        start = before.end if before is not None else first
        if after is not None and start < after.start:
            # The last of several in a row gets the range of all of them.
            self.put(Cut(seq, start, after.start, sent_at=after.sent_at, rebuilt=True))
        else:
            self.put(Cut(seq, start, start, "void", rebuilt=True))


def _line(cut: Cut) -> bytes:
    fields = {"acked" if name == "released" else name: value for name, value in asdict(cut).items()}
    if not cut.fold:  # unknown to older versions
        del fields["fold"]
    text = json.dumps(fields, separators=(",", ":")).encode()
    return b"%s %08x\n" % (text, zlib.crc32(text))


def _parsed(line: bytes) -> Cut | None:
    """The cut of a line; None if it is damaged. Lines of older versions have no checksum."""
    text, checksum = line[:-9], line[-9:]
    if line.endswith(b"}"):
        text = line
    elif checksum != b" %08x" % zlib.crc32(text):
        return None
    try:
        fields = json.loads(text)
        fields["start"], fields["end"] = Position(*fields["start"]), Position(*fields["end"])
        released = fields.pop("acked", 0)
        return Cut(**fields, released=released)
    except (ValueError, TypeError, KeyError):
        return None
