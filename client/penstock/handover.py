"""Pickling of runs: what is sent to another process, and how the run is joined there.

What arrives is a handle to the same run, as a forked child has it: rows that it logs go to the run from
a spool of its own. The API key stays behind; it lies where the data does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.runs import Run

__all__ = ["received", "sent"]

_STAYS = frozenset({"api_key", "resume", "primary"})


def sent(run: Run) -> dict[str, Any]:
    """What another process must know of a run."""
    given = {name: value for name, value in run.settings.given.items() if name not in _STAYS}
    return {
        "settings": {**given, "base_url": run.settings.base_url, "project": run.project},
        "run": run.id,
        "name": run.name,
        "step": run.step,
        "parent": run.writer,
        "config": run.config.as_dict(),
    }


def received(described: dict[str, Any]) -> Run:
    """The run here: this process's own, if it began or received it before."""
    from penstock.session import run_of  # noqa: PLC0415  (sessions know of runs)

    return run_of(described)
