"""Pickles runs for other processes, which then join them.

The other process gets a handle to the same run, like a forked child: its rows go to the run through
a spool of its own. The API key is not pickled; it is stored with the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.runs.run import Run

__all__ = ["received", "sent"]

_STAYS = frozenset({"api_key", "resume", "primary"})


def sent(run: Run) -> dict[str, Any]:
    """What another process must know about a run."""
    given = {name: value for name, value in run.settings.given.items() if name not in _STAYS}
    return {
        "settings": {**given, "base_url": run.settings.base_url, "project": run.project},
        "run": run.id,
        "name": run.name,
        "step": run.step,
        "parent": run.writer,
        "root": None if run.root is None else str(run.root),
        "config": run.config.as_dict(),
    }


def received(described: dict[str, Any]) -> Run:
    """The run in this process: the existing one, if the process started or received it before."""
    from penstock.runs.session import run_of  # noqa: PLC0415  (sessions know of runs)

    return run_of(described)
