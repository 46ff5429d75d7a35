"""Sweeps through the native door, with the real server: searched, run, stopped, and what happens when
agents die."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.marks import SMOKE
from support.up import Up, running_up, wait_until

pytestmark = SMOKE

LEASE_S = 2.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    settings = {"PENSTOCK_SWEEP_LEASE_S": str(LEASE_S)}
    with running_up(tmp_path_factory.mktemp("up"), settings=settings) as up:
        yield up


class Sweep:
    """A sweep, over HTTP."""

    def __init__(self, up: Up, config: dict[str, Any] | str, project: str) -> None:
        self._up = up
        made = up.post("/v1/sweeps", {"config": config, "project": project})
        self.project = project
        self.id: str = made["sweep"]
        self.path = f"/v1/sweeps/local/{project}/{self.id}"

    def now(self) -> Any:
        return self._up.get(self.path)

    def trials(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._up.get(f"{self.path}/trials")["trials"]
        return found

    def agent(self) -> str:
        return str(self._up.post(f"{self.path}/agents", {"host": "h"})["agent"])

    def heartbeat(self, agent: str, **said: Any) -> Any:
        return self._up.post(f"{self.path}/agents/{agent}/heartbeat", said)

    def set_state(self, state: str) -> Any:
        return self._up.post(f"{self.path}/state", {"state": state})


def command(up: Up, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", *words],
        env=up.environ, cwd=up.folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


GRID = {
    "method": "grid",
    "metric": {"name": "loss"},
    "parameters": {
        "lr": {"values": [0.1, 0.2]},
        "net": {"parameters": {"depth": {"min": 1, "max": 2}, "kind": {"value": "mlp"}}},
    },
}

AGENT = """
import penstock
sweep = penstock.sweep({config!r}, project={project!r})
def train():
    with penstock.init(project="ignored", config={{"lr": 9, "own": 1, "net": {{"depth": 9, "act": "relu"}}}}) as run:
        for step in range(3):
            run.log({{"loss": run.config["lr"] * run.config["net"]["depth"] / (step + 1)}})
penstock.agent(sweep, function=train, project={project!r})
"""


def test_a_grid_with_functions(up: Up) -> None:
    done = up.run_python(AGENT.format(config=GRID, project="grid"))
    assert done.returncode == 0, done.stderr
    (sweep,) = up.get("/v1/sweeps/local/grid")["sweeps"]
    assert (sweep["state"], sweep["runs"], sweep["run_cap"]) == ("FINISHED", 4, 4)
    trials = up.get(f"/v1/sweeps/local/grid/{sweep['sweep']}/trials")["trials"]
    assert [trial["parameters"] for trial in trials] == [
        {"lr": lr, "net": {"depth": depth, "kind": "mlp"}}
        for lr, depth in product([0.1, 0.2], [1, 2])
    ]
    assert [trial["handed"] for trial in trials] == [1] * 4
    for trial in trials:
        run = up.get(f"/v1/runs/local/grid/{trial['run']}")
        assert run["state"] == "finished"
        assert run["config"] == {
            "lr": trial["parameters"]["lr"],
            "own": 1,
            "net": {**trial["parameters"]["net"], "act": "relu"},
        }
        assert run["info"]["sweep"] == sweep["sweep"]

    def is_known() -> bool:
        found = up.get(f"/v1/sweeps/local/grid/{sweep['sweep']}")
        return bool(
            found["best"] == pytest.approx(0.1 / 3) and found["best_run"] == trials[0]["run"]
        )

    wait_until(is_known)


def test_commands(up: Up) -> None:
    (up.folder / "train.py").write_text(
        "import json, sys, penstock\n"
        "with penstock.init() as run:\n"
        "    run.config['said'] = json.dumps(sys.argv[1:])\n"
        "    run.log({'acc': run.config['lr']})\n"
    )
    (up.folder / "sweep.yaml").write_text(
        """
        program: train.py
        project: commands
        method: random
        run_cap: 2
        metric: {name: acc, goal: maximize}
        command: ["${env}", "${interpreter}", "${program}", "--fixed", "${args}"]
        parameters:
          lr: {min: 1e-4, max: 1e-1, distribution: log_uniform_values}
          layers: {value: [64, 64]}
        """
    )
    made = command(up, "sweep", "sweep.yaml")
    assert made.returncode == 0, made.stderr
    sweep = made.stdout.strip()
    worked = command(up, "agent", f"commands/{sweep}")
    assert worked.returncode == 0, worked.stderr
    found = up.get(f"/v1/sweeps/local/commands/{sweep}")
    assert (found["state"], found["runs"], found["open"]) == ("FINISHED", 2, 0)
    for trial in up.get(f"/v1/sweeps/local/commands/{sweep}/trials")["trials"]:
        lr = trial["parameters"]["lr"]
        assert 1e-4 <= lr <= 1e-1
        run = up.get(f"/v1/runs/local/commands/{trial['run']}")
        assert json.loads(run["config"]["said"]) == ["--fixed", f"--lr={lr}", "--layers=[64, 64]"]
        assert run["config"]["layers"] == [64, 64]


@pytest.mark.heavy
@pytest.mark.smoke
def test_an_agent_that_is_killed_loses_no_trial(up: Up) -> None:
    config = {"method": "grid", "parameters": {"n": {"min": 0, "max": 2}}}
    sweep = Sweep(up, config, "killed")
    marker = up.folder / "holds"
    code = f"""
