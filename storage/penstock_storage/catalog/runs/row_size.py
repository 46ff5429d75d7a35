"""Limits the size of a run's row: changes that would make it too large are left out, and reported.

Every gateway keeps the rows of runs in memory, and reads them as a whole. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from penstock.wire.run_fields import PLAIN_FIELDS, RUN_FIELDS
from penstock_storage.catalog.runs.changes import apply_change
from penstock_storage.contracts.interface import RunChange

__all__ = ["TOO_LARGE", "apply_changes"]

Row = dict[str, Any]

TOO_LARGE = "too_large"
"""In `info` of a run: the fields that rejected a change because they would have become too large."""

_MAX_KEYS = 200_000
_MAX_BYTES = {
    name: field.max_bytes for name, field in RUN_FIELDS.items() if field.max_bytes is not None
}
_CHANGED_BY = {
    "config": ("config",), "config_whole": ("config",),
    "summary": ("summary",), "summary_whole": ("summary",),
    "summary_fold": ("summary",), "logged": ("summary",),
    "run": ("info", *PLAIN_FIELDS), "define_metric": ("info",),
}  # fmt: skip


def apply_changes(row: Row, changes: Sequence[RunChange]) -> None:
    """Apply changes to a run's row, in place. A field that would become too large keeps its value from
    before all of them."""
    fields = {field for change in changes for field in _CHANGED_BY.get(change.kind, ())}
    before = {field: _copied(row[field]) for field in fields}
    slots = dict(row["heard"].get("set", {}))
    for change in changes:
        apply_change(row, change)
    refused = [field for field in fields if _has_outgrown(field, before[field], row[field])]
    if refused:
        row["heard"]["set"] = _of(slots, refused) | _of(
            row["heard"]["set"],
            _MAX_BYTES.keys() - refused | {"state", "rank_state", "default_name"},
        )
        row.update({field: before[field] for field in refused})
        row["info"][TOO_LARGE] = sorted({*row["info"].get(TOO_LARGE, ()), *refused})


def _of(slots: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    return {slot: each for slot, each in slots.items() if slot.split("/", 1)[0] in fields}


def _copied(value: Any) -> Any:
    """A copy, as deep as changes are made in place."""
    if not isinstance(value, dict):
        return value
    return {key: dict(each) if isinstance(each, dict) else each for key, each in value.items()}


def _has_outgrown(field: str, before: Any, after: Any) -> bool:
    """Whether it is too large, and larger than before."""
    keys, size = _size(after)
    if keys <= _MAX_KEYS and size <= _MAX_BYTES[field]:
        return False
    keys_before, size_before = _size(before)
    return keys > keys_before or size > size_before


def _size(value: Any) -> tuple[int, int]:
    """The number of keys, and of bytes as JSON."""
    keys = len(value) if isinstance(value, dict) else 0
    return keys, len(json.dumps(value, separators=(",", ":")))
