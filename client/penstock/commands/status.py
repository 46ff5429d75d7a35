"""`penstock status`: the data on this machine, how much of it is not stored yet, and why."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from penstock.runs.backlog import Backlog, backlog, size_text
from penstock.runs.launch import is_shipper_running, last_words, shipper_of
from penstock.runs.places import other_places
from penstock.runs.remarks import remarks
from penstock.spool.meta import load_meta
from penstock.spool.progress import Progress, load_progress
from penstock.spool.root import folder_bytes, folders_in
from penstock.spool.spool_folder import is_writer_alive
from penstock.system.wish import SYSTEM_RANK

__all__ = ["RootStatus", "SpoolStatus", "as_json", "as_text", "status_of"]

_WIDTH = 80
_NAME_WIDTH = 34


@dataclass
class SpoolStatus:
    """One spool. `state`: live, finished, crashed, preempted, offline (kept until `penstock sync`),
    or unreadable (its run cannot be read)."""

    folder: str
    state: str
    run: str = ""
    project: str = ""
    entity: str | None = None
    is_system: bool = False
    """Whether it holds the run's system metrics."""
    server: str = ""
    batches: int = 0
    size_bytes: int = 0
    lag_s: float | None = None
    """The age of the oldest row that is not stored."""
    problem: str = ""
    problem_code: str = ""
    rejected: int = 0
    dead: list[int] = field(default_factory=list)
    dropped: int = 0
    damaged_bytes: int = 0
    damaged_cuts: int = 0
    missing_segments: int = 0
    lost_batches: int = 0
    lost_points: int = 0
    remarks: list[str] = field(default_factory=list)
    """The same as text."""

    @property
    def name(self) -> str:
        what = " (system)" if self.is_system else ""
        return f"{self.project}/{self.run}{what}" if self.run else Path(self.folder).name


@dataclass
class RootStatus:
    """All spools of one folder."""

    folder: str
    used_bytes: int
    limit_bytes: int
    shipper: dict[str, Any] | None
    """The sending process: {pid, version}; pid 0 in another container; None if none is running."""
    spools: list[SpoolStatus]
    elsewhere: list[str] = field(default_factory=list)
    """Folders with more data: this one was not usable, or they are other hosts'."""


def status_of(root: Path, limit_bytes: int) -> RootStatus:
    """Reads everything under `root` without changing anything."""
    folders = list(folders_in(root))
    shipper = None
    if (root / "shipper.lock").exists() and is_shipper_running(root):
        pid, version = shipper_of(root)
        shipper = {"pid": pid, "version": version}
    used = sum(folder_bytes(folder) for folder in folders)
    spools = sorted(filter(None, map(_spool_status, folders)), key=lambda each: each.name)
    elsewhere = [str(each) for each in other_places(root)]
    return RootStatus(str(root), used, limit_bytes, shipper, spools, elsewhere)


def as_json(*statuses: RootStatus) -> str:
    """An object; of several hosts' folders a list of them."""
    found = [asdict(each) for each in statuses]
    return json.dumps(found[0] if len(found) == 1 else found, indent=2)


def as_text(status: RootStatus) -> str:
    """As text, at most 80 columns wide except for folder names."""
    return "\n".join(_lines(status))


def _lines(status: RootStatus) -> Iterator[str]:
    room = f"{size_text(status.used_bytes)} of {size_text(status.limit_bytes)}"
    yield f"{status.folder}: {room}"
    if status.shipper is not None:
        pid, version = status.shipper["pid"], status.shipper["version"]
        by = f"process {pid}" if pid else "a process of another container"
        yield f"sent by {by} (version {version})"
    elif any(each.batches or each.size_bytes for each in status.spools):
        if words := last_words(Path(status.folder)):
            yield f"the sending process exited immediately: {words}"
        yield "not being sent now; the next run sends it, or: penstock sync"
    for folder in status.elsewhere:
        yield f"there is more data in another folder: penstock status --dir {folder}"
    if not status.spools:
        yield "no data is kept on this machine"
        return
    yield ""
    yield f"{'RUN':{_NAME_WIDTH}} {'STATE':10} {'NOT STORED YET':24} {'SINCE':>8}"
    for spool in status.spools:
        waiting = Backlog(spool.batches, spool.size_bytes)
        left = str(waiting) if waiting.batches or waiting.size_bytes else "-"
        name = spool.name
        if len(name) > _NAME_WIDTH:
            name = f"…{name[1 - _NAME_WIDTH :]}"
        since = "" if spool.lag_s is None else _age(spool.lag_s)
        yield f"{name:{_NAME_WIDTH}} {spool.state:10} {left:24} {since:>8}".rstrip()
        for remark in spool.remarks:
            yield from textwrap.wrap(
                remark, _WIDTH, initial_indent="  ! ", subsequent_indent="    ",
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip


def _spool_status(folder: Path) -> SpoolStatus | None:
    try:
        meta = load_meta(folder)
    except (OSError, ValueError) as error:
        if not folder.is_dir():  # deleted meanwhile
            return None
        if is_writer_alive(folder):  # just being created
            return None
        problem = f"cannot read which run this belongs to: {error}"
        return SpoolStatus(
            str(folder), "unreadable", problem=problem, problem_code="meta", remarks=[problem]
        )
    progress = load_progress(folder)
    try:
        left = backlog(folder, progress)
    except OSError as error:
        left = Backlog()
        problem = progress.problem or f"the spool cannot be read: {error}"
        progress = replace(progress, problem=problem)
    if progress.done:
        left = Backlog(ended=True)
    found = [progress.problem] if progress.problem else []
    found += [text for _, text in remarks(progress, folder)]
    if progress.dropped:
        found.append(f"the training process dropped {progress.dropped} rows and reported why")
    lag_s = None if left.oldest_ns is None else max(0.0, time.time() - left.oldest_ns / 1e9)
    return SpoolStatus(
        folder=str(folder),
        state=_state(folder, offline=meta.offline, progress=progress, ended=left.ended),
        run=meta.run,
        project=meta.project,
        entity=meta.entity,
        is_system=meta.rank >= SYSTEM_RANK,
        server=meta.base_url,
        batches=left.batches,
        size_bytes=left.size_bytes,
        lag_s=lag_s,
        problem=progress.problem,
        problem_code=progress.problem_code,
        rejected=progress.rejected,
        dead=progress.dead,
        dropped=progress.dropped,
        damaged_bytes=progress.damaged_bytes,
        damaged_cuts=progress.damaged_cuts,
        missing_segments=progress.missing_segments,
        lost_batches=progress.lost_batches,
        lost_points=progress.lost_points,
        remarks=found,
    )


def _state(folder: Path, *, offline: bool, progress: Progress, ended: bool) -> str:
    if is_writer_alive(folder):
        return "live"
    if offline:
        return "offline"
    if progress.state == "preempting":
        return "preempted"
    return "finished" if ended and progress.state != "crashed" else "crashed"


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
