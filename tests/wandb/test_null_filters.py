"""Null and large numbers in filters mean the same to both clients."""

from __future__ import annotations

import json

import pytest
from support.up import Up, wait_until
from support.wandb_scripts import run_wandb

SEED = 4611686018427387905
SET = {"group": "g", "job_type": "j", "notes": "n", "tags": ["t"]}
RUNS = {
    "bare": ({"seed": SEED}, {}),
    "empty": ({"x": None, "seed": SEED + 1}, {"group": "", "notes": "", "tags": []}),
    "full": ({"x": 1}, SET),
}
UNSET, BOTH = ["bare", "empty"], ["bare", "empty", "full"]
QUESTIONS = [
    *(({name: None}, UNSET) for name in ("group", "jobType", "notes", "tags", "config.x")),
    *(({name: {"$ne": None}}, ["full"]) for name in ("group", "jobType", "notes", "tags", "config.x")),
    *(({name: {"$in": [None, "g", "j", "n", "t", 1]}}, BOTH) for name in ("group", "notes", "tags", "config.x")),
    ({"sweep": None}, BOTH),
    ({"summary_metrics.loss": None}, []),
    ({"summary_metrics.none": None}, BOTH),
    ({"group": {"$exists": False}}, UNSET),
    ({"group": ""}, UNSET),
    ({"$or": [{"group": None}, {"group": "g"}]}, BOTH),
    ({"$and": [{"group": None}, {"config.x": None}, {"notes": None}]}, UNSET),
    ({"$and": [{"group": {"$not": {"$eq": None}}}]}, ["full"]),
    ({"config.seed": SEED}, ["bare"]),
    ({"config.seed": {"$gt": SEED}}, ["empty"]),
]  # fmt: skip
OFFICIAL = """
import json, os, wandb
for filters in json.loads(os.environ["QUESTIONS"]):
    print(json.dumps(sorted(run.id for run in wandb.Api().runs("nulls", filters=filters))))
"""
NATIVE = """
import json, os, penstock
for filters in json.loads(os.environ["QUESTIONS"]):
    print(json.dumps(sorted(run.id for run in penstock.Api().runs("nulls", filters=filters))))
"""


@pytest.fixture(scope="module", autouse=True)
def logged(up: Up) -> None:
    for run, (config, _) in RUNS.items():
        rows = [{"step": 0, "loss": 1.0}]
        up.post("/v1/batches", {"project": "nulls", "run": run, "rows": rows, "config": config})
    wait_until(lambda: [each["runs"] for each in up.get("/v1/projects")["projects"]] == [3], 30)
    for run, (_, about) in RUNS.items():
        if about:
            up.send("PATCH", f"/v1/runs/local/nulls/{run}", about)


def check(printed: str) -> None:
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith("[")]
    wrong = [
        (filters, got, wanted)
        for (filters, wanted), got in zip(QUESTIONS, answers, strict=True)
        if got != sorted(wanted)
    ]
    assert wrong == []


def test_the_official_client_finds_runs_without(up: Up) -> None:
    asked = json.dumps([filters for filters, _ in QUESTIONS])
    check(run_wandb(up, OFFICIAL, QUESTIONS=asked, timeout_s=100).check().stdout)


def test_the_native_client_finds_runs_without(up: Up) -> None:
    asked = json.dumps([filters for filters, _ in QUESTIONS])
    done = up.run_python(NATIVE, QUESTIONS=asked)
    assert done.returncode == 0, done.stderr
    check(done.stdout)
