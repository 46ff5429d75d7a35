"""Serializer: a run as the JSON of the API, the same in every answer that has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from penstock_common.http.payloads import as_json

__all__ = ["run_fields_to_json"]


class _Run(Protocol):
    """The fields of the catalog's run that the API shows."""

    @property
    def entity(self) -> str: ...
    @property
    def project(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def job_type(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def notes(self) -> str: ...
    @property
    def info(self) -> Mapping[str, Any]: ...
    @property
    def created_at(self) -> int: ...
    @property
    def updated_at(self) -> int: ...


def run_fields_to_json(
    run: _Run,
    *,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    last_step: int | None = None,
) -> dict[str, Any]:
    """A run with this config and summary. Times become seconds since 1970."""
    return {
        "entity": run.entity,
        "project": run.project,
        "run": run.run,
        "name": run.name,
        "state": run.state,
        "group": run.group,
        "job_type": run.job_type,
        "tags": list(run.tags),
        "notes": run.notes,
        "config": as_json(config),
        "summary": as_json(summary),
        "info": as_json(run.info),
        "created_at": run.created_at / 1e6,
        "updated_at": run.updated_at / 1e6,
        "last_step": last_step,
    }
