"""A trial's run id, project and parameters, which a sweep's agent puts into the environment so that
every process of the script has them."""

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
        """The run's entity, project and so on, as settings."""
        return {
            "run_id": self.run,
            "project": self.project or None,
            "entity": self.entity or None,
            "sweep_id": self.sweep,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that hold this."""
        return {
            _SWEEP: self.sweep,
            _PARAMETERS: json.dumps(self.parameters),
            "PENSTOCK_ENTITY": self.entity,
            "PENSTOCK_PROJECT": self.project,
            "PENSTOCK_RUN_ID": self.run,
        }

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Assignment | None:
        """The assignment in the environment; None outside a sweep."""
        names = ("PENSTOCK_ENTITY", "PENSTOCK_PROJECT", _SWEEP, "PENSTOCK_RUN_ID")
        entity, project, sweep, run = (environment.get(name, "") for name in names)
        if not (sweep and run):
            return None
        try:
            parameters = json.loads(environment.get(_PARAMETERS) or "{}")
        except ValueError:
            parameters = {}
        return cls(entity, project, sweep, run, parameters if isinstance(parameters, dict) else {})
