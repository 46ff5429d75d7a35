"""What a sweep's agent wants of a run: its id, its place and its parameters, in the environment, so
that every process that the script starts has them too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Assignment"]

_SWEEP = "PENSTOCK_SWEEP_ID"
_PARAMETERS = "PENSTOCK_SWEEP_PARAMETERS"


class Assignment(NamedTuple):
    """One trial of a sweep."""

    entity: str
    project: str
    sweep: str
    run: str
    parameters: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """What it says of the run's place, as settings."""
        return {
            "run_id": self.run,
            "project": self.project or None,
            "entity": self.entity or None,
            "sweep_id": self.sweep,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The variables that say this."""
        return {
            _SWEEP: self.sweep,
            _PARAMETERS: json.dumps(self.parameters),
            "PENSTOCK_ENTITY": self.entity,
            "PENSTOCK_PROJECT": self.project,
            "PENSTOCK_RUN_ID": self.run,
        }

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Assignment | None:
        """What these variables say; None outside of a sweep."""
        names = ("PENSTOCK_ENTITY", "PENSTOCK_PROJECT", _SWEEP, "PENSTOCK_RUN_ID")
        entity, project, sweep, run = (environment.get(name, "") for name in names)
        if not (sweep and run):
            return None
        try:
            parameters = json.loads(environment.get(_PARAMETERS) or "{}")
        except ValueError:
            parameters = {}
        return cls(entity, project, sweep, run, parameters if isinstance(parameters, dict) else {})
