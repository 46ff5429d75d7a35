"""A version of Penstock that pods run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CURRENT", "Release"]

_NAMES = ("client", "common", "compat", "ingest", "server", "storage", "sweeps", "web", "workers")


@dataclass(frozen=True)
class Release:
    """`root` is the folder with its packages. `has_ready_roles`: whether workers and stores say when they are
    ready, or only that they are alive."""

    root: Path
    has_ready_roles: bool = True

    @property
    def path(self) -> str:
        """What PYTHONPATH has to be."""
        return os.pathsep.join(str(self.root / name) for name in _NAMES)


CURRENT = Release(Path(__file__).parents[3])
