"""Records: the fields of each kind, their types and bounds.

This is the only declaration of records; those of a run's own fields come from `penstock.wire.run_fields`. The
gateway refuses a batch with an invalid record (`problem_of`). Clients and endpoints cut values to fit it
before they number a batch (`penstock.wire.fitting`); so does the worker with batches queued by older versions.
docs/wire.md shows it as a table.

Unknown fields and kinds are accepted as long as they are plain, so that a newer client works with an
older server.
"""

from __future__ import annotations

from typing import Any

from penstock.wire.field_types import (
    MAX_DEPTH,
    MAX_FIELD_CHARS,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    Choice,
    Field,
    Flag,
    Integer,
    JsonText,
    KeyName,
    Map,
    Text,
    is_plain,
)
from penstock.wire.limits import MAX_STEP
from penstock.wire.run_fields import PLAIN_FIELDS, RUN_FACTS

__all__ = ["RECORDS", "kind_of", "problem_of"]

_MAX_CODE = 2**32
_INT64 = 2**63
_STATES = ("running", "finished", "failed", "crashed", "preempting")

_NAME = Field(Text(MAX_NAME_CHARS))
_STEP = Integer(1 - MAX_STEP, MAX_STEP - 1, "int strictly between -2^53 and 2^53")
_TIME = Integer(0, _INT64 - 1, "int, µs since 1970 UTC")
_RISING = Integer(0, _INT64 - 1, "int from 0")

RECORDS: dict[str, dict[str, Field]] = {
    "run": {
        **{name: Field(field.record) for name, field in PLAIN_FIELDS.items()},
        # Yields to any given name.
        "default_name": _NAME,
        **{name: Field(fact.record) for name, fact in RUN_FACTS.items()},
    },
    "config": {"update": Field(Map(), required=True), "whole": Field(Flag())},
    "summary": {
        "update": Field(Map(), required=True),
        "whole": Field(Flag()),
        "fold": Field(Map()),
    },
    "state": {
        "state": Field(Choice(_STATES), required=True),
        "exit_code": Field(Integer(-_MAX_CODE, _MAX_CODE, "int from -2^32 to 2^32")),
    },
    "value": {
        "key": Field(KeyName(), required=True),
        "step": Field(_STEP, required=True),
        "time": Field(_TIME, required=True, fallback=0),
        "kind": Field(Text(MAX_NAME_CHARS), required=True, fallback="other"),
        "json": Field(JsonText(), required=True),
    },
    "console": {
        "line": Field(_RISING, required=True),
        "stream": Field(Text(MAX_NAME_CHARS), required=True, fallback="stdout"),
        "time": Field(_TIME, required=True, fallback=0),
        "text": Field(Text(), required=True),
    },
    "define_metric": {
        "name": Field(Text(MAX_NAME_CHARS)),
        "step_metric": _NAME,
        "step_sync": Field(Flag()),
        "hidden": Field(Flag()),
        "summary": _NAME,
        "goal": _NAME,
        "overwrite": Field(Flag()),
    },
    "alert": {
        "time": Field(
            Integer(0, MAX_STEP - 1, "int below 2^53, µs since 1970 UTC"), required=True, fallback=0
        ),
        "title": Field(Text()),
        "text": Field(Text()),
        "level": _NAME,
    },
}
"""The kinds of records, and their fields besides `t`."""

_CHECKS = {
    kind: [(name, field.type.fits, field.required) for name, field in fields.items()]
    for kind, fields in RECORDS.items()
}


def kind_of(record: Any) -> str | None:
    """The kind of a record, known or not; None if it is not a record."""
    kind = record.get("t") if type(record) is dict else None
    return kind if type(kind) is str and len(kind) <= MAX_FIELD_CHARS else None


def problem_of(record: Any) -> str | None:
    """The problem with a record, as the end of a sentence; None if there is none."""
    kind = kind_of(record)
    if kind is None:
        return f" must be a map with t, the kind of the record, of at most {MAX_FIELD_CHARS} characters"
    known = 1
    for name, fits, required in _CHECKS.get(kind, ()):
        value = record.get(name)
        if value is None:
            if required:
                return f".{name} must be {RECORDS[kind][name].type.words}"
            known += name in record
        elif fits(value):
            known += 1
        else:
            return f".{name} must be {RECORDS[kind][name].type.words}"
    # Only undeclared fields are left to check: usually none.
    if known < len(record) and not is_plain(
        {name: value for name, value in record.items() if name not in RECORDS.get(kind, ())}
    ):
        return (
            " must be plain: strings, numbers, booleans, null, lists and maps with string keys,"
            f" at most {MAX_DEPTH} levels deep, strings of {MAX_TEXT_CHARS:,} characters"
        )
    return None
