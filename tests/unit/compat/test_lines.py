"""History lines into columns and values: nothing is lost on the way, whatever a line holds."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.wire import DEFAULT_LIMITS, Limits
from penstock_compat.wandb.stream.lines import Table, read_events, read_history
from penstock_compat.wandb.stream.post import Lines

Points = dict[tuple[str, int], float]


def lines(*rows: dict[str, Any] | str, offset: int = 0) -> Lines:
    return Lines(offset, [row if isinstance(row, str) else json.dumps(row) for row in rows])


def points(table: Table, limits: Limits = DEFAULT_LIMITS, most: int = 500_000) -> Points:
    found: Points = {}
    for columns in table.columns.values():
        for frame in columns.frames(limits, most):
            steps = np.frombuffer(frame.steps, "<i8").tolist()
            values = np.frombuffer(frame.values, "<f8").reshape(len(frame.keys), -1)
            for key, column in zip(frame.keys, values, strict=True):
                for step, value in zip(steps, column.tolist(), strict=True):
                    assert (key, step) not in found
                    found[key, step] = value
    return found


def values(table: Table) -> dict[tuple[str, int], tuple[str, Any]]:
    return {
        (each["key"], each["step"]): (each["kind"], json.loads(each["json"]))
        for each in table.values
    }


def test_lines_of_one_layout_become_columns_whatever_the_order_of_their_keys() -> None:
    rng = random.Random(1)
    rows = []
    for step in range(2_500):
        row = [("a", step / 3), ("b", step), ("_step", step), ("_timestamp", 100.5 + step)]
        rng.shuffle(row)
        rows.append(dict(row))
    table = read_history(lines(*rows), DEFAULT_LIMITS)
    [columns] = table.columns.values()
    [frame] = columns.frames(DEFAULT_LIMITS, 500_000)
    assert frame.keys == ["a", "b"]
    assert frame.ints == b"\0\1"
    assert np.frombuffer(frame.times, "<i8")[7] == 107_500_000
    assert points(table) == {
        (key, step): float(value) for step, (a, b) in enumerate((n / 3, n) for n in range(2_500))
        for key, value in (("a", a), ("b", b))
    }  # fmt: skip
    assert table.tail == {"_step": 2_499, "_timestamp": 2599.5}


def test_numbers_that_json_does_not_have() -> None:
    text = '{"_step": 3, "_timestamp": 1.5e0, "a": NaN, "b": Infinity, "c": -Infinity, "d": 1}'
    found = points(read_history(lines(text), DEFAULT_LIMITS))
    assert math.isnan(found.pop(("a", 3)))
    assert found == {("b", 3): math.inf, ("c", 3): -math.inf, ("d", 3): 1}


def test_large_integers_and_odd_characters() -> None:
    text = '{"_step":0,"_timestamp":1.5,"big":123456789012345678901234567890,"s":"\\ud83d"}'
    table = read_history(lines(text), DEFAULT_LIMITS)
    assert points(table) == {("big", 0): 1.2345678901234568e29}
    assert values(table) == {("s", 0): ("string", "?")}


def test_what_is_no_number_is_a_value_and_nested_keys_have_dots() -> None:
    image = {"_type": "image-file", "path": "media/images/x.png", "size": 3}
    row = {
        "_step": 5, "_timestamp": 2.0, "text": "x", "yes": True, "none": None, "list": [1, math.nan],
        "image": image, "deep": {"a": {"b": 1, "c": "t"}, "empty": {}}, "a/b.c": 2,
    }  # fmt: skip
    table = read_history(lines(row), DEFAULT_LIMITS)
    assert points(table) == {("deep.a.b", 5): 1, ("a/b.c", 5): 2}
    assert values(table) == {
        ("text", 5): ("string", "x"), ("yes", 5): ("bool", True), ("none", 5): ("null", None),
        ("list", 5): ("list", [1, "NaN"]), ("image", 5): ("image-file", image),
        ("deep.a.c", 5): ("string", "t"), ("deep.empty", 5): ("dict", {}),
    }  # fmt: skip
    assert all(each["time"] == 2_000_000 for each in table.values)


def test_a_line_without_step_has_its_index_and_one_that_is_no_json_is_counted() -> None:
    table = read_history(lines({"a": 1}, "{broken", "7", {"a": 2}, offset=10), DEFAULT_LIMITS)
    assert points(table) == {("a", 10): 1, ("a", 13): 2}
    assert table.refused == 2


def test_keys_that_can_name_no_metric_get_a_name() -> None:
    long = "k" * 600
    table = read_history(
        lines({"_step": 0, "a\nb": 1, long: 2, long + "x": 3, "": 4}), DEFAULT_LIMITS
    )
    found = points(table)
    assert sorted(found.values()) == [1, 2, 3, 4]
    assert found["a b", 0] == 1
    assert all(0 < len(key.encode()) <= DEFAULT_LIMITS.key_bytes for key, _ in found)


def test_frames_keep_the_limits() -> None:
    rows = [
        {"_step": n, "_timestamp": 1.0, **{f"k{i}": n + i for i in range(7)}} for n in range(50)
    ]
    table = read_history(lines(*rows), DEFAULT_LIMITS)
    limits = Limits(keys_per_frame=3)
    [columns] = table.columns.values()
    frames = list(columns.frames(limits, 60))
    assert max(len(frame.keys) for frame in frames) == 3
    assert max(frame.points for frame in frames) <= 60
    assert len(points(table, limits, 60)) == 350


def test_system_lines_count_themselves() -> None:
    row = {"_wandb": True, "_timestamp": 3.0, "_runtime": 2.5, "system.cpu": 7}
    table = read_events(lines(row, row, offset=4), DEFAULT_LIMITS)
    expected = {("system.cpu", 4): 7, ("system.cpu", 5): 7}
    assert points(table) == expected | {("system._runtime", 4): 2.5, ("system._runtime", 5): 2.5}
    assert not table.values


numbers = st.one_of(
    st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.just(math.nan), st.booleans(),
    st.text(max_size=3),
)  # fmt: skip


@sized(5_000)
@given(st.lists(st.dictionaries(st.sampled_from("abcd"), numbers, max_size=4), max_size=40))
def test_every_number_of_any_lines_is_there(rows: list[dict[str, Any]]) -> None:
    given_lines = [{"_step": n, "_timestamp": 1.5, **row} for n, row in enumerate(rows)]
    table = read_history(lines(*given_lines), DEFAULT_LIMITS)
    found, others = points(table), values(table)
    for step, row in enumerate(rows):
        for key, value in row.items():
            if isinstance(value, bool | str):
                assert others.pop((key, step))[1] == value
            else:
                stored = found.pop((key, step))
                assert stored == value or (math.isnan(stored) and math.isnan(value))
    assert not found
    assert not others


@pytest.mark.parametrize("step", [2**60, -(2**53), 1.5, "x", None])
def test_a_step_that_cannot_be_kept_becomes_the_index(step: Any) -> None:
    table = read_history(
        lines({"_step": step, "_timestamp": 1.0, "a": 1}, offset=9), DEFAULT_LIMITS
    )
    assert points(table) == {("a", 9): 1}
