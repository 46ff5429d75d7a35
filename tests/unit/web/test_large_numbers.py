"""Whole numbers that no 64-bit float holds: found, compared and put in order exactly."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from itertools import pairwise
from math import isinf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized
from support.run_texts import run_text

from penstock_storage.contracts.interface import RunText
from penstock_storage.search.cells import nearest
from penstock_storage.search.evaluation import Deadline, passing
from penstock_storage.search.fields import catalog_fields
from penstock_storage.search.filters import parse_filter
from penstock_storage.search.ordering import Cursor, parse_order, sorted_rows
from penstock_storage.search.table import RunTable

SEED = 4611686018427387905
LARGE = (
    SEED - 2, SEED - 1, SEED, SEED + 1, 2**53, 2**53 + 1, -(2**63), -(2**63) + 1, 2**64 - 1, 2**64,
    10**30, 10**30 + 1, 10**400, 10**400 + 1, -(10**400), 0, 1, -7,
)  # fmt: skip

COMPARE: dict[str, Callable[[int, int], bool]] = {
    "$lt": operator.lt, "$lte": operator.le, "$gt": operator.gt, "$gte": operator.ge,
}  # fmt: skip


def table_of(values: list[Any]) -> RunTable:
    table = RunTable()
    table.apply([seeded(number, value) for number, value in enumerate(values)])
    return table


def seeded(number: int, value: Any) -> RunText:
    return run_text(number, config=json.dumps({"seed": value, "deep": {"ids": [value, "x"]}}))


def found(table: RunTable, filter_: dict[str, Any]) -> list[int]:
    mask = passing(parse_filter(filter_), table.cells, len(table), Deadline(60))
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize("wanted", LARGE)
def test_a_number_finds_itself_and_no_neighbour(wanted: int) -> None:
    table = table_of(list(LARGE))
    at = [LARGE.index(wanted)]
    others = [place for place in range(len(LARGE)) if place not in at]
    assert found(table, {"config.seed": wanted}) == at
    assert found(table, {"config.seed": {"$in": [wanted, "x"]}}) == at
    assert found(table, {"config.seed": {"$ne": wanted}}) == others
    assert found(table, {"config.deep.ids": wanted}) == at
    assert found(table, {"config.deep.ids": [wanted, "x"]}) == at
    for name, compare in COMPARE.items():
        right = [place for place, each in enumerate(LARGE) if compare(each, wanted)]
        assert found(table, {"config.seed": {name: wanted}}) == right, name


@sized(2_500)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(LARGE),
            st.integers(SEED - 3, SEED + 3),
            st.floats(-1e19, 1e19),
            st.sampled_from([float(SEED), 1e300, "text", None]),
        ),
        max_size=12,
    ),
    st.booleans(),
    st.integers(1, 5),
)
def test_order_and_pages_are_exact(values: list[Any], is_descending: bool, size: int) -> None:
    table = table_of(values)
    order = parse_order(["-config.seed" if is_descending else "config.seed"])
    every = sorted_rows(table.newest_first(), order, table.cells, table.numbers)
    rows = every.rows.tolist()
    numbers = [values[row] for row in rows if isinstance(values[row], int | float)]
    # What no float comes near to is one in an order: the newest first.
    numbers = [near if isinf(near := nearest(each)) else each for each in numbers]
    for a, b in pairwise(numbers):
        assert a >= b if is_descending else a <= b
    paged, at = [], 0
    while at < len(rows):
        page = rows[at : at + size]
        paged += page
        cursor = Cursor.decode(every.cursor(at + len(page) - 1).encode(), order)
        at = every.place_after(cursor)
    assert paged == rows


def test_a_number_that_changes_is_forgotten() -> None:
    table = table_of([SEED, SEED])
    table.apply([seeded(0, 1.5)])
    assert found(table, {"config.seed": SEED}) == [1]
    assert found(table, {"config.seed": 1.5}) == [0]


def test_numbers_that_cannot_be_told_apart_are_not_offered() -> None:
    offered = {
        each["path"]: each for each in catalog_fields(table_of([SEED, 3]), [("config", "seed")])
    }
    assert offered["config.seed"]["values"] == []
    assert offered["config.seed"]["kinds"] == ["number"]
