"""Filters and orders over columns say what looking at each run alone would say."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized
from support.run_texts import run_text

from penstock.errors import Rejected
from penstock_storage.contracts.interface import RunText
from penstock_storage.search.evaluation import Deadline, passing
from penstock_storage.search.filters import parse_filter
from penstock_storage.search.ordering import Cursor, parse_order, sorted_rows
from penstock_storage.search.paths import Path
from penstock_storage.search.table import RunTable

MISSING = object()
Config = dict[str, Any]


def configured(number: int, config: Config, **about: Any) -> RunText:
    known: dict[str, Any] = {
        "name": f"n{number % 3}",
        "config": json.dumps(config),
        "created_at": number // 2 * 1_000_000,
    }
    return run_text(number, **(known | about))


def table_of(configs: list[Config]) -> RunTable:
    table = RunTable()
    table.apply([configured(number, config) for number, config in enumerate(configs)])
    return table


def found(table: RunTable, filter_: Config) -> list[int]:
    mask = passing(parse_filter(filter_), table.cells, len(table), Deadline(60))
    return np.flatnonzero(mask).tolist()


# -- what a filter means, run by run

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def equal(a: Any, b: Any) -> bool:
    return kind(a) == kind(b) and bool(a == b)


def look(config: Config, path: str) -> Any:
    value: Any = config
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def one(value: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "$eq":
            if operand is None and (value is MISSING or value is None):
                return True
            if isinstance(operand, list):
                return (
                    isinstance(value, list)
                    and len(value) == len(operand)
                    and all(map(equal, value, operand))
                )
            return equal(value, operand) or (
                isinstance(value, list) and any(equal(each, operand) for each in value)
            )
        case "$ne":
            return not one(value, "$eq", operand)
        case "$in":
            return any(one(value, "$eq", each) for each in operand)
        case "$nin":
            return not one(value, "$in", operand)
        case "$exists":
            return bool((value is not MISSING) == operand)
        case "$regex":
            texts = value if isinstance(value, list) else [value]
            return any(isinstance(text, str) and re.search(operand, text) for text in texts)
        case "$not":
            return not all(one(value, op, each) for op, each in operand.items())
        case _:
            values = value if isinstance(value, list) else [value]
            return any(
                kind(each) == kind(operand) and COMPARE[operator](each, operand) for each in values
            )


def passes(config: Config, filter_: Config) -> bool:
    results = []
    for key, wanted in filter_.items():
        match key:
            case "$and":
                results.append(all(passes(config, each) for each in wanted))
            case "$or":
                results.append(any(passes(config, each) for each in wanted))
            case "$nor":
                results.append(not any(passes(config, each) for each in wanted))
            case "$not":
                results.append(not passes(config, wanted))
            case _:
                value = look({"config": config}, key)
                conditions = wanted if isinstance(wanted, dict) else {"$eq": wanted}
                results += [one(value, op, operand) for op, operand in conditions.items()]
    return all(results)


numbers = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, -1.5, math.nan, math.inf, 2**70, -(10**400)])
)
texts = st.sampled_from(["", "a", "ab", "B", "é", "1"])
scalars = st.one_of(numbers, texts, st.booleans(), st.none())
values = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from("xy"), scalars)
)
configs = st.lists(st.dictionaries(st.sampled_from(["a", "b"]), values), max_size=12)
comparable = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1e300]), texts, st.booleans())
operands = st.one_of(comparable, st.none())
conditions = st.one_of(
    st.fixed_dictionaries({}, optional=dict.fromkeys(COMPARE, comparable)).filter(bool),
    st.builds(lambda x: {"$eq": x}, st.one_of(operands, st.lists(operands, max_size=2))),
    st.builds(lambda x: {"$ne": x}, operands),
    st.builds(lambda x: {"$in": x}, st.lists(operands, max_size=3)),
    st.builds(lambda x: {"$nin": x}, st.lists(operands, max_size=3)),
    st.builds(lambda x: {"$exists": x}, st.booleans()),
    st.builds(lambda x: {"$regex": x}, st.sampled_from(["a", "^a$", "b|B", ""])),
    st.builds(lambda x: {"$not": {"$gt": x}}, comparable),
)
paths = st.sampled_from(["config.a", "config.b", "config.a.x", "config.none"])
filters = st.recursive(
    st.dictionaries(paths, st.one_of(operands, conditions), max_size=2),
    lambda inner: st.one_of(
        st.builds(lambda each: {"$not": each}, inner),
        st.builds(
            lambda op, each: {op: each},
            st.sampled_from(["$and", "$or", "$nor"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=4,
)


@sized(5_000)
@given(configs, filters)
def test_filters_pass_what_they_say(configs: list[Config], filter_: Config) -> None:
    expected = [n for n, config in enumerate(configs) if passes(config, filter_)]
    assert found(table_of(configs), filter_) == expected


@sized(5_000)
@given(st.lists(st.tuples(st.integers(0, 5), st.dictionaries(st.sampled_from("ab"), values))))
def test_a_table_that_was_changed_is_equals_a_new_one(changes: list[tuple[int, Config]]) -> None:
    changed, newest = RunTable(), {}
    for number, config in changes:
        changed.apply([configured(number, config)])
        newest[number] = config
    fresh = RunTable()
    fresh.apply([configured(number, config) for number, config in newest.items()])
    for name in ("a", "b", "a.x", "a.y", "b.x"):
        path = Path("config", name)
        mine, other = (
            {
                number: shown(table, path, row)
                for number, row in zip(newest, table.rows_of(np.array([*newest])), strict=True)
            }
            for table in (changed, fresh)
        )
        assert repr(mine) == repr(other)


def shown(table: RunTable, path: Path, row: int) -> tuple[int, Any]:
    cells = table.cells(path)
    coded = bool(cells.is_coded()[row])
    number = float(cells.number[row])
    return int(cells.kind[row]), cells.entries.items[int(number)] if coded else number


# -- orders


def rank(value: Any, *, descending: bool) -> tuple[Any, ...]:
    """Numbers, texts, booleans, what has no order, what is missing."""
    if value is MISSING or value is None:
        return (9,)
    if isinstance(value, list | dict) or value != value:
        return (8,)
    place = {"number": 0, "str": 1, "boolean": 2}[kind(value)]
    return (-place if descending else place, Descending(value) if descending else value)


class Descending:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: Descending) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(other.value == self.value)

    def __hash__(self) -> int:
        return hash(self.value)


orderable = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, math.nan, math.inf]), texts, st.booleans(),
    st.none(), st.just([1]), st.just({}),
)  # fmt: skip


@sized(5_000)
@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "b"]), orderable), max_size=15),
    st.lists(st.sampled_from(["config.a", "-config.a", "config.b", "-config.b"]), max_size=2),
)
def test_orders_sort_and_cursors_go_on(configs: list[Config], terms: list[str]) -> None:
    def key(number: int) -> tuple[Any, ...]:
        config = {"config": configs[number]}
        ranks = (rank(look(config, t.lstrip("-")), descending=t.startswith("-")) for t in terms)
        return (*ranks, -(number // 2), -number)

    expected = sorted(range(len(configs)), key=key)
    table, order = table_of(configs), parse_order(terms)
    every = sorted_rows(table.newest_first(), order, table.cells, table.numbers)
    assert every.rows.tolist() == expected
    for place in range(len(configs)):
        cursor = Cursor.decode(every.cursor(place).encode(), order)
        assert every.place_after(cursor) == place + 1
    # The page goes on where it was, also if the run that it ended with is gone.
    for place in range(len(configs)):
        cursor = Cursor.decode(every.cursor(place).encode(), order)
        others = np.delete(every.rows, place)
        newest = np.array([row for row in table.newest_first() if row in others], np.int64)
        rest = sorted_rows(newest, order, table.cells, table.numbers)
        assert rest.rows[rest.place_after(cursor) :].tolist() == expected[place + 1 :]


@pytest.mark.parametrize(("term", "follows"), [("config.a", "r9"), ("-config.a", "r0")])
def test_a_cursor_goes_on_behind_a_text_that_nobody_has_any_more(term: str, follows: str) -> None:
    order = parse_order([term])
    cursor = Cursor(order, ((1, "b"),), 2.0, 5)
    table = RunTable()
    table.apply(
        [configured(0, {"a": "a"}, created_at=0), configured(9, {"a": "c"}, created_at=9**9)]
    )
    every = sorted_rows(table.newest_first(), order, table.cells, table.numbers)
    (row,) = every.rows[every.place_after(cursor) :].tolist()
    assert f"r{table.numbers[row]}" == follows


# -- what is refused


@pytest.mark.parametrize(
    ("filter_", "place"),
    [
        ([], "filter must be an object"),
        ({"colour": 1}, "filter: unknown path 'colour'"),
        ({"config.": 1}, "unknown path"),
        ({"$and": {}}, "filter.$and must be a list"),
        ({"$or": []}, "filter.$or must be a list"),
        ({"$or": [1]}, "filter.$or[0] must be an object"),
        ({"$near": [1]}, "filter.$near is unknown"),
        ({"$and": [{"state": {"$near": 1}}]}, "filter.$and[0].state.$near: unknown operator"),
        ({"state": {}}, "filter.state must be"),
        ({"config.a": {"$gt": None}}, "filter.config.a.$gt must be"),
        ({"config.a": {"$gt": [1]}}, "filter.config.a.$gt must be"),
        ({"config.a": {"$in": 1}}, "filter.config.a.$in must be a list"),
        ({"config.a": {"$in": [{}]}}, "filter.config.a.$in[0] must be"),
        ({"config.a": {"$in": [0] * 10_001}}, "more than 10000"),
        ({"config.a": {"$exists": 1}}, "filter.config.a.$exists must be true or false"),
        ({"config.a": {"$regex": 1}}, "filter.config.a.$regex must be a string"),
        (
            {"config.a": {"$regex": "("}},
            "filter.config.a.$regex is not a valid pattern: unclosed group",
        ),
        ({"config.a": {"$regex": "(?=a)"}}, "look-around"),
        ({"config.a": {"$regex": r"(a)\1"}}, "backreferences"),
        ({"config.a": {"$regex": "(a{1000}){1000}"}}, "size limit"),
        ({"config.a": {"$regex": "a" * 501}}, "more than 500 characters"),
        ({"config.a": {"$not": 1}}, "filter.config.a.$not must be"),
        ({"created_at": {"$gt": "yesterday"}}, "filter.created_at.$gt must be Unix seconds"),
        ({"$or": [{"config.a": 1}] * 501}, "500 conditions"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(filter_: Any, place: str) -> None:
    with pytest.raises(Rejected, match=re.escape(place)) as refused:
        parse_filter(filter_)
    assert refused.value.status == 400


@pytest.mark.parametrize("outer", ["$and", "$not", "field"])
def test_filters_cannot_be_arbitrarily_deep(outer: str) -> None:
    filter_: Any = {"config.a": 1} if outer != "field" else {"$gt": 1}
    for _ in range(5_000):
        filter_ = {"$and": [filter_]} if outer == "$and" else {"$not": filter_}
    with pytest.raises(Rejected, match="nested"):
        parse_filter(filter_ if outer != "field" else {"config.a": filter_})


def test_patterns_that_would_hang_python_are_quick() -> None:
    table = table_of([{"a": "a" * 1_000 + "!"}])
    began = time.process_time()
    assert found(table, {"config.a": {"$regex": "^(a+)+$"}}) == []
    assert time.process_time() - began < 5  # Python's re would take longer than the sun burns


def test_what_takes_too_long_is_refused() -> None:
    table = table_of([{"a": "text"}])
    ticking = iter(range(100))
    deadline = Deadline(3, clock=lambda: next(ticking))
    slow = {"$and": [{"config.a": {"$regex": "t"}}] * 5}
    with pytest.raises(Rejected, match="longer than 3 s"):
        passing(parse_filter(slow), table.cells, 1, deadline)


NO_CURSORS = [
    b"", b"{}", b"[1]", b'["",[],1]', b'["",[],NaN,1]', b'["",[],1e300,1]', b'["",[],1,1e300]',
    b'["",[],1,null]', b'["",[],true,1]', b'["",[[1,2]],1,1]', b'["",{},1,-1]', b"[" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("content", NO_CURSORS)
def test_what_is_no_cursor_is_refused(content: bytes) -> None:
    with pytest.raises(Rejected, match="after"):
        Cursor.decode(base64.urlsafe_b64encode(content).decode(), ())
    with pytest.raises(Rejected, match="after"):
        Cursor.decode("é!", ())


def test_a_cursor_of_another_order_is_refused() -> None:
    order = parse_order(["-config.lr", "name"])
    cursor = Cursor(order, ((0, 1.5), (1, "é")), 1.0, 7).encode()
    assert Cursor.decode(cursor, order).terms == ((0, 1.5), (1, "é"))
    with pytest.raises(Rejected, match="another order"):
        Cursor.decode(cursor, parse_order(["config.lr", "name"]))


# -- odd contents


def test_names_that_wandb_has() -> None:
    table = table_of([{"lr": 0.1, "model": {"depth": 3}}, {"lr": {"value": 0.2}}])
    assert found(table, {"display_name": "n0", "createdAt": {"$lt": 1}}) == [0]
    assert found(table, {"config.lr.value": 0.1}) == [0]
    assert found(table, {"config.lr.value": {"$exists": True}, "config.model": None}) == [1]
    assert found(table, {"created_at": {"$gte": "1970-01-01T00:00:00Z"}}) == [0, 1]


def test_a_dotted_key_wins_over_a_nested_one() -> None:
    table = table_of([{"a": {"b": 1}, "a.b": 2}])
    assert found(table, {"config.a.b": 2}) == [0]
    assert found(table, {"config.a.b": 1}) == []


@pytest.mark.heavy
@pytest.mark.smoke
def test_very_deep_very_many_and_very_long() -> None:
    deep: Config = {"leaf": 1}
    for _ in range(50):
        deep = {"d": deep}
    table = table_of([deep, {f"k{n}": n for n in range(12_000)}, {"long": "x" * 5_000}])
    assert found(table, {"config." + ".".join("d" * 8): {"$exists": True}}) == [0]
    assert found(table, {"config.k9000": 9_000}) == [1]
    assert table.is_full("config")
    assert found(table, {"config.long": "x" * 5_000}) == []  # came after the table was full
    assert found(table_of([{"long": "x" * 5_000}]), {"config.long": "x" * 5_000}) == [0]


@pytest.mark.heavy
@pytest.mark.smoke
def test_texts_that_no_run_has_any_more_are_forgotten() -> None:
    table = RunTable()
    for n in range(2_100):
        table.apply([configured(0, {"status": f"epoch {n}"}), configured(1, {"status": "same"})])
    cells = table.cells(Path("config", "status"))
    assert len(cells.entries.items) < 1_000
    assert found(table, {"config.status": "epoch 2099"}) == [0]
    assert found(table, {"config.status": "same"}) == [1]
