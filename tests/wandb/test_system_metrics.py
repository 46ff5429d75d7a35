"""The machine's own metrics, which the official client measures beside what is logged, and ours too."""

from __future__ import annotations

import math
import re

from support.logged import Logged
from support.samplers import end_samplers
from support.up import Up, wait_until
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


BUSY = """
import importlib, sys, threading, time
wandb = importlib.import_module(sys.argv[1])
kept = bytearray(b"x") * (200 << 20)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
run = wandb.init(project="system", id=sys.argv[1], settings={"x_stats_sampling_interval": 0.5})
until = time.monotonic() + 6
while time.monotonic() < until:
    run.log({"loss": sum(range(100_000))})
run.finish()
"""
_NOT_OURS = re.compile(r"system\.(_runtime|_timestamp|cpu\.\d+\.cpu_percent)")
_ALIKE = (
    "system.cpu", "system.memory_percent", "system.disk./.usagePercent", "system.disk./.usageGB",
    "system.proc.memory.availableMB",
)  # fmt: skip


def test_both_clients_call_them_the_same(up: Up) -> None:
    """Values that can be compared are: the same machine, one client after the other."""
    run_wandb(up, BUSY, "wandb").check()
    run_wandb(up, BUSY, "penstock", PENSTOCK_SYSTEM_METRICS="on").check()
    theirs = Logged(up, "system", "wandb").system()
    ours = Logged(up, "system", "penstock")
    try:
        wait_until(lambda: len(ours.system().get("system.cpu", {})) > 3, 60)
    finally:
        end_samplers(up.folder / "spool")
    mine = ours.system()
    assert {key for key in theirs if not _NOT_OURS.fullmatch(key)} <= mine.keys()
    for key in _ALIKE:
        expected = middle(theirs[key])
        assert math.isclose(middle(mine[key]), expected, rel_tol=0.5, abs_tol=2), (
            key,
            mine[key],
            theirs[key],
        )
    # The official client brings modules and threads of its own.
    memory = middle(mine["system.proc.memory.rssMB"])
    assert 200 < memory < middle(theirs["system.proc.memory.rssMB"]) + 50


def middle(values: dict[int, float]) -> float:
    return sorted(values.values())[len(values) // 2]
