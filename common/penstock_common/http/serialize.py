"""Serializer: a run as the JSON of the API, the same in every answer that has one."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from penstock.wire.run_fields import RUN_FIELDS, DescribedRun, FieldShape, names_of
from penstock_common.http.payloads import as_json

__all__ = ["run_fields_to_json"]

# At once rather than field by field: pages have a thousand runs.
_values_of = attrgetter(*RUN_FIELDS)
_LISTS = names_of(FieldShape.TEXTS)
_OBJECTS = names_of(FieldShape.OBJECT)
_TIMES = names_of(FieldShape.TIME)


def run_fields_to_json(
    run: DescribedRun,
    *,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    last_step: int | None = None,
) -> dict[str, Any]:
    """A run with this config and summary. Times become seconds since 1970."""
    shown: dict[str, Any] = dict(zip(RUN_FIELDS, _values_of(run), strict=True))
    shown["config"], shown["summary"] = config, summary
    for name in _LISTS:
        shown[name] = list(shown[name])
    for name in _OBJECTS:
        shown[name] = as_json(shown[name])
    for name in _TIMES:
        shown[name] /= 1e6
    shown["last_step"] = last_step
    return shown
