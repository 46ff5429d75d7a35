"""Filters and orders of `wandb.Api().runs`, against a plain evaluation over all runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from support.up import Up
from support.wandb_scripts import run_wandb

_COUNT = 60
_LOG = """
import base64, json, os, urllib.request
url, key = os.environ["WANDB_BASE_URL"], os.environ["WANDB_API_KEY"]
head = {"Authorization": "Basic " + base64.b64encode(f"api:{key}".encode()).decode()}
MUTATION = '''mutation UpsertBucket($name: String, $displayName: String, $group: String, $job: String,
  $config: JSONString, $summary: JSONString, $tags: [String!], $state: String, $sweep: String,
  $notes: String) {
  upsertBucket(input: {modelName: "filters", name: $name, displayName: $displayName,
    groupName: $group, jobType: $job, config: $config, summaryMetrics: $summary, tags: $tags,
    state: $state, sweep: $sweep, notes: $notes}) { bucket { id name } inserted } }'''
for run in json.loads(os.environ["RUNS"]):
    config = {name: {"value": value, "desc": None} for name, value in run["config"].items()}
    variables = {
        "name": run["id"], "displayName": run["display_name"], "group": run["group"],
        "job": run["job_type"], "config": json.dumps(config),
        "summary": json.dumps(run["summary"]), "tags": run["tags"], "state": run["state"],
        "sweep": run["sweep"], "notes": run["notes"],
    }
    body = json.dumps({"query": MUTATION, "variables": variables}).encode()
    request = urllib.request.Request(url + "/graphql", body, head)
    answer = json.loads(urllib.request.urlopen(request).read())
    assert answer["data"]["upsertBucket"]["inserted"], answer
"""
_ASK = """
import json, os, wandb
answers = []
for filters, order, per_page in json.loads(os.environ["QUESTIONS"]):
    api = wandb.Api()
    try:
        runs = api.runs("filters", filters=filters, order=order, per_page=per_page)
        answers.append([[run.id for run in runs], len(runs)])
    except Exception as error:
        answers.append(str(error))
