"""Prints a hint when a framework imports the official client into a process that logs to Penstock.

A trainer configured to report to W&B imports that client by itself: it starts a run of its own on its
own server, and the script's run stays empty. This only prints which variables make both log to the
same run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from penstock.notices import NOTICES

if TYPE_CHECKING:
    from penstock.runs.run import Run

__all__ = ["watch_for_other_client"]

_NAME = "wandb"
_PARTS = "wandb."


class _Finder:
    """Finds nothing; it only sees the names of imports."""

    def __init__(self) -> None:
        self.run: Run | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> Any:
        # Only the package itself imports its submodules; a check for its presence does not.
        if self.run is not None and name.startswith(_PARTS):
            self._say()
        return None

    def _say(self) -> None:
        try:
            run, self.run = self.run, None
            if run is not None and not run.finished:
                _say(run)
        except Exception:  # noqa: S110 (the seam: an import never fails because of this)
            pass


_FINDER = _Finder()


def watch_for_other_client(run: Run) -> None:
    """Print the hint now if the client is already imported, otherwise when it is."""
    module = sys.modules.get(_NAME)
    if module is None:
        _FINDER.run = run
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)
    elif getattr(module, "__name__", "") == _NAME:  # not Penstock imported under that name
        _say(run)


def _say(run: Run) -> None:
    entity = run.settings.known_entity
    place = f"WANDB_ENTITY={entity} " if entity else ""
    NOTICES.warn(
        "other client",
        "this process also uses the official wandb client, which starts a run of its own: set "
        f"WANDB_BASE_URL={run.settings.base_url} WANDB_API_KEY=(your Penstock key) {place}"
        f"WANDB_PROJECT={run.project} WANDB_RUN_ID={run.id} WANDB_RESUME=allow to have both log to run "
        f"{run.id}",
    )
