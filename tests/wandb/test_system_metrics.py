"""The machine's own metrics, which the official client measures beside what is logged."""

from __future__ import annotations

from support.logged import Logged
from support.up import Up
from support.wandb_scripts import run_wandb

CODE = """
import time, wandb
run = wandb.init(
    project="system", id="s1", settings=wandb.Settings(x_stats_sampling_interval=0.5))
for i in range(30):
    run.log({"loss": i})
    time.sleep(0.1)
run.finish()
"""


def test_they_are_kept_apart_from_what_is_logged(up: Up) -> None:
    run_wandb(up, CODE).check()
    run = Logged(up, "system", "s1")
    system = run.system()
    assert any("cpu" in key for key in system)
    assert any("memory" in key for key in system)
    assert all(key.startswith("system.") for key in system)
    runtime = system["system._runtime"]
    assert len(runtime) >= 3
    assert sorted(runtime) == list(range(len(runtime)))
    assert list(dict(sorted(runtime.items())).values()) == sorted(runtime.values())
    assert run.history() == [{"_step": i, "loss": i} for i in range(30)]
    assert run.fields()["last_step"] == 29
    assert not [key for key in run.fields()["summary"] if key.startswith("system.")]


def test_they_can_be_drawn(up: Up) -> None:
    run_wandb(up, CODE.replace("s1", "s2")).check()
    run = Logged(up, "system", "s2")
    key = next(key for key in run.system() if "memory" in key)
    answer = up.post("/v1/charts", {"project": "system", "runs": ["s2"], "keys": [key]})
    [series] = answer["series"]
    assert sum(series["count"]) == len(run.system()[key])
