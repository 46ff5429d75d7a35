"""`penstock delete` and `penstock move`: change runs on the server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from penstock.command_codes import CommandCode
from penstock.errors import Rejected
from penstock.reading.api import Api

__all__ = ["delete_runs", "move_run"]

Say = Callable[[str], None]


def delete_runs(places: Sequence[str], say: Say, *, is_sure: bool) -> int:
    """Delete these runs, after a confirmation unless it is waived; returns the exit status."""
    api = Api()
    runs = [api.run(place) for place in places]
    for run in runs:
        say(f"{'/'.join(run.path)}  {run.name}  {run.state}, last step {run.last_step}")
    if not is_sure:
        what = "this run" if len(runs) == 1 else f"these {len(runs)} runs"
        if not sys.stdin.isatty():
            raise Rejected(
                "cannot ask for confirmation without a terminal", code=CommandCode.NOT_SURE
            )
        if input(f"Permanently delete {what}? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    for run in runs:
        api.edit("DELETE", run.path)
        say(f"deleted {'/'.join(run.path)}")
    return 0


def move_run(place: str, project: str, say: Say) -> int:
    """Move a run to another project of its entity; returns the exit status."""
    api = Api()
    run = api.run(place)
    moved = api.edit("PATCH", run.path, {"project": project})
    if moved.get("project") == project:
        say(f"moved to {run.entity}/{project}/{run.id}")
    else:
        say(f"moving to {run.entity}/{project}/{run.id}: the server is copying it")
    return 0
