"""Runs that go on with the official client, and runs that begin again under the same id."""

from __future__ import annotations

import pytest
from support.logged import Logged, logged_runs
from support.up import Up, wait_until
from support.wandb_scripts import run_wandb, script_folder, start_wandb


def script(run: str, start: int, count: int, init: str = "", more: str = "") -> str:
    return f"""
import os, signal, time, wandb
run = wandb.init(project="resume", id={run!r}{init and ", " + init})
print("step", run.starting_step, "resumed", run.resumed)
for i in range({start}, {start + count}):
    run.log({{"loss": i}})
{more}
run.finish()
"""


def expected(count: int) -> list[dict[str, int]]:
    return [{"_step": i, "loss": i} for i in range(count)]


@pytest.mark.parametrize("resume", ["must", "allow"])
def test_a_finished_run_goes_on(up: Up, resume: str) -> None:
    run = f"goes-on-{resume}"
    init = 'config={"lr": 0.1, "old": 1}, tags=["a"], notes="first"'
    run_wandb(up, script(run, 0, 10, init, 'print("one")\nrun.summary["best"] = 3')).check()
    init = f"resume={resume!r}, config={{'lr': 0.2, 'new': 2}}"
    ended = run_wandb(up, script(run, 10, 10, init, 'print("two")')).check()
    assert "step 10 resumed True" in ended.stdout
    logged = Logged(up, "resume", run)
    assert logged.history() == expected(20)
    fields = logged.fields()
    assert fields["state"] == "finished"
    assert fields["config"] == {"lr": 0.2, "old": 1, "new": 2}
    assert fields["summary"]["best"] == 3
    assert fields["summary"]["loss"] == 19
    assert (fields["tags"], fields["notes"]) == (["a"], "first")
    texts = [line.text for line in logged.console()]
    assert texts == ["step 0 resumed False", "one", "step 10 resumed True", "two"]
    runtimes = [row["_runtime"] for row in logged.rows()]
    assert runtimes == sorted(runtimes)


def test_it_goes_on_twice(up: Up) -> None:
    for start in (0, 5, 10):
        run_wandb(up, script("thrice", start, 5, 'resume="allow"')).check()
    assert Logged(up, "resume", "thrice").history() == expected(15)


def test_must_and_never(up: Up) -> None:
    ended = run_wandb(up, script("missing", 0, 1, 'resume="must"'))
    assert ended.code == 1
    assert "missing" not in {run["run"] for run in logged_runs(up, "resume")}
    run_wandb(up, script("taken", 0, 3, 'resume="never"')).check()
    ended = run_wandb(up, script("taken", 3, 1, 'resume="never"'))
    assert ended.code == 1
    assert Logged(up, "resume", "taken").history() == expected(3)


def test_auto_remembers_a_run_that_was_killed(up: Up) -> None:
    folder = script_folder(up)
    code = """
import time, wandb
run = wandb.init(project="resume", resume="auto")
for i in range(run.starting_step, run.starting_step + 10):
    run.log({"loss": i})
print("run", run.id, flush=True)
%s
"""
    with start_wandb(up, code % "time.sleep(60)", folder=folder) as started:
        wait_until(lambda: started.says("run "), 30)
        run = started.stdout.split()[-1]
        logged = Logged(up, "resume", run)
        wait_until(lambda: logged.history() == expected(10), 30)
        started.kill()
    ended = run_wandb(up, code % "run.finish()", folder=folder).check()
    assert f"run {run}" in ended.stdout
    assert logged.history() == expected(20)
    assert logged.state() == "finished"


def test_it_goes_on_after_a_kill(up: Up) -> None:
    """Where it goes on is what the server has: what was acknowledged, whole."""
    first = script("killed", 0, 500, more='print("logged", flush=True)\ntime.sleep(60)')
    logged = Logged(up, "resume", "killed")
    with start_wandb(up, first) as started:
        wait_until(lambda: started.says("logged"), 30)
        wait_until(lambda: logged.history() == expected(500), 30)
        started.kill()
    ended = run_wandb(up, script("killed", 500, 100, 'resume="must"')).check()
    assert "step 500 resumed True" in ended.stdout
    assert logged.history() == expected(600)


def test_an_id_that_is_used_again_begins_anew(up: Up) -> None:
    """The newest attempt is shown; the one before is kept as a lane of its own."""
    run_wandb(up, script("again", 0, 20)).check()
    run_wandb(up, script("again", 100, 5)).check()
    logged = Logged(up, "resume", "again")
    assert logged.history() == [{"_step": i, "loss": 100 + i} for i in range(5)]
    kept = [row["loss"] for row in logged.history(lanes="all")]
    assert sorted(kept) == [*range(20), *range(100, 105)]
    assert logged.fields()["summary"]["loss"] == 104


def test_a_run_is_rewound(up: Up) -> None:
    run_wandb(up, script("rewound", 0, 20)).check()
    code = """
import wandb
run = wandb.init(project="resume", resume_from="rewound?_step=9")
print("step", run.starting_step)
for i in range(10, 15):
    run.log({"loss": -i})
run.finish()
"""
    run_wandb(up, code).check()
    rows = Logged(up, "resume", "rewound").history()
    assert rows == [*expected(10), *({"_step": i, "loss": -i} for i in range(10, 15))]


def test_a_run_is_forked(up: Up) -> None:
    run_wandb(up, script("parent", 0, 20)).check()
    code = """
import wandb
run = wandb.init(project="resume", id="child", fork_from="parent?_step=9")
for i in range(10, 15):
    run.log({"loss": -i})
run.finish()
"""
    run_wandb(up, code).check()
    rows = Logged(up, "resume", "child").history()
    assert rows[-5:] == [{"_step": i, "loss": -i} for i in range(10, 15)]
    assert rows == [*expected(10), *({"_step": i, "loss": -i} for i in range(10, 15))]
    assert Logged(up, "resume", "parent").history() == expected(20)


@pytest.mark.smoke
def test_a_fork_has_the_media_of_its_history(up: Up) -> None:
    parent = """
import numpy as np, wandb
run = wandb.init(project="resume", id="pictures")
for i in range(3):
    run.log({"picture": wandb.Image(np.full((4, 4, 3), i, np.uint8)), "loss": float("nan")})
run.finish()
"""
    run_wandb(up, parent).check()
    child = """
import wandb
run = wandb.init(project="resume", id="more", fork_from="pictures?_step=1")
run.log({"loss": 1.5})
run.finish()
api = wandb.Api()
run = api.run("resume/more")
rows = list(run.scan_history())
print([row.get("picture", {}).get("_type") for row in rows], rows[0]["loss"] != rows[0]["loss"])
path = rows[1]["picture"]["path"]
ours = run.file(path).download(root="ours").name
theirs = api.run("resume/pictures").file(path).download(root="theirs").name
print(open(ours, "rb").read() == open(theirs, "rb").read())
"""
    result = run_wandb(up, child).check()
    assert "['image-file', 'image-file', None] True" in result.stdout
    assert result.stdout.rstrip().endswith("True")
