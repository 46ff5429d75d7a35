"""Serializer: a run as the JSON of the API, the same in every answer that has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock.wire.run_fields import RUN_FIELDS, DescribedRun, FieldShape
from penstock_common.http.payloads import as_json

__all__ = ["run_fields_to_json"]

_TO_JSON: dict[FieldShape, Callable[[Any], Any]] = {
    FieldShape.TEXT: str,
    FieldShape.TEXTS: list,
    FieldShape.OBJECT: as_json,
    FieldShape.TIME: lambda micros: micros / 1e6,
}
_FIELDS = [(name, _TO_JSON[field.shape]) for name, field in RUN_FIELDS.items()]


def run_fields_to_json(
    run: DescribedRun,
    *,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    last_step: int | None = None,
) -> dict[str, Any]:
    """A run with this config and summary. Times become seconds since 1970."""
    given = {"config": config, "summary": summary}
    shown = {
        name: to_json(given[name] if name in given else getattr(run, name))
        for name, to_json in _FIELDS
    }
    return {**shown, "last_step": last_step}
