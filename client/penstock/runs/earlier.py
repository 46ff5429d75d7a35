"""What this machine has of a run that is taken up again: spools of earlier attempts, and living writers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from penstock.bounded import within
from penstock.runs.start import BESIDE, Start
from penstock.settings import Settings
from penstock.spool.meta import META_FILE, Meta, load_meta
from penstock.spool.root import is_network, subfolders
from penstock.spool.siblings import last_step_of
from penstock.spool.spool_folder import is_writer_alive

__all__ = ["last_step_here", "start_beside"]


def last_step_here(settings: Settings) -> int | None:
    """The last step that a spool on this machine has of the run, sent or not; None if none has any."""
    steps = [last_step_of(folder) for folder, meta in _spools_of(settings) if not meta.parent]
    return max((step for step in steps if step is not None), default=None)


def start_beside(settings: Settings) -> Start | None:
    """The start of a process that joins another one with its rank which logs to this run now; None if there
    is none on this machine."""
    if any(is_writer_alive(folder) for folder, _ in _spools_of(settings)):
        return Start(BESIDE)
    return None


def _spools_of(settings: Settings) -> Iterator[tuple[Path, Meta]]:
    """The spools of the run with this process's rank."""
    run = settings.run_id
    if run is None:
        return
    root = settings.root
    sought = (settings.base_url, settings.project, run, settings.rank)
    with suppress(OSError):  # the folder may be on a file server that does not answer
        for folder, meta in within(str(root), lambda: list(_spools_naming(run, root))):
            if (meta.base_url, meta.project, meta.run, meta.rank) == sought:
                yield folder, meta


def _spools_naming(run: str, root: Path) -> Iterator[tuple[Path, Meta]]:
    """The spools whose meta file has this run's id in it; on a network file system those of every host, as
    the earlier attempt may have been on another. There may be thousands of others, so only these are decoded."""
    name = json.dumps(run).encode()
    for place in (root, *(subfolders(root) if is_network(root) else ())):
        for folder in subfolders(place):
            with suppress(OSError, ValueError):
                if name in (folder / META_FILE).read_bytes():
                    yield folder, load_meta(folder)
