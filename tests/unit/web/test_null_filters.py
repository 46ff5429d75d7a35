"""Null in filters: it is what runs lack, whatever the field, and whatever it is joined with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.run_texts import run_text

from penstock_storage.contracts.interface import RunText
from penstock_storage.search.evaluation import Deadline, passing
from penstock_storage.search.filters import parse_filter
from penstock_storage.search.table import RunTable


def found(table: RunTable, filter_: dict[str, Any]) -> list[int]:
    mask = passing(parse_filter(filter_), table.cells, len(table), Deadline(60))
    return np.flatnonzero(mask).tolist()


UNSET = ("group", "job_type", "notes", "sweep", "host")


@pytest.mark.parametrize("field", [*UNSET, "tags", "config.x", "summary.x"])
def test_null_finds_the_runs_without(field: str) -> None:
    """Run 0 has it, run 1 does not, run 2 has something else; of config and summary run 3 has null."""
    has_null = "." in field
    table = RunTable()
    table.apply([with_field(n, field, value) for n, value in enumerate(["a", None, "b"])])
    if has_null:
        table.apply([with_field(3, field, "null")])
    without = [1, 3] if has_null else [1]
    for filter_, expected in (
        ({field: None}, without),
        ({field: {"$eq": None}}, without),
        ({field: {"$ne": None}}, [0, 2]),
        ({field: {"$in": [None]}}, without),
        ({field: {"$in": ["a", None]}}, sorted([0, *without])),
        ({field: {"$nin": ["a", None]}}, [2]),
        ({field: {"$not": {"$eq": None}}}, [0, 2]),
        ({"$not": {field: None}}, [0, 2]),
        ({"$nor": [{field: None}, {field: "b"}]}, [0]),
        ({"$or": [{field: None}, {field: "b"}]}, sorted([2, *without])),
        ({"$and": [{field: None}, {"run": "r1"}]}, [1]),
        ({"$or": [{"$and": [{field: {"$ne": None}}, {"run": "r2"}]}, {field: None}]},
         sorted([2, *without])),
        ({field: {"$exists": False}}, [1]),
        ({field: {"$exists": True}}, [0, 2, 3] if has_null else [0, 2]),
    ):  # fmt: skip
        assert found(table, filter_) == expected, filter_


@pytest.mark.parametrize("field", [*UNSET, "tags"])
def test_an_empty_field_was_never_set(field: str) -> None:
    table = RunTable()
    table.apply([with_field(n, field, value) for n, value in enumerate(["a", None])])
    empty: Any = [] if field == "tags" else ""
    assert found(table, {field: empty}) == [1]
    assert found(table, {field: {"$ne": empty}}) == [0]
    assert found(table, {field: {"$in": ["", "b"]}}) == [1]
    table.apply([with_field(0, field, None), with_field(1, field, "a")])  # changed meanwhile
    assert found(table, {field: None}) == [0]


@pytest.mark.parametrize("path", ["config.x", "summary.x"])
def test_an_empty_text_that_was_logged_is_a_value(path: str) -> None:
    section = path.partition(".")[0]
    table = RunTable()
    table.apply(
        [
            run_text(number, **{section: json.dumps(values)})
            for number, values in enumerate([{"x": ""}, {"x": None}, {}, {"x": "a"}])
        ]
    )
    assert found(table, {path: ""}) == [0]
    assert found(table, {path: None}) == [1, 2]
    assert found(table, {path: {"$in": ["", None]}}) == [0, 1, 2]


def with_field(number: int, field: str, value: str | None) -> RunText:
    """A run of which this field is set; `null` stands for an explicit one."""
    section, dot, name = field.partition(".")
    if dot:
        known = {} if value is None else {name: None if value == "null" else value}
        return run_text(number, **{section: json.dumps(known)})
    if field == "tags":
        return run_text(number, tags=json.dumps([value] if value else []))
    if field in ("sweep", "host"):
        return run_text(number, info=json.dumps({field: value} if value else {}))
    return run_text(number, **{field: value or ""})
