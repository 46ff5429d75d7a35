"""Which live writers of a root belong to which run, as far as one sampler serves them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from penstock.spool.meta import Meta, load_meta
from penstock.spool.root import spools_in
from penstock.spool.spool_folder import is_writer_alive
from penstock.system.wish import SYSTEM_RANK, interval_of

__all__ = ["Membership", "RunOnNode", "RunPlace"]


class RunPlace(NamedTuple):
    """Tells runs apart."""

    base_url: str
    entity: str | None
    project: str
    run: str


@dataclass
class RunOnNode:
    """A run and its live writers on this node, by folder. `left`: the folders of its system metrics that an
    earlier sampler may have left."""

    place: RunPlace
    interval_s: float
    members: dict[Path, Meta] = field(default_factory=dict)
    left: list[Path] = field(default_factory=list)

    @property
    def first(self) -> Meta:
        """The writer of the lowest rank, which stands for the node."""
        return min(self.members.values(), key=lambda meta: (meta.rank, meta.writer_started))


class Membership:
    """The runs of one sampler. Call `look` now and then: it costs some microseconds for each writer."""

    def __init__(self, root: Path, sampler: str) -> None:
        self.runs: dict[RunPlace, RunOnNode] = {}
        """In the order in which they were found."""
        self._root = root
        self._sampler = sampler
        self._ignored: set[Path] = set()
        self._left: dict[RunPlace, list[Path]] = {}

    @property
    def writers(self) -> int:
        return sum(len(run.members) for run in self.runs.values()) + len(self._ignored)

    def look(self) -> list[RunOnNode]:
        """Find new writers and those that have ended; returns the runs that have none any more."""
        found = set(spools_in(self._root))
        self._ignored &= found
        known = {folder for run in self.runs.values() for folder in run.members}
        new = []
        for folder in found - known - self._ignored:
            # Deleted meanwhile, or damaged, which its sender reports.
            with suppress(OSError, ValueError):
                new.append((folder, load_meta(folder)))
        for folder, meta in sorted(new, key=lambda each: each[1].writer_started):
            self._take(folder, meta)
        for run in self.runs.values():
            for folder in [each for each in run.members if not is_writer_alive(each)]:
                del run.members[folder]
                self._ignored.add(folder)
        over = [run for run in self.runs.values() if not run.members]
        for run in over:
            del self.runs[run.place]
        self._left = {} if not self.runs else self._left
        return over

    def _take(self, folder: Path, meta: Meta) -> None:
        place = RunPlace(meta.base_url, meta.entity, meta.project, meta.run)
        interval_s = interval_of(meta, self._sampler)
        if interval_s is None or not is_writer_alive(folder):
            self._ignored.add(folder)
            if meta.rank >= SYSTEM_RANK:
                self._left.setdefault(place, []).append(folder)
                if place in self.runs:
                    self.runs[place].left.append(folder)
            return
        run = self.runs.get(place)
        if run is None:
            run = self.runs[place] = RunOnNode(place, interval_s)
            run.left += self._left.get(place, ())
        run.members[folder] = meta
        run.interval_s = min(run.interval_s, interval_s)
