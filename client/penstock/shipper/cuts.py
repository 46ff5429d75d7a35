"""Which range of a spool is which batch, decided once: the spool's `cuts` file.

A cut is appended before its batch is first sent, and never changed; sending again after a crash, a
lost reply or a lost queue builds the same bytes from it. A later line for the same number replaces
the earlier one only to void it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from penstock.record import Position

__all__ = ["Cut", "CutLog", "read_cuts"]

CutKind = Literal["rows", "void", "crashed", "mark"]


@dataclass(frozen=True)
class Cut:
    """Batch `seq` holds the records in [start, end).

    kind `void` stands for a number whose batch was refused, `crashed` carries the state of a run
    whose process died, `mark` only tells the server what was freed; these three hold no rows.
    `digest` is of the batch's bytes before compression.
    """

    seq: int
    start: Position
    end: Position
    kind: CutKind = "rows"
    sent_at: int = 0
    acked: int = 0
    client: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    points: int = 0
    last: bool = False
    """Whether the writer's END, or its crash, is part of it."""

    def voided(self) -> Cut:
        return replace(self, kind="void", digest="", points=0, end=self.start)


class CutLog:
    """The cuts of one spool, by number."""

    def __init__(self, folder: Path) -> None:
        self.cuts: dict[int, Cut] = {}
        self.end: Position | None = None
        """Where the next cut starts; None before the first."""
        self._path = folder / "cuts"
        self._load()

    @property
    def last(self) -> int:
        """The highest number so far."""
        return len(self.cuts)

    @property
    def complete(self) -> bool:
        """Whether the end of the spool has been cut."""
        return any(cut.last for cut in self.cuts.values())

    def append(self, *cuts: Cut) -> None:
        """Keep these on disk, all or none, before any of them is sent."""
        lines = "".join(json.dumps(asdict(cut), separators=(",", ":")) + "\n" for cut in cuts)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(fd).st_size
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(lines.encode())
        except OSError:
            os.ftruncate(fd, size)
            raise
        finally:
            os.close(fd)
        for cut in cuts:
            self._add(cut)

    def _add(self, cut: Cut) -> None:
        before = self.cuts.get(cut.seq)
        self.cuts[cut.seq] = cut
        if before is None and (self.end is None or cut.end > self.end):
            self.end = cut.end

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # cut short by a crash, so never sent
            os.truncate(self._path, whole)
        for line in data[:whole].splitlines():
            self._add(_cut(line))


def read_cuts(folder: Path) -> dict[int, Cut]:
    """The cuts of a spool by number, for whoever is not its shipper: changes nothing."""
    try:
        data = (folder / "cuts").read_bytes()
    except FileNotFoundError:
        return {}
    cuts = map(_cut, data[: data.rfind(b"\n") + 1].splitlines())
    return {cut.seq: cut for cut in cuts}


def _cut(line: bytes) -> Cut:
    fields = json.loads(line)
    fields["start"], fields["end"] = Position(*fields["start"]), Position(*fields["end"])
    return Cut(**fields)