import time, pathlib, penstock
def train():
    pathlib.Path({str(marker)!r}).write_text("x")
    time.sleep(600)
penstock.agent("killed/{sweep.id}", function=train)
"""
    doomed = up.start_python(code)
    try:
        wait_until(marker.exists)
        (held,) = sweep.trials()
        assert (held["state"], held["run_state"], held["handed"]) == ("given", None, 1)
    finally:
        doomed.kill()
        doomed.wait()
    rest = f"""
import penstock
def train():
    with penstock.init() as run:
        run.log({{"n": run.config["n"]}})
penstock.agent("killed/{sweep.id}", function=train)
"""
    done = up.run_python(rest)
    assert done.returncode == 0, done.stderr
    trials = sweep.trials()
    assert [(trial["run"], trial["handed"]) for trial in trials] == [
        (f"{sweep.id}-0", 2), (f"{sweep.id}-1", 1), (f"{sweep.id}-2", 1),
    ]  # fmt: skip
    assert [up.get(f"/v1/runs/local/killed/{trial['run']}")["config"]["n"] for trial in trials] == [
        0, 1, 2,
    ]  # fmt: skip
    wait_until(lambda: sweep.now()["state"] == "FINISHED")


def test_functions_that_fail_fail_their_trials_only(up: Up) -> None:
    config = {"method": "grid", "parameters": {"n": {"min": 0, "max": 3}}}
    sweep = Sweep(up, config, "failing")
    done = up.run_python(f"""
import penstock
def train():
    run = penstock.init()
    if run.config["n"] % 2:
        raise ValueError("odd")
penstock.agent("failing/{sweep.id}", function=train)
""")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("ValueError: odd") == 2
    trials = sweep.trials()
    wait_until(lambda: "running" not in [trial["run_state"] for trial in sweep.trials()])
    assert [trial["run_state"] for trial in sweep.trials()] == ["finished", "failed"] * 2
    assert len(trials) == 4


def log(up: Up, sweep: Sweep, run: str, values: list[float], **more: Any) -> None:
    """As a training would: steps with a loss, and whether it has ended."""
    rows = [{"step": step, "loss": value} for step, value in enumerate(values)]
    up.post("/v1/batches", {"project": sweep.project, "run": run, "rows": rows, **more})


@pytest.mark.heavy
@pytest.mark.smoke
def test_hyperband_stops_who_is_behind(up: Up) -> None:
    sweep = Sweep(
        up,
        {
            "method": "random",
            "metric": {"name": "loss"},
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
            "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
        },
        "bands",
    )
    agents = [sweep.agent() for _ in range(4)]
    runs = [sweep.heartbeat(agent)["trial"]["run"] for agent in agents]
    for at, run in enumerate(runs):
        log(up, sweep, run, [1.0 + at, 0.5 + at])
    alive = dict(zip(agents, runs, strict=True))

    def stopped() -> list[str]:
        return [
            run
            for agent, run in alive.items()
            if sweep.heartbeat(agent, alive=[run])["stop"] == [run]
        ]

    # The best half of four goes on.
    wait_until(lambda: stopped() == runs[2:])
    wait_until(lambda: [trial["value"] for trial in sweep.trials()] == [0.5, 1.5, 2.5, 3.5])
    for agent in agents[2:]:
        answer = sweep.heartbeat(agent, ended=[alive.pop(agent)])
        assert answer["trial"]["index"] in (4, 5)
    assert stopped() == []


@pytest.mark.heavy
def test_a_stopped_function_ends(up: Up) -> None:
    sweep = Sweep(up, {"method": "random", "parameters": {"x": {"value": 1}}}, "stopping")
    code = f"""
import time, penstock
def train():
    run = penstock.init()
    run.log({{"x": 1}})
    while True:
        time.sleep(0.05)
penstock.agent("stopping/{sweep.id}", function=train)
"""
    with subprocess.Popen([sys.executable, "-c", code], env=up.environ) as process:
        try:
            wait_until(lambda: [trial["run_state"] for trial in sweep.trials()] == ["running"])
            assert command(up, "sweep", "--cancel", f"stopping/{sweep.id}").stdout == "CANCELED\n"
            assert process.wait(30) == 0
        finally:
            process.kill()
    wait_until(lambda: [trial["run_state"] for trial in sweep.trials()] == ["finished"])


def test_what_counts_of_a_run(up: Up) -> None:
    """The summary that was set, else the best value where `define_metric` says so, else the last."""
    config = {"method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"value": 1}}}
    sweep = Sweep(up, config, "counting")
    code = f"""
