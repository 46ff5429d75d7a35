"""Summaries that `define_metric` asks for: folded by the shipper, put together by the server."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from penstock.shipper.folding import Fold
from penstock.wire import Frame, problem_of
from penstock_storage.catalog.runs.changes import apply_change
from penstock_storage.contracts.interface import RunChange
from penstock_workers.batches.records import change_of


def rule(name: str, **options: Any) -> dict[str, Any]:
    return {"t": "define_metric", "name": name, **options}


def frame(**columns: list[float]) -> Frame:
    rows = len(next(iter(columns.values())))
    steps = np.arange(rows, dtype="<i8").tobytes()
    values = b"".join(np.array(column, "<f8").tobytes() for column in columns.values())
    return Frame([*columns], steps, steps, values)


def said(fold: Fold, *frames: Frame) -> dict[str, Any]:
    record = fold.take(frames)
    assert record is not None
    assert problem_of(record) is None
    update: dict[str, Any] = record["update"]
    return update


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"summary": "max"}, {"max": 9.0}),
        ({"summary": "min"}, {"min": -2.0}),
        ({"summary": "mean"}, {"mean": 3.0}),
        ({"summary": "first"}, {"first": 3.0}),
        ({"summary": "last"}, {"last": 2.0}),
        ({"summary": "best"}, {"best": -2.0}),
        ({"summary": "best", "goal": "maximize"}, {"best": 9.0}),
        ({"summary": "min,max"}, {"min": -2.0, "max": 9.0}),
        ({"summary": ["max", "last"]}, {"max": 9.0, "last": 2.0}),
    ],
)
def test_each_kind(options: dict[str, Any], shown: Any) -> None:
    fold = Fold()
    fold.learn([rule("acc", **options)])
    said(fold, frame(acc=[3.0, math.nan, 9.0], loss=[1.0, 1.0, 1.0]))
    assert said(fold, frame(acc=[-2.0, math.inf, 2.0])) == {"acc": shown}


def test_nothing_is_said_of_a_hidden_metric() -> None:
    """The server hides it by the rule, and would show what is said."""
    fold = Fold()
    fold.learn([rule("acc", summary="none"), rule("loss", summary="none,min")])
    assert fold.take([frame(acc=[3.0])]) is None
    assert said(fold, frame(acc=[1.0], loss=[2.0])) == {"loss": {"min": 2.0}}


def test_metrics_without_such_a_rule_are_left_alone() -> None:
    fold = Fold()
    assert fold.keep() == {}
    fold.learn([rule("a", summary="copy"), rule("b", step_metric="epoch"), {"t": "run"}, "odd"])
    assert fold.keep() == {}
    assert fold.take([frame(a=[1.0], b=[1.0], c=[1.0])]) is None


def test_a_pattern_gives_way_to_the_name_itself() -> None:
    fold = Fold()
    fold.learn([rule("*", summary="max"), rule("val/*", summary="min"), rule("val/x", summary="")])
    found = said(fold, frame(**{"a": [1.0, 2.0], "val/y": [1.0, 2.0]}))
    assert found == {"a": {"max": 2.0}, "val/y": {"min": 1.0}}
    fold.learn([rule("val/x", summary="last")])
    assert said(fold, frame(**{"val/x": [1.0, 2.0]})) == {"val/x": {"last": 2.0}}


def test_it_goes_on_from_what_was_kept() -> None:
    fold = Fold()
    fold.learn([rule("acc", summary="max,mean")])
    said(fold, frame(acc=[5.0, 1.0]))
    again = Fold(json.loads(json.dumps(fold.keep())))
    assert said(again, frame(acc=[3.0])) == {"acc": {"max": 5.0, "mean": 3.0}}


def summary_of(*changes: RunChange) -> dict[str, Any]:
    row: dict[str, Any] = {"summary": {}, "config": {}, "info": {}, "heard": {}, "silent": False}
    for change in changes:
        apply_change(row, change)
    summary: dict[str, Any] = row["summary"]
    return summary


def attempt(writer: str, batches: list[list[float]], options: dict[str, Any]) -> list[RunChange]:
    """What the batches of one writer say."""
    fold = Fold()
    fold.learn([rule("acc", **options)])
    changes = []
    for seq, values in enumerate(batches, 1):
        record = fold.take([frame(acc=values)])
        assert record is not None
        changes.append(change_of(1, writer, seq, 0, record))
    return changes


@pytest.mark.parametrize("seed", range(20))
def test_attempts_and_ranks_are_put_together_in_any_order(seed: int) -> None:
    options = {"summary": "max,min,best,last", "goal": "maximize"}
    first = attempt("one", [[5.0, 9.0], [1.0]], options)
    second = attempt("two", [[3.0], [4.0, 2.0]], options)
    again = [*first, *second, *first]
    random.Random(seed).shuffle(again)
    wanted = {"max": 9.0, "min": 1.0, "best": 9.0, "last": 2.0}
    assert summary_of(*first, *second, *again) == {"acc": wanted}
    found = summary_of(*again, *again)["acc"]
    assert found.pop("last") in (1.0, 2.0)  # of the writer that was heard of last
    assert found == {"max": 9.0, "min": 1.0, "best": 9.0}


def test_what_a_script_sets_itself_counts_until_the_next_rows() -> None:
    by_hand = RunChange(1, "w", 2, 0, "summary", {"acc": 0.5})
    before, after = attempt("w", [[1.0], [2.0], [3.0]], {"summary": "max"})[::2]
    assert summary_of(before, by_hand) == {"acc": 0.5}
    assert summary_of(by_hand, before) == {"acc": 0.5}
    assert summary_of(before, by_hand, after) == {"acc": {"max": 3.0}}


def test_figures_that_make_no_sense_harm_nothing() -> None:
    odd = RunChange(1, "w1", 1, 0, "summary_fold", {"acc": {"value": {"max": "x"}, "ways": 5}})
    good = attempt("w2", [[1.0], [2.0]], {"summary": "max"})
    assert summary_of(odd, *good) == {"acc": {"max": 2.0}}
    assert summary_of(good[0], odd, good[1]) == {"acc": {"max": 2.0}}
    assert asdict(good[0])["kind"] == "summary_fold"
