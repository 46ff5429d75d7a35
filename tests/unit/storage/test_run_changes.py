"""Changes to a run converge: any order, any repeats, the same row."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock_storage.catalog.runs.changes import apply_change
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
    "run": st.dictionaries(
        st.sampled_from(
            ["name", "default_name", "group", "tags", "notes", "host", "define_metric", "exit_code"]
        ),
        JSON | st.lists(st.text(max_size=2), max_size=2),
        max_size=4,
    ),
    "define_metric": st.dictionaries(
        st.sampled_from(["name", "step_metric", "summary"]), st.text(max_size=3), max_size=3
    ),
}


def empty_row() -> dict[str, Any]:
    texts = dict.fromkeys(("name", "state", "group", "job_type", "notes"), "")
    return {
        **texts,
        "tags": [],
        "config": {},
        "summary": {},
        "info": {},
        "versions": {},
        "silent": False,
    }


def applied(changes: list[RunChange]) -> dict[str, Any]:
    row = empty_row()
    for change in changes:
        apply_change(row, change)
    return row


@st.composite
def lists_of_changes(draw: st.DrawFn) -> list[RunChange]:
    versions = draw(
        st.lists(st.tuples(*[st.integers(0, 3)] * 3), unique=True, min_size=1, max_size=12)
    )
    changes = []
    for started, seq, index in versions:
        kind = draw(st.sampled_from(sorted(UPDATES)))
        changes.append(RunChange(1, started, seq, index, kind, draw(UPDATES[kind])))
    return changes


@sized(5_000)
@given(lists_of_changes(), st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_matter(changes: list[RunChange], rng: random.Random) -> None:
    in_order = applied(sorted(changes, key=lambda c: (c.started, c.seq, c.index)))
    delivered = [*changes, *rng.choices(changes, k=len(changes))]
    rng.shuffle(delivered)
    assert applied(delivered) == in_order


@sized(5_000)
@given(lists_of_changes())
def test_applying_again_changes_nothing(changes: list[RunChange]) -> None:
    row = applied(changes)
    again = copy.deepcopy(row)
    for change in changes:
        apply_change(again, change)
    assert again == row


def test_what_each_kind_sets() -> None:
    row = applied(
        [
            RunChange(1, 1, 1, 0, "config", {"lr": 0.1, "layers": [1, 2]}),
            RunChange(1, 1, 2, 0, "config", {"lr": 0.2}),
            RunChange(1, 1, 2, 1, "summary", {"best": float("inf")}),
            RunChange(1, 1, 2, 2, "run", {"name": "x", "tags": ["a"], "host": "node1"}),
            RunChange(1, 1, 2, 3, "define_metric", {"name": "loss", "summary": "min"}),
            RunChange(1, 1, 3, 0, "state", {"state": "failed", "exit_code": 3}),
        ]
    )
    assert row == {
        **empty_row(),
        "versions": row["versions"],
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


def test_a_whole_takes_away_what_it_does_not_have() -> None:
    row = applied(
        [
            RunChange(1, 1, 1, 0, "summary", {"old": 1, "kept": 1}),
            RunChange(1, 3, 1, 0, "summary", {"later": 3}),
            RunChange(1, 2, 1, 0, "summary_whole", {"kept": 2, "new": 2, "later": 2}),
            RunChange(1, 1, 9, 0, "summary", {"late": 1}),
        ]
    )
    assert row["summary"] == {"kept": 2, "new": 2, "later": 3}


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="metric"):
        applied([RunChange(1, 1, 1, 0, "metric", {})])


def test_a_made_up_name_is_kept_until_one_is_given() -> None:
    made_up = [
        RunChange(1, started, 1, 0, "run", {"default_name": f"made-up-{started}"})
        for started in (10, 20)
    ]
    given = RunChange(1, 5, 1, 0, "run", {"name": "mine"})
    assert applied(made_up)["name"] == applied(made_up[::-1])["name"] == "made-up-10"
    assert applied([given, *made_up])["name"] == applied([*made_up, given])["name"] == "mine"
