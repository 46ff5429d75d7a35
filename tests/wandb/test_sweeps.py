"""Sweeps with the official client: made, run by agents of functions and of programs, paused, ended."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.up import Up, wait_until
from support.wandb_scripts import ScriptResult, run_wandb, run_wandb_command, start_wandb

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
"""Where the client finds `python`, which is what it starts programs with."""

AGENT = """
import json, sys, time, wandb
from wandb.agents.pyagent import Agent
Agent.HEARTBEAT_SLEEP_SECONDS = 0.2
"""

SWEEP = (
    AGENT
    + """
config = json.loads(sys.argv[1])
sweep = wandb.sweep(config, project=sys.argv[2])
def train():
    with wandb.init() as run:
        x = run.config["x"]
        run.log({"loss": (x - 0.3) ** 2})
        print("RUN", json.dumps([run.id, run.sweep_id, dict(run.config)]), flush=True)
wandb.agent(sweep, function=train, count=int(sys.argv[3]) or None)
found = wandb.Api().sweep(f"{sys.argv[2]}/{sweep}")
best = found.best_run() if config.get("metric") else None
print("BEST", json.dumps([len(found.runs), best and best.id, len(found.agents())]))
print("SWEEP", json.dumps([sweep, found.state, found._attrs["runCount"], found.expected_run_count]))
"""
)


def lines(result: ScriptResult, word: str) -> list[Any]:
    """What the script printed after this word, as JSON."""
    found = [line for line in result.stdout.splitlines() if line.startswith(f"{word} ")]
    return [json.loads(line.removeprefix(word)) for line in found]


def run_sweep(up: Up, config: dict[str, Any], project: str, count: int = 0) -> ScriptResult:
    arguments = (json.dumps(config), project, str(count))
    return run_wandb(up, SWEEP, *arguments, timeout_s=100).check()


def read(up: Up, project: str, sweep: str) -> Any:
    return up.get(f"/v1/sweeps/local/{project}/{sweep}")


def trials(up: Up, project: str, sweep: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.get(f"/v1/sweeps/local/{project}/{sweep}/trials")["trials"]
    return found


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_grid_with_nested_parameters(up: Up) -> None:
    config = {
        "method": "grid",
        "name": "a grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {
            "x": {"values": [0.1, 0.2]},
            "net": {"parameters": {"depth": {"values": [1, 2]}, "kind": {"value": "mlp"}}},
        },
    }
    result = run_sweep(up, config, "grid")
    ((sweep, state, count, expected),) = lines(result, "SWEEP")
    assert (state, count, expected) == ("FINISHED", 4, 4)
    ((runs_seen, best, agents),) = lines(result, "BEST")
    assert (runs_seen, agents) == (4, 1)
    assert best in (f"{sweep}-1", f"{sweep}-3")  # x = 0.2
    runs = lines(result, "RUN")
    # The client writes the configuration in alphabetical order: net comes before x.
    assert [run for _, _, run in runs] == [
        {"net": {"depth": depth, "kind": "mlp"}, "x": x} for depth, x in product([1, 2], [0.1, 0.2])
    ]
    assert {of for _, of, _ in runs} == {sweep}
    found = trials(up, "grid", sweep)
    assert [trial["run"] for trial in found] == [run for run, _, _ in runs]
    assert [trial["run_state"] for trial in found] == ["finished"] * 4
    wait_until(lambda: read(up, "grid", sweep)["best"] == pytest.approx(0.01))
    assert read(up, "grid", sweep)["name"] == "a grid"
    assert up.get(f"/v1/runs/local/grid/{runs[0][0]}")["info"]["sweep"] == sweep


@pytest.mark.heavy
def test_every_distribution_and_a_cap(up: Up) -> None:
    q = {"q": 0.5}
    parameters: dict[str, Any] = {
        "x": {"min": 0.0, "max": 1.0},
        "whole": {"min": 1, "max": 9},
        "chosen": {"values": ["a", "b"], "probabilities": [0.0, 1.0]},
        "steps": {"distribution": "q_uniform", "min": 0, "max": 2, **q},
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        "inverse": {"distribution": "inv_log_uniform_values", "min": 1e-2, "max": 1.0},
        "power": {"distribution": "log_uniform", "min": -2, "max": 0},
        "near": {"distribution": "normal", "mu": 100, "sigma": 1},
        "nearby": {"distribution": "q_normal", "mu": 100, "sigma": 1, **q},
        "above": {"distribution": "log_normal", "mu": 0, "sigma": 1},
        "share": {"distribution": "beta", "a": 2, "b": 5},
        "same": {"value": "constant"},
    }
    config = {"method": "random", "run_cap": 3, "parameters": parameters}
    result = run_sweep(up, config, "random")
    ((sweep, state, count, expected),) = lines(result, "SWEEP")
    assert (state, count, expected) == ("FINISHED", 3, 3)
    runs = [run for _, _, run in lines(result, "RUN")]
    assert len({run["x"] for run in runs}) == 3
    for run in runs:
        assert run.keys() == parameters.keys()
        assert 0 <= run["x"] <= 1
        assert run["whole"] in range(1, 10)
        assert (run["chosen"], run["same"]) == ("b", "constant")
        assert run["steps"] in (0, 0.5, 1, 1.5, 2)
        assert 1e-5 <= run["lr"] <= 1e-1
        assert 1e-2 <= run["inverse"] <= 1
        assert 0.13 < run["power"] <= 1
        assert 90 < run["near"] < 110
        assert run["nearby"] % 0.5 == 0
        assert run["above"] > 0
        assert 0 <= run["share"] <= 1
    assert [trial["parameters"] for trial in trials(up, "random", sweep)] == runs


@pytest.mark.heavy
def test_bayes_is_told_what_came_out(up: Up) -> None:
    config = {
        "method": "bayes",
        "metric": {"name": "loss"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
    }
    result = run_sweep(up, config, "bayes", count=4)
    ((sweep, state, count, expected),) = lines(result, "SWEEP")
    assert (state, expected) == ("RUNNING", None)
    assert count >= 4
    tried = {run: config["x"] for run, _, config in lines(result, "RUN")}
    assert len(tried) == 4

    def is_known() -> bool:
        values = {trial["run"]: trial["value"] for trial in trials(up, "bayes", sweep)}
        return all(values[run] == pytest.approx((x - 0.3) ** 2) for run, x in tried.items())

    wait_until(lambda: read(up, "bayes", sweep)["best"] is not None and is_known())


@pytest.mark.heavy
def test_the_command_line(up: Up) -> None:
    made = run_wandb_command(up, "sweep", "--help").check()
    folder = made.folder
    (folder / "train.py").write_text(
        "import sys, wandb\n"
        "with wandb.init() as run:\n"
        "    run.config['said'] = sys.argv[1:]\n"
        "    run.log({'acc': float(run.config['lr'])})\n"
    )
    (folder / "sweep.yaml").write_text(
        "program: train.py\n"
        "method: grid\n"
        "metric: {name: acc, goal: maximize}\n"
        "parameters:\n"
        "  lr: {values: [0.1, 0.2]}\n"
        "command: ['${env}', '${interpreter}', '${program}', '${args}']\n"
    )
    made = run_wandb_command(up, "sweep", "-p", "line", "sweep.yaml", folder=folder).check()
    (row,) = up.get("/v1/sweeps/local/line")["sweeps"]
    sweep, place = row["sweep"], f"local/line/{row['sweep']}"
    assert f"wandb agent {place}" in made.stdout + made.stderr
    refused = run_wandb_command(up, "sweep", "--pause", place, folder=folder)
    assert "Cannot pause pending sweep" in refused.stdout + refused.stderr
    agent = partial(run_wandb_command, up, "agent", folder=folder, timeout_s=80, PATH=PATH)
    agent("--count", "1", place).check()
    assert read(up, "line", sweep)["state"] == "RUNNING"
    for option, state in (("--pause", "PAUSED"), ("--resume", "RUNNING")):
        run_wandb_command(up, "sweep", option, place, folder=folder).check()
        assert read(up, "line", sweep)["state"] == state
    agent(place).check()
    found = trials(up, "line", sweep)
    assert [trial["parameters"] for trial in found] == [{"lr": 0.1}, {"lr": 0.2}]
    said = [up.get(f"/v1/runs/local/line/{trial['run']}")["config"]["said"] for trial in found]
    assert said == [["--lr=0.1"], ["--lr=0.2"]]
    wait_until(lambda: read(up, "line", sweep)["best"] == pytest.approx(0.2))
    assert read(up, "line", sweep)["state"] == "FINISHED"


ENDLESS = (
    AGENT
    + """
