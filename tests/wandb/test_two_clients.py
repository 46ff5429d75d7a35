"""Two processes that log to one run id without knowing of each other."""

from __future__ import annotations

import pytest
from support.logged import Logged
from support.up import Up, wait_until
from support.wandb_scripts import start_wandb

CODE = """
import pathlib, time, wandb
run = wandb.init(project="two", id=%r)
print("begun", flush=True)
for i in range(200):
    run.log({"loss": i + %d})
    time.sleep(0.02)
print("logged", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.05)
run.finish()
"""


@pytest.mark.parametrize("is_at_once", [True, False])
def test_both_keep_their_points(up: Up, is_at_once: bool) -> None:
    run = f"same-{is_at_once}"
    logged = Logged(up, "two", run)
    with start_wandb(up, CODE % (run, 0)) as first:
        if not is_at_once:
            wait_until(lambda: first.says("begun"), 30)
        with start_wandb(up, CODE % (run, 1000)) as second:
            wait_until(lambda: first.says("logged") and second.says("logged"), 60)
            (first.folder / "go").touch()
            first.wait().check()
            (second.folder / "go").touch()
            second.wait().check()
    losses: dict[str, list[int]] = {}
    for row in logged.history(lanes="all"):
        losses.setdefault(str(row["_lane"]), []).append(row["loss"])
    assert sorted(losses.values()) == [list(range(200)), list(range(1000, 1200))]
    assert logged.state() == "finished"