import penstock
def train():
    with penstock.init() as run:
        index = int(run.id.split("-")[1])
        if index == 1:
            run.define_metric("loss", summary="min")
        for loss in (3.0, 1.0, 2.0, float("nan")):
            run.log({{"loss": loss}})
        if index >= 2:
            run.log({{"loss": 4.0}})
        if index == 3:
            run.summary["loss"] = 0.5
penstock.agent("counting/{sweep.id}", function=train, count=4)
"""
    done = up.run_python(code)
    assert done.returncode == 0, done.stderr

    def are_settled() -> bool:
        sweep.now()  # whoever reads a sweep makes it look at its runs
        return [trial["state"] for trial in sweep.trials()] == ["settled"] * 4

    wait_until(are_settled)
    assert [trial["value"] for trial in sweep.trials()] == [None, 1.0, 4.0, 0.5]


@pytest.mark.heavy
@pytest.mark.smoke
def test_pause_resume_stop(up: Up) -> None:
    sweep = Sweep(up, {"method": "random", "parameters": {"x": {"value": 1}}}, "states")
    assert sweep.now()["state"] == "PENDING"
    agent = sweep.agent()
    assert sweep.heartbeat(agent)["trial"]["index"] == 0
    place = f"states/{sweep.id}"
    assert command(up, "sweep", "--pause", place).stdout == "PAUSED\n"
    answer = sweep.heartbeat(agent, ended=[f"{sweep.id}-0"])
    assert (answer["state"], answer["trial"], answer["exit"]) == ("PAUSED", None, False)
    assert command(up, "sweep", "--resume", place).stdout == "RUNNING\n"
    assert sweep.heartbeat(agent)["trial"]["index"] == 1
    assert command(up, "sweep", "--stop", place).stdout == "FINISHED\n"
    assert sweep.heartbeat(agent, alive=[f"{sweep.id}-1"])["stop"] == []
    assert sweep.heartbeat(agent, ended=[f"{sweep.id}-1"])["exit"]
    refused = command(up, "sweep", "--resume", place)
    assert refused.returncode == 1
    assert "it cannot go on" in refused.stderr


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_bayes_learns_from_runs(up: Up) -> None:
    sweep = Sweep(
        up,
        {
            "method": "bayes",
            "metric": {"name": "loss"},
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
            "run_cap": 30,
        },
        "bayes",
    )
    agent = sweep.agent()
    ended: list[str] = []
    drawn: list[float] = []
    while trial := sweep.heartbeat(agent, ended=ended)["trial"]:
        x, ended = trial["parameters"]["x"], [trial["run"]]
        drawn.append(x)
        log(up, sweep, trial["run"], [(x - 0.3) ** 2], state="finished")
        wait_until(lambda: sweep.trials()[-1]["run_state"] == "finished")
    assert len(drawn) == 30
    assert sweep.now()["state"] == "FINISHED"
    early, late = ([abs(x - 0.3) for x in part] for part in (drawn[:10], drawn[-10:]))
    assert sum(late) < sum(early)
    assert sweep.now()["best"] == pytest.approx(min((x - 0.3) ** 2 for x in drawn))


@pytest.mark.parametrize(
    ("payload", "status", "says"),
    [
        ({"project": "p", "config": "method: walk"}, 400, "`method` must be grid, random or bayes"),
        ({"project": "p", "config": {"method": "grid"}}, 400, "`parameters` must name"),
        ({"project": "p"}, 400, "config is missing"),
        ({"project": "p", "config": "a: [", "entity": "someone"}, 400, "invalid YAML"),
    ],
)
def test_what_is_wrong_is_said(up: Up, payload: Any, status: int, says: str) -> None:
    request = Request(
        f"{up.url}/v1/sweeps",
        json.dumps(payload).encode(),
        {"Authorization": f"Bearer {up.api_key}", "Content-Type": "application/json"},
        method="POST",
    )
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=10)
    with refused.value as answer:
        assert answer.code == status
        assert says in json.loads(answer.read())["error"]["message"]


def test_what_is_not_there(up: Up) -> None:
    for path in ("/v1/sweeps/local/p/nothing", "/v1/sweeps/local/p/nothing/trials"):
        with pytest.raises(HTTPError) as refused:
            up.get(path)
        assert refused.value.code == 404
    assert up.get("/v1/sweeps/local/nothing")["sweeps"] == []


def test_a_file_that_is_not_there(up: Up, tmp_path: Path) -> None:
    refused = command(up, "sweep", str(tmp_path / "none.yaml"))
    assert refused.returncode == 1
    assert "cannot read" in refused.stderr