print(json.dumps(answers))
"""
Run = dict[str, Any]


def made(i: int) -> Run:
    """One of the runs; some lack this or that."""
    config: dict[str, Any] = {"lr": i / 100, "opt": ["sgd", "adam", "lamb"][i % 3]}
    config["model"] = {"depth": i % 7, "name": f"net-{i % 4}"}
    if i % 5 == 0:
        config["flag"] = i % 2 == 0
    summary: dict[str, Any] = {"best": (i * 37) % 60, "nested": {"acc": i / 60}}
    if i % 4:
        summary["loss"] = ((i * 13) % 60) / 7
    if i == 8:
        summary["loss"] = float("nan")
    return {
        "id": f"run-{i:02}", "display_name": f"{'eager' if i % 2 else 'calm'}-fox-{i}",
        "group": f"g{i % 3}", "job_type": "eval" if i % 6 == 0 else "train", "config": config,
        "summary": summary, "tags": [f"t{i % 4}", "all"], "state": ["finished", "failed"][i % 2],
        "sweep": "sweep1" if i % 10 == 3 else None, "notes": f"note {i}",
    }  # fmt: skip


RUNS = [made(i) for i in range(_COUNT)]


@pytest.fixture(scope="module", autouse=True)
def logged(up: Up) -> None:
    run_wandb(up, _LOG, RUNS=json.dumps(RUNS)).check()


def ask(up: Up, questions: list[tuple[Any, str, int]]) -> list[Any]:
    found: list[Any] = json.loads(
        run_wandb(up, _ASK, QUESTIONS=json.dumps(questions), timeout_s=100).check().stdout
    )
    return found


def _at(run: Run, *path: str) -> Any:
    found: Any = run
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _loss(run: Run) -> Any:
    return run["summary"].get("loss")


FILTERS: list[tuple[dict[str, Any], Callable[[Run], bool]]] = [
    ({}, lambda r: True),
    ({"config.lr": 0.1}, lambda r: r["config"]["lr"] == 0.1),
    ({"config.lr.value": {"$gte": 0.5}}, lambda r: r["config"]["lr"] >= 0.5),
    ({"config.model.depth": {"$in": [1, 3]}}, lambda r: r["config"]["model"]["depth"] in (1, 3)),
    ({"config.model.value.depth": 2}, lambda r: r["config"]["model"]["depth"] == 2),
    ({"config.flag": True}, lambda r: r["config"].get("flag") is True),
    ({"config.flag": {"$exists": False}}, lambda r: "flag" not in r["config"]),
    ({"config.opt": {"$ne": "adam"}}, lambda r: r["config"]["opt"] != "adam"),
    ({"summary_metrics.best": {"$gt": 10, "$lte": 30}}, lambda r: 10 < r["summary"]["best"] <= 30),
    ({"summary_metrics.loss": {"$lt": 3}}, lambda r: _loss(r) is not None and _loss(r) < 3),
    ({"summaryMetrics.nested.acc": {"$lt": 0.2}}, lambda r: r["summary"]["nested"]["acc"] < 0.2),
    ({"state": "finished"}, lambda r: r["state"] == "finished"),
    ({"state": {"$nin": ["finished", "crashed"]}}, lambda r: r["state"] == "failed"),
    ({"display_name": {"$regex": "^eager.*1"}},
     lambda r: re.search("^eager.*1", r["display_name"]) is not None),
    ({"displayName": "calm-fox-4"}, lambda r: r["display_name"] == "calm-fox-4"),
    ({"name": "run-07"}, lambda r: r["id"] == "run-07"),
    ({"name": {"$in": ["run-07", "run-09", "no"]}}, lambda r: r["id"] in ("run-07", "run-09")),
    ({"group": "g1"}, lambda r: r["group"] == "g1"),
    ({"job_type": "eval"}, lambda r: r["job_type"] == "eval"),
    ({"jobType": {"$ne": "eval"}}, lambda r: r["job_type"] != "eval"),
    ({"tags": "t2"}, lambda r: "t2" in r["tags"]),
    ({"tags": {"$in": ["t1", "t3"]}}, lambda r: bool({"t1", "t3"} & set(r["tags"]))),
    ({"tags": {"$nin": ["t1"]}}, lambda r: "t1" not in r["tags"]),
    ({"sweep": "sweep1"}, lambda r: r["sweep"] == "sweep1"),
    ({"$and": [{"sweep": "sweep1"}]}, lambda r: r["sweep"] == "sweep1"),
    ({"sweep": None}, lambda r: r["sweep"] is None),
    ({"username": "local", "config.opt": "sgd"}, lambda r: r["config"]["opt"] == "sgd"),
    ({"username": "somebody"}, lambda r: False),
    ({"user": {"$ne": "somebody"}}, lambda r: True),
    ({"description": {"$regex": "note 5"}}, lambda r: "note 5" in r["notes"]),
    ({"createdAt": {"$gt": "2020-01-01T00:00:00Z"}}, lambda r: True),
    ({"created_at": {"$lt": "2020-01-01"}}, lambda r: False),
    ({"heartbeat_at": {"$gt": "2020-01-01T00:00:00"}}, lambda r: True),
    ({"$or": [{"config.opt": "sgd"}, {"$and": [{"state": "failed"}, {"group": "g2"}]}]},
     lambda r: r["config"]["opt"] == "sgd" or (r["state"] == "failed" and r["group"] == "g2")),
    ({"$nor": [{"config.opt": "sgd"}, {"group": "g1"}]},
     lambda r: r["config"]["opt"] != "sgd" and r["group"] != "g1"),
    ({"config.lr": {"$not": {"$lt": 0.3}}}, lambda r: not r["config"]["lr"] < 0.3),
    ({"$and": [{}, {"group": "g0"}]}, lambda r: r["group"] == "g0"),
]  # fmt: skip
# Of runs that are alike in it, those that came last come first.
ORDERS: list[tuple[str, Callable[[Run], Any], bool]] = [
    ("+created_at", lambda r: r["id"], False),
    ("-created_at", lambda r: r["id"], True),
    ("created_at", lambda r: r["id"], False),
    ("+summary_metrics.best", lambda r: r["summary"]["best"], False),
    ("-summary_metrics.loss", _loss, True),
    ("+summary_metrics.loss", _loss, False),
    ("-config.lr", lambda r: r["config"]["lr"], True),
    ("+config.model.depth", lambda r: r["config"]["model"]["depth"], False),
    ("-config.lr.value", lambda r: r["config"]["lr"], True),
    ("+state", lambda r: r["state"], False),
    ("-display_name", lambda r: r["display_name"], True),
    ("+name", lambda r: r["id"], False),
]


def expected_order(key: Callable[[Run], Any], *, descending: bool) -> list[str]:
    newest_first = RUNS[::-1]
    there = [run for run in newest_first if (value := key(run)) is not None and value == value]
    there.sort(key=key, reverse=descending)
    odd = [run for run in newest_first if (value := key(run)) is not None and value != value]
    lacking = [run for run in newest_first if key(run) is None]
    return [run["id"] for run in (*_stable(there, key), *odd, *lacking)]


def _stable(runs: list[Run], key: Callable[[Run], Any]) -> list[Run]:
    """Newest first among equals, which a reversed sort keeps as well."""
    return runs


def test_filters(up: Up) -> None:
    answers = ask(up, [(filter_, "+created_at", 50) for filter_, _ in FILTERS])
    for (filter_, passes), answer in zip(FILTERS, answers, strict=True):
        expected = [run["id"] for run in RUNS if passes(run)]
        assert answer == [expected, len(expected)], filter_


@pytest.mark.parametrize("per_page", [7, 1000])
def test_orders(up: Up, per_page: int) -> None:
    answers = ask(up, [({}, order, per_page) for order, _, _ in ORDERS])
    for (order, key, descending), answer in zip(ORDERS, answers, strict=True):
        assert answer == [expected_order(key, descending=descending), _COUNT], order


def test_what_is_wrong_is_said(up: Up) -> None:
    answers = ask(
        up,
        [
            ({"config.lr": {"$near": 1}}, "", 50),
            ({"$where": "1"}, "", 50),
            ({"no such": 1}, "", 50),
            ({"display_name": {"$regex": "("}}, "", 50),
            ({}, "+nothing", 50),
        ],
    )
    for answer, part in zip(
        answers, ("$near", "$where", "no such", "$regex", "nothing"), strict=True
    ):
        assert isinstance(answer, str)
        assert part in answer


def test_whole_runs_of_a_page(up: Up) -> None:
    """With `lazy=False` one question brings config and summary of all."""
    code = """
import json, wandb
runs = wandb.Api().runs("filters", per_page=25, lazy=False)
print(json.dumps([[run.id, run.name, run.config, dict(run.summary_metrics), run.tags, run.group,
                   run.job_type, run.state, run.notes, run.sweep_name] for run in runs]))
"""
    found = json.loads(run_wandb(up, code).check().stdout)
    assert len(found) == _COUNT
    for each, run in zip(found, RUNS, strict=True):
        summary = {k: "NaN" if v != v else v for k, v in run["summary"].items()}
        own = {k: "NaN" if v != v else v for k, v in each[3].items()}
        assert each[:3] == [run["id"], run["display_name"], run["config"]]
        assert own == summary
        assert each[4:] == [
            run["tags"], run["group"], run["job_type"], run["state"], run["notes"], run["sweep"],
        ]  # fmt: skip
