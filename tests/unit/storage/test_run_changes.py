"""What counts of several changes to a run: the one that is heard later, and of one writer's the later one."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized
from support.run_texts import empty_row

from penstock_storage.catalog.runs.changes import apply_change
from penstock_storage.catalog.runs.heard import edited_keys, heard_before
from penstock_storage.contracts.interface import RunChange

KEYS = st.sampled_from(["lr", "a/b", "define_metric", "name", ""])
JSON = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
UPDATES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "config": st.dictionaries(KEYS, JSON, max_size=3),
    "summary": st.dictionaries(KEYS, JSON, max_size=3),
    "config_whole": st.dictionaries(KEYS, JSON, max_size=3),
    "summary_whole": st.dictionaries(KEYS, JSON, max_size=3),
    "state": st.fixed_dictionaries(
        {"state": st.sampled_from(["running", "finished", "failed"])},
        optional={"exit_code": st.integers()},
    ),
    "rank_state": st.fixed_dictionaries({"state": st.sampled_from(["running", "finished"])}),
    "run": st.dictionaries(
        st.sampled_from(
            ["name", "group", "tags", "notes", "host", "define_metric", "exit_code"]
        ),
        JSON | st.lists(st.text(max_size=2), max_size=2),
        max_size=4,
    ),
    "define_metric": st.dictionaries(
        st.sampled_from(["name", "step_metric", "summary"]), st.text(max_size=3), max_size=3
    ),
}  # fmt: skip


def applied(changes: Iterable[RunChange], row: dict[str, Any] | None = None) -> dict[str, Any]:
    row = empty_row() if row is None else row
    for change in changes:
        apply_change(row, change)
        row["heard"] = json.loads(json.dumps(row["heard"]))  # as it is stored
    return row


def values(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "heard"}


def config(writer: str, seq: int, *, is_late: bool = False, **update: Any) -> RunChange:
    return RunChange(1, writer, seq, 0, "config", update, is_late)


@st.composite
def changes_of(draw: st.DrawFn, writer: str) -> list[RunChange]:
    """The changes of one writer, in their order."""
    positions = draw(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=8))
    changes = []
    for seq, index in sorted(positions):
        kind = draw(st.sampled_from(sorted(UPDATES)))
        changes.append(RunChange(1, writer, seq, index, kind, draw(UPDATES[kind])))
    return changes


@sized(5_000)
@given(changes_of("w"), st.randoms(use_true_random=False))
def test_a_writers_changes_may_come_in_any_order_and_again(
    changes: list[RunChange], rng: random.Random
) -> None:
    delivered = [*changes, *rng.choices(changes, k=len(changes))] if changes else []
    rng.shuffle(delivered)
    assert values(applied(delivered)) == values(applied(changes))


@sized(5_000)
@given(
    st.lists(changes_of("a") | changes_of("b") | changes_of("c"), max_size=4),
    st.randoms(use_true_random=False),
)
def test_what_was_heard_before_changes_nothing(
    parts: list[list[RunChange]], rng: random.Random
) -> None:
    """A wiped queue or a store that was rolled back brings batches back, in any order."""
    changes = [change for part in parts for change in part]
    row = applied(changes)
    again = rng.sample(changes, len(changes))
    assert values(applied(again, copy.deepcopy(row))) == values(row)


@sized(5_000)
@given(st.lists(changes_of("a") | changes_of("b") | changes_of(""), max_size=4), st.data())
def test_what_is_heard_last_counts(parts: list[list[RunChange]], data: st.DataObject) -> None:
    row = applied(change for part in parts for change in part)
    writer = data.draw(st.sampled_from(["", "new"]))
    for section in ("config", "summary"):
        update = data.draw(UPDATES[section])
        applied([RunChange(1, writer, 1, 0, section, update)], row)
        assert {key: row[section][key] for key in update} == update
        row = copy.deepcopy(row)
        writer = ""


def test_each_field_belongs_to_whom_was_heard_last() -> None:
    row = applied([config("a", 1, lr=1, depth=1), config("", 0, lr=2), config("b", 1, depth=3)])
    assert row["config"] == {"lr": 2, "depth": 3}
    # The run's own changes count again after an edit, whatever the clocks say.
    applied([config("a", 2, lr=4)], row)
    assert row["config"] == {"lr": 4, "depth": 3}
    # Its older ones do not.
    applied([config("", 0, lr=5), config("a", 1, lr=1, depth=1), config("a", 2, lr=4)], row)
    assert row["config"] == {"lr": 5, "depth": 3}


def test_what_comes_late_sets_only_what_nobody_else_set() -> None:
    late = config("a", 3, is_late=True, lr=3, own=3, free=3)
    row = applied([config("a", 1, own=1), config("", 0, lr=2), late])
    assert row["config"] == {"lr": 2, "own": 3, "free": 3}
    # It is known now, and counts as heard.
    applied([config("", 0, free=4), config("a", 3, free=3)], row)
    assert row["config"]["free"] == 4


def test_what_a_rank_says_of_the_state_counts_only_without_a_rank_0() -> None:
    def said(kind: str, writer: str, seq: int, state: str) -> RunChange:
        return RunChange(1, writer, seq, 0, kind, {"state": state})

    others = [said("rank_state", "r1", 1, "running"), said("rank_state", "r1", 2, "crashed")]
    row = applied(others)
    assert row["state"] == "crashed"
    applied(
        [said("rank_state", "r1 again", 1, "running"), said("rank_state", "r7", 1, "running")], row
    )
    applied(
        [said("rank_state", "r1 again", 2, "finished"), *others], row
    )  # a repeat changes nothing
    assert row["state"] == "finished"
    applied([said("state", "r0", 1, "running"), said("rank_state", "r7", 2, "failed")], row)
    assert row["state"] == "running"
    applied([said("state", "r0", 2, "crashed"), said("rank_state", "late", 1, "running")], row)
    assert row["state"] == "crashed"


@pytest.mark.parametrize("kind", ["summary", "summary_whole"])
def test_an_edited_value_counts_until_its_key_is_logged_again(kind: str) -> None:
    def logged(seq: int) -> RunChange:
        return RunChange(1, "a", seq, -1, "logged", {"x": None, "own": None})

    own = RunChange(1, "a", 2, 0, "summary", {"own": 5})
    edit = RunChange.edit(1, kind, {"x": 67, "y": 1})
    row = applied([logged(1), edit, own])
    assert edited_keys(row["heard"], row["summary"], "summary") == {"x", "y"}
    applied([logged(1)], row)  # again
    assert row["summary"] == {"x": 67, "y": 1, "own": 5}
    applied([logged(3)], row)
    assert row["summary"] == {"y": 1, "own": 5}
    assert edited_keys(row["heard"], row["summary"], "summary") == {"y"}
    applied([RunChange.edit(1, "summary", {"x": 68}), logged(3)], row)
    assert row["summary"]["x"] == 68


def test_what_each_kind_sets() -> None:
    row = applied(
        [
            RunChange(1, "w", 1, 0, "config", {"lr": 0.1, "layers": [1, 2]}),
            RunChange(1, "w", 2, 0, "config", {"lr": 0.2}),
            RunChange(1, "w", 2, 1, "summary", {"best": float("inf")}),
            RunChange(1, "w", 2, 2, "run", {"name": "x", "tags": ["a"], "host": "node1"}),
            RunChange(1, "w", 2, 3, "define_metric", {"name": "loss", "summary": "min"}),
            RunChange(1, "w", 3, 0, "state", {"state": "failed", "exit_code": 3}),
        ]
    )
    assert row == {
        **empty_row(),
        "heard": row["heard"],
        "name": "x",
        "state": "failed",
        "tags": ["a"],
        "config": {"lr": 0.2, "layers": [1, 2]},
        "summary": {"best": float("inf")},
        "info": {
            "host": "node1",
            "define_metric": {"loss": {"summary": "min"}},
            "exit_code": 3,
        },
    }
    assert row["heard"]["writers"] == {"w": [0, 3, 0]}


@pytest.mark.parametrize("who", ["", "b"])
def test_a_whole_takes_away_what_it_does_not_have(who: str) -> None:
    whole = RunChange(1, who, 1, 0, "summary_whole", {"kept": 2, "new": 2})
    row = applied(
        [
            RunChange(1, "a", 1, 0, "summary", {"old": 1, "kept": 1}),
            whole,
            RunChange(1, "a", 2, 0, "summary", {"later": 3}),
            RunChange(1, "a", 1, 0, "summary", {"old": 1, "kept": 1}),
        ]
    )
    assert row["summary"] == {"kept": 2, "new": 2, "later": 3}


def test_a_whole_that_is_heard_again_takes_nothing_away() -> None:
    whole = RunChange(1, "b", 1, 0, "config_whole", {"lr": 1})
    row = applied([whole, config("a", 1, depth=1), config("", 0, lr=2), whole])
    assert row["config"] == {"lr": 2, "depth": 1}


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="metric"):
        applied([RunChange(1, "w", 1, 0, "metric", {})])


def test_a_made_up_name_is_kept_until_one_is_given() -> None:
    first, second = (
        RunChange(1, writer, 1, 0, "run", {"default_name": f"made-up-{writer}"}) for writer in "ab"
    )
    given = RunChange(1, "c", 1, 0, "run", {"name": "mine"})
    assert applied([first, second, first])["name"] == "made-up-a"
    assert applied([given, first, second])["name"] == "mine"
    assert applied([first, second, given, first])["name"] == "mine"


def test_a_run_from_before_positions_is_thawed() -> None:
    """Clocks ordered changes then: an edit, whose time was after the writer's start, froze its fields."""
    versions = {
        "config/lr": [1_000, 3, 0],  # the writer's
        "summary/x": [2_000, 0, 0],  # an edit
        "name": [-1_000, -1, 0],  # a generated one
        "state": [1_000, 1, 0],
    }
    row = empty_row() | {
        "config": {"lr": 0.1}, "summary": {"x": 67}, "name": "bold-run-1", "state": "running",
        "heard": heard_before(versions, {1_000: "w"}),
    }  # fmt: skip
    repeats = [
        config("w", 2, lr=0.2),
        RunChange(1, "w", 3, 1, "summary", {"x": 66}),
        RunChange(1, "w", 1, 0, "run", {"default_name": "bold-run-2"}),
    ]
    applied(repeats[:1] + repeats[2:], row)
    assert (row["config"], row["name"]) == ({"lr": 0.1}, "bold-run-1")
    later = [
        RunChange(1, "w", 4, 0, "summary", {"x": 99}),
        RunChange(1, "w", 4, 1, "state", {"state": "finished"}),
        RunChange(1, "", 0, 0, "run", {"name": "given"}),
    ]
    applied(later, row)
    assert (row["summary"], row["state"], row["name"]) == ({"x": 99}, "finished", "given")
