"""`define_metric`: what a summary has of a metric, for every kind, in every reader."""

from __future__ import annotations

from typing import Any

import pytest
from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb

pytestmark = pytest.mark.heavy

_LOG = """
import wandb
run = wandb.init(project="rules", id="r")
run.define_metric("epoch", hidden=True)
run.define_metric("none", summary="none")
run.define_metric("nested.none", summary="none")
run.define_metric("dotted\\\\.none", summary="none")
run.define_metric("g/*", summary="none")
run.define_metric("g/kept", summary="max")
run.define_metric("ends", summary="min,max", step_metric="epoch")
run.define_metric("every", summary="min,max,mean,first,last")
run.define_metric("copied", summary="copy")
run.define_metric("v/*", step_metric="epoch", summary="mean")
for i, x in enumerate([2, 5, 3]):
    row = {name: x for name in ("none", "dotted.none", "g/x", "g/kept", "ends", "every", "copied", "v/x", "plain")}
    run.log({**row, "nested": {"none": x, "some": x}, "text/none": "words", "epoch": i * 10})
run.log({"ends": 1})
run.finish()
with wandb.init(project="rules", id="other") as run:
    run.log({"none": 7, "g/x": 7})
"""
_NATIVE = """
import penstock
run = penstock.init(project="rules", id="native")
run.define_metric("none", summary="none")
run.define_metric("g/*", summary="none")
run.log({"none": 4, "g/x": 4, "plain": 4})
run.finish()
"""
SHOWN = {
    "g/kept": {"max": 5},
    "ends": {"min": 1, "max": 5},
    "every": {"min": 2, "max": 5, "mean": 10 / 3, "first": 2, "last": 3},
    "copied": 3,
    "v/x": {"mean": 10 / 3},
    "plain": 3,
    "text/none": "words",
    "epoch": 20,
}
HIDDEN = {"none", "nested.none", "dotted.none", "g/x"}


@pytest.fixture(scope="module", autouse=True)
def logged(up: Up) -> None:
    run_wandb(up, _LOG).check()
    ended = up.run_python(_NATIVE)
    assert ended.returncode == 0, ended.stderr


def check(summary: dict[str, Any]) -> None:
    assert {key: summary.get(key) for key in SHOWN} == SHOWN
    assert HIDDEN & summary.keys() == set()
    assert summary["nested"] == {"some": 3}


def test_the_summary_of_the_api(up: Up) -> None:
    summary, listed, native = ask(
        up,
        """
        show([dict(api.run("rules/r").summary_metrics),
              dict(api.runs("rules", filters={"name": "r"})[0].summary_metrics),
              dict(api.run("rules/native").summary_metrics)])
        """,
    )
    check(summary)
    check(listed)
    assert native == {"plain": 4}


def test_the_summary_of_the_page(up: Up) -> None:
    check(up.get("/v1/runs/local/rules/r")["summary"])
    [row] = [row for row in up.get("/v1/projects/local/rules/runs")["runs"] if row["run"] == "r"]
    check(row["summary"])
    assert up.get("/v1/runs/local/rules/native")["summary"] == {"plain": 4}


def test_what_is_hidden_is_still_in_the_history(up: Up) -> None:
    rows = ask(up, 'show(list(api.run("rules/r").scan_history(keys=["none", "g/x", "epoch"])))')
    assert [(row["none"], row["g/x"], row["epoch"]) for row in rows] == [
        (2, 2, 0), (5, 5, 10), (3, 3, 20),
    ]  # fmt: skip


def test_a_step_metric_is_put_into_rows_that_lack_it(up: Up) -> None:
    rows = ask(up, 'show(list(api.run("rules/r").scan_history()))')
    assert (rows[-1]["ends"], rows[-1]["epoch"]) == (1, 20)


def test_filters_and_orders_do_not_see_what_is_hidden(up: Up) -> None:
    found = ask(
        up,
        """
        def ids(filters, order="+created_at"):
            return [run.id for run in api.runs("rules", filters=filters, order=order)]
        show([ids({"summary_metrics.none": {"$gt": 0}}), ids({"summary_metrics.g/x": 7}),
              ids({"summary_metrics.none": 3}), ids({"summary_metrics.none": {"$exists": False}}),
              ids({"summary_metrics.ends.max": 5}), ids({"summary_metrics.plain": {"$gte": 3}}),
              ids({}, "-summary_metrics.none")[0]])
        """,
    )
    assert found == [["other"], ["other"], [], ["r", "native"], ["r"], ["r", "native"], "other"]


def test_the_rules_are_kept_for_charts(up: Up) -> None:
    rules = up.get("/v1/runs/local/rules/r")["info"]["define_metric"]
    assert rules["epoch"] == {"hidden": True}
    assert rules["ends"] == {"step_metric": "epoch", "step_sync": True, "summary": "min,max"}
    # Before 0.31 the client wrote a rule for each name that a glob stood for.
    assert (rules.get("v/*") or rules["v/x"])["step_metric"] == "epoch"
