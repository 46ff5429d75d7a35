"""`wandb.sweep(prior_runs=…)`: runs from before a sweep belong to it, and its search learns from them."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import pytest
from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb, run_wandb_command

pytestmark = pytest.mark.heavy

PRIOR = """
query Sweep($project: String, $name: String!) {
    project(name: $project) {
        sweep(sweepName: $name) { runCount priorRuns { edges { node { id name } } } }
    }
}
"""
GRID = {"method": "grid", "parameters": {"p": {"values": [1, 2]}}}


def prior_of(up: Up, project: str, sweep: str) -> dict[str, Any]:
    answer = ask(up, f"show(graphql({PRIOR!r}, project={project!r}, name={sweep!r}))")
    found: dict[str, Any] = answer["project"]["sweep"]
    return found


def test_prior_runs_are_of_the_sweep_and_listed(up: Up) -> None:
    sweep, members, of_run, other = ask(
        up,
        f"""
        for name in ("b", "a", "c"):
            api.create_run(run_id=name, project="prior")
        config = json.loads({json.dumps(GRID)!r})
        first = wandb.sweep(config, project="prior", prior_runs=["a", "b", "nobody's"])
        second = wandb.sweep(config, project="prior", prior_runs=["a"])
        show([first, sorted(run.id for run in api.sweep("prior/" + first).runs),
              api.run("prior/b").sweep_name, second])
        """,
    )
    assert members == ["a", "b"]
    assert of_run == sweep
    found = prior_of(up, "prior", sweep)
    assert [edge["node"]["name"] for edge in found["priorRuns"]["edges"]] == ["b", "a"]
    assert found["runCount"] == 0
    # A run stays with the sweep that it came to first, and counts for both.
    assert [
        edge["node"]["name"] for edge in prior_of(up, "prior", other)["priorRuns"]["edges"]
    ] == ["a"]
    assert up.get("/v1/runs/local/prior/a")["info"]["sweep"] == sweep
    assert "sweep" not in up.get("/v1/runs/local/prior/c")["info"]


def test_a_sweep_without_prior_runs_has_none(up: Up) -> None:
    sweep = ask(up, f'show(wandb.sweep(json.loads({json.dumps(GRID)!r}), project="none"))')
    assert prior_of(up, "none", sweep) == {"runCount": 0, "priorRuns": {"edges": []}}


def test_a_run_that_is_not_there_is_named(up: Up) -> None:
    path = up.folder / "prior.yaml"
    path.write_text(json.dumps(GRID))
    ended = run_wandb_command(
        up, "sweep", "--project", "named", "--prior_run", "nobody-has-this", str(path)
    ).check()
    assert "nobody-has-this" in ended.stderr + ended.stdout


def test_the_search_learns_from_prior_runs(up: Up) -> None:
    code = """
import json, wandb
from wandb.agents.pyagent import Agent
Agent.HEARTBEAT_SLEEP_SECONDS = 0.2
api, names = wandb.Api(), []
for i in range(40):
    x, kind = (i * 0.618) % 1, "ab"[i % 2]
    api.create_run(run_id=f"prior{i}", project="learns")
    run = api.run(f"learns/prior{i}")
    run.config.update({"x": x, "net": {"kind": kind}, "other": i})
    run.update()
    run.summary.update({"loss": (x - 0.9) ** 2 + (kind == "a")})
    names.append(run.id)
sweep = wandb.sweep({"method": "bayes", "metric": {"name": "loss", "goal": "minimize"}, "parameters": {
    "x": {"min": 0.0, "max": 1.0}, "net": {"parameters": {"kind": {"values": ["a", "b"]}}}}},
    project="learns", prior_runs=names)
drawn = []
def train():
    with wandb.init(mode="offline") as run:
        drawn.append(dict(run.config))
wandb.agent(sweep, function=train, count=5)
print(json.dumps(drawn))
"""
    drawn = json.loads(run_wandb(up, code, timeout_s=100).check().stdout.splitlines()[-1])
    assert len(drawn) == 5
    # Without them these would be five random points.
    assert median(abs(each["x"] - 0.9) for each in drawn) < 0.3
    assert [each["net"]["kind"] for each in drawn].count("b") >= 4
