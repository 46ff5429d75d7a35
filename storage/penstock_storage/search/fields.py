"""The fields by which a project's runs can be filtered, sorted and grouped: paths of config and
summary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from penstock_storage.readers.logged import LoggedField
from penstock_storage.search.cells import BOOL, LIST, MISSING, NULL, NUMBER, OBJECT, TEXT, Cells
from penstock_storage.search.paths import Path
from penstock_storage.search.table import RunTable

__all__ = ["Field", "catalog_fields", "logged_field", "merged"]

_MAX_VALUES = 20
_SAMPLE_ROWS = 1_000
_INEXACT = 2.0**53
"""Above this, a float may represent several whole numbers and is not offered as a value."""
_KINDS = {NUMBER: "number", TEXT: "string", BOOL: "boolean", LIST: "list", NULL: "null"}

Field = dict[str, Any]


def catalog_fields(table: RunTable, names: Iterable[tuple[str, str]]) -> list[Field]:
    """The catalog's fields. Objects are not fields; their entries are."""
    found = []
    for section, name in names:
        path = Path(section, name)
        field = _field(str(path), table.cells(path))
        if field["kinds"]:
            found.append(field)
    return found


def _field(path: str, cells: Cells) -> Field:
    counts = np.bincount(cells.kind, minlength=OBJECT + 1)
    counts[[MISSING, OBJECT]] = 0
    numbers = cells.number[cells.kind == NUMBER]
    finite = numbers[np.isfinite(numbers)]
    exact = finite[np.abs(finite) < _INEXACT]
    return {
        "path": path,
        "kinds": [kind for number, kind in _KINDS.items() if counts[number]],
        "runs": int(counts.sum()),
        "min": float(finite.min()) if len(finite) else None,
        "max": float(finite.max()) if len(finite) else None,
        "values": _values(cells, exact) if len(exact) == len(finite) else [],
    }


def _values(cells: Cells, finite: Any) -> list[str | bool | float]:
    """Distinct values, most frequent texts first; numbers only if there are few."""
    codes = cells.number[cells.kind == TEXT].astype(np.int64)
    found: list[str | bool | float] = []
    if len(codes):
        counts = np.bincount(codes)
        most = np.argsort(-counts, kind="stable")[:_MAX_VALUES]
        found += [str(cells.entries.items[code]) for code in most.tolist() if counts[code]]
    found += map(bool, np.unique(cells.number[cells.kind == BOOL]).tolist())
    room = _MAX_VALUES - len(found)
    # Most columns quickly show that they have more values than are listed.
    if len(np.unique(finite[:_SAMPLE_ROWS])) <= room and len(numbers := np.unique(finite)) <= room:
        found += numbers.tolist()
    return found[:_MAX_VALUES]


def logged_field(path: str, logged: LoggedField) -> Field:
    """A key of the point store."""
    kinds = {"string" if isinstance(value, str) else "boolean" for value in logged.values}
    if logged.low is not None or not logged.values:
        kinds.add("number")
    return {
        "path": path,
        "kinds": sorted(kinds, key=list(_KINDS.values()).index),
        "runs": logged.runs,
        "min": logged.low,
        "max": logged.high,
        "values": logged.values,
    }


def merged(fields: Iterable[Field]) -> list[Field]:
    """Merge by path. If a field is both logged and set explicitly, `runs` is a lower bound."""
    found: dict[str, Field] = {}
    for field in fields:
        known = found.setdefault(field["path"], field)
        if known is field:
            continue
        bounds = [value for value in (known["min"], field["min"]) if value is not None]
        tops = [value for value in (known["max"], field["max"]) if value is not None]
        found[field["path"]] = {
            "path": field["path"],
            "kinds": [kind for kind in _KINDS.values() if kind in known["kinds"] + field["kinds"]],
            "runs": max(known["runs"], field["runs"]),
            "min": min(bounds, default=None),
            "max": max(tops, default=None),
            "values": list(dict.fromkeys(known["values"] + field["values"]))[:_MAX_VALUES],
        }
    return [found[path] for path in sorted(found)]
