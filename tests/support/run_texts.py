"""Runs as a search reads them from the catalog, and rows of it to which changes are applied."""

from __future__ import annotations

from copy import copy
from typing import Any

from penstock.wire.run_fields import RUN_FIELDS, STORED_FIELDS, FieldShape
from penstock_storage.contracts.interface import RunText

__all__ = ["empty_row", "field_of", "run_text"]

_EMPTY_VALUES: dict[FieldShape, Any] = {
    FieldShape.TEXT: "", FieldShape.TEXTS: [], FieldShape.OBJECT: {}, FieldShape.TIME: 0,
}  # fmt: skip
_EMPTY: dict[FieldShape, Any] = {
    FieldShape.TEXT: "",
    FieldShape.TEXTS: "[]",
    FieldShape.OBJECT: "{}",
    FieldShape.TIME: 0,
}


def run_text(number: int, **given: Any) -> RunText:
    """A run with these fields, JSON as text; others are empty. `tick`: its number, unless given."""
    tick = given.pop("tick", number)
    empty = {name: _EMPTY[RUN_FIELDS[name].shape] for name in STORED_FIELDS}
    known = {**empty, "run": f"r{number}", "state": "running", **given}
    assert known.keys() == empty.keys()
    return RunText(number, tick, tuple(known.values()))


def empty_row(**given: Any) -> dict[str, Any]:
    """A row to which changes can be applied."""
    fields = {name: copy(_EMPTY_VALUES[RUN_FIELDS[name].shape]) for name in STORED_FIELDS}
    return {**fields, "heard": {}, "silent": False, **given}


def field_of(text: RunText, name: str) -> Any:
    return text.fields[STORED_FIELDS.index(name)]