def train():
    with wandb.init() as run:
        print("RUN", json.dumps(run.id), flush=True)
        run.log({"loss": 9.0})
        run.log({"loss": 9.0})
        while True:
            time.sleep(0.05)
wandb.agent(sys.argv[1], function=train)
"""
)


def make(up: Up, project: str, **more: Any) -> str:
    config = {"method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}, **more}
    return str(up.post("/v1/sweeps", {"config": config, "project": project})["sweep"])


@pytest.mark.heavy
@pytest.mark.parametrize(("option", "state"), [("--cancel", "CANCELED"), ("--stop", "FINISHED")])
def test_an_end_from_outside(up: Up, option: str, state: str) -> None:
    """Canceling ends what runs; stopping lets it end by itself."""
    project = state.lower()
    sweep = make(up, project)
    place = f"local/{project}/{sweep}"
    with start_wandb(up, ENDLESS, place) as script:
        wait_until(lambda: script.says("RUN"), 40)
        run_wandb_command(up, "sweep", option, place).check()
        assert read(up, project, sweep)["state"] == state
        if option == "--cancel":
            script.wait()
        else:
            (trial,) = trials(up, project, sweep)
            assert (trial["run_state"], trial["stop"]) == ("running", False)
            assert script.process.poll() is None
    assert len(trials(up, project, sweep)) == 1


@pytest.mark.heavy
def test_hyperband_ends_a_run_that_is_behind(up: Up) -> None:
    sweep = make(
        up, "bands", run_cap=3, metric={"name": "loss"},
        early_terminate={"type": "hyperband", "min_iter": 2, "eta": 2},
    )  # fmt: skip
    path = f"/v1/sweeps/local/bands/{sweep}"
    for loss in (0.1, 0.2):  # two that were better
        agent = up.post(f"{path}/agents", {})["agent"]
        run = up.post(f"{path}/agents/{agent}/heartbeat", {})["trial"]["run"]
        rows = [{"step": step, "loss": loss} for step in range(2)]
        said = {"project": "bands", "run": run, "rows": rows, "state": "finished"}
        up.post("/v1/batches", said)
    both = ["finished"] * 2
    wait_until(lambda: [trial["run_state"] for trial in trials(up, "bands", sweep)] == both)
    with start_wandb(up, ENDLESS, f"local/bands/{sweep}") as script:
        result = script.wait(90)
    ((run,),) = [lines(result, "RUN")]
    assert [(trial["run"] == run, trial["stop"]) for trial in trials(up, "bands", sweep)] == [
        (False, False), (False, False), (True, True),
    ]  # fmt: skip
    wait_until(lambda: read(up, "bands", sweep)["state"] == "FINISHED")


@pytest.mark.heavy
def test_two_agents_share_a_sweep(up: Up) -> None:
    config = {"method": "grid", "parameters": {"x": {"values": [n / 10 for n in range(8)]}}}
    sweep = up.post("/v1/sweeps", {"config": config, "project": "shared"})["sweep"]
    code = (
        AGENT
        + """
def train():
    with wandb.init() as run:
        print("RUN", json.dumps(run.id), flush=True)
        run.log({"loss": run.config["x"]})
wandb.agent(sys.argv[1], function=train)
"""
    )
    place = f"local/shared/{sweep}"
    with start_wandb(up, code, place) as one, start_wandb(up, code, place) as two:
        results = [one.wait(100).check(), two.wait(100).check()]
    runs = [run for result in results for run in lines(result, "RUN")]
    assert sorted(runs) == [f"{sweep}-{n}" for n in range(8)]
    assert [trial["handed"] for trial in trials(up, "shared", sweep)] == [1] * 8


@pytest.mark.heavy
def test_a_wrong_configuration_is_refused_with_the_reason(up: Up) -> None:
    code = """
import wandb
try:
    wandb.sweep({"method": "grid", "parameters": {"x": {"values": []}}}, project="wrong")
except Exception as error:
    print("SAID", error)
"""
    result = run_wandb(up, code).check()
    assert "parameter x: `values` must be a non-empty list" in result.stdout
    assert up.get("/v1/sweeps/local/wrong")["sweeps"] == []
