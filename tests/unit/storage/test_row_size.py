"""A run's row does not grow for ever, and takes everything that makes it no larger."""

from __future__ import annotations

from typing import Any

import pytest
from support.run_texts import empty_row

from penstock_storage.catalog.runs.row_size import TOO_LARGE, apply_changes
from penstock_storage.contracts.interface import RunChange

MEBIBYTE = 1 << 20


def new_row() -> dict[str, Any]:
    return empty_row(name="r", state="running")


def change(seq: int, kind: str, update: dict[str, Any]) -> RunChange:
    return RunChange(1, "w1", seq, 0, kind, update)


def test_a_field_at_its_bound_takes_no_more_and_the_others_go_on() -> None:
    row = new_row()
    for seq in range(1, 7):
        update = {f"k{seq}": "x" * 4 * MEBIBYTE}
        apply_changes(row, [change(seq, "config", update), change(seq, "summary", {"at": seq})])
    assert sorted(row["config"]) == sorted(f"k{seq}" for seq in range(1, 4))
    assert row["summary"] == {"at": 6}
    assert row["info"] == {TOO_LARGE: ["config"]}
    assert {slot for slot in row["heard"]["set"] if slot.startswith("config/")} == {
        f"config/k{seq}" for seq in range(1, 4)
    }
    # What makes it smaller is taken, and there is room again.
    apply_changes(row, [change(30, "config", {"k1": "small"})])
    apply_changes(row, [change(31, "config", {"k99": "y"})])
    assert (row["config"]["k1"], row["config"]["k99"]) == ("small", "y")


@pytest.mark.parametrize(
    ("field", "kind", "update"),
    [
        ("summary", "summary_whole", {f"k{n}": n for n in range(200_001)}),
        ("config", "config_whole", {"a": ["x" * 1000] * 20_000}),
        ("notes", "run", {"notes": "n" * (MEBIBYTE + 1)}),
        ("name", "run", {"name": "n" * MEBIBYTE}),
        ("tags", "run", {"tags": ["t" * 100] * 20_000}),
        ("info", "run", {"git": "x" * 17 * MEBIBYTE}),
    ],
)
def test_each_field_has_a_bound(field: str, kind: str, update: dict[str, Any]) -> None:
    row = new_row()
    apply_changes(row, [change(1, "config", {"lr": 0.1}), change(2, "state", {"state": "failed"})])
    before = row[field] if field != "info" else {}
    apply_changes(row, [change(3, kind, update), change(4, "state", {"state": "finished"})])
    if field == "info":
        assert row["info"] == {TOO_LARGE: ["info"]}
    else:
        assert (row[field], row["info"]) == (before, {TOO_LARGE: [field]})
    assert (row["state"], row["config"]) == ("finished", {"lr": 0.1})
    # The change that was refused sets no version: a smaller one of the same place is taken.
    apply_changes(row, [change(3, "config", {"b": 1}), change(3, "run", {"notes": "short"})])
    assert (row["config"]["b"], row["notes"]) == (1, "short")


def test_rules_of_metrics_that_came_before_stay() -> None:
    row = new_row()
    apply_changes(row, [change(1, "define_metric", {"name": "loss", "summary": "min"})])
    rules = [
        change(n, "define_metric", {"name": f"{n}" * 400, "goal": "x" * 40_000})
        for n in range(2, 600)
    ]
    apply_changes(row, rules)
    assert row["info"]["define_metric"] == {"loss": {"summary": "min"}}
    assert row["info"][TOO_LARGE] == ["info"]


def test_a_row_from_before_there_were_bounds_can_still_be_changed() -> None:
    row = new_row()
    row["config"] = {"old": "x" * 20 * MEBIBYTE, "lr": 1}
    apply_changes(row, [change(1, "config", {"lr": 2})])
    assert row["config"]["lr"] == 2
    assert row["info"] == {}
