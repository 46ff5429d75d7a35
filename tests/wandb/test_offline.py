"""Runs logged without a server and synced later with the official client."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.logged import Logged, logged_runs
from support.up import Up, wait_until
from support.wandb_scripts import ScriptResult, run_wandb, run_wandb_command, start_wandb

STEPS = 300


def script(run: str, more: str = "") -> str:
    return f"""
import wandb
run = wandb.init(project="offline", id={run!r}, config={{"lr": 0.1}}, tags=["t"])
for i in range({STEPS}):
    run.log({{"loss": i, "text": f"t{{i}}"}})
print("printed")
{more}
run.finish()
"""


def log_offline(up: Up, run: str, more: str = "") -> ScriptResult:
    """A script without a server; its folder holds the run."""
    return run_wandb(
        up, script(run, more), WANDB_MODE="offline", WANDB_BASE_URL="http://127.0.0.1:1"
    ).check()


def sync(up: Up, logged: ScriptResult, *arguments: str) -> ScriptResult:
    [folder] = logged.run_folders("offline")
    return run_wandb_command(up, "sync", *arguments, str(folder), folder=logged.folder).check()


def expected() -> list[dict[str, object]]:
    return [{"_step": i, "loss": i, "text": f"t{i}"} for i in range(STEPS)]


def check(up: Up, run: str) -> Logged:
    logged = Logged(up, "offline", run)
    assert logged.history() == expected()
    fields = logged.fields()
    assert fields["state"] == "finished"
    assert fields["config"] == {"lr": 0.1}
    assert fields["tags"] == ["t"]
    assert fields["summary"]["loss"] == STEPS - 1
    console = logged.console()
    assert [line.text for line in console if line.lane == console[-1].lane] == ["printed"]
    return logged


def test_a_run_is_synced_with_its_own_times(up: Up) -> None:
    before = time.time()
    offline = log_offline(up, "synced")
    after = time.time()
    assert up.get("/v1/projects")["projects"] == [] or "synced" not in str(
        up.get("/v1/projects/local/offline/runs")
    )
    sync(up, offline)
    times = [row["_timestamp"] for row in check(up, "synced").rows()]
    assert before <= times[0] <= times[-1] <= after


def test_it_is_synced_once_and_again_if_told_so(up: Up) -> None:
    offline = log_offline(up, "twice")
    sync(up, offline)
    check(up, "twice")
    sync(up, offline)
    check(up, "twice")
    sync(up, offline, "--include-synced")
    check(up, "twice")


def test_part_of_a_run_and_then_the_rest(up: Up) -> None:
    """The file of a run that had been copied before it was whole: what was there, then all."""
    offline = log_offline(up, "partial")
    [folder] = offline.run_folders("offline")
    [whole] = folder.glob("*.wandb")
    part = Path(shutil.copytree(folder, offline.folder / "part" / folder.name))
    [cut] = part.glob("*.wandb")
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    run_wandb_command(up, "sync", str(part), folder=offline.folder)
    some = Logged(up, "offline", "partial").column("loss")
    assert some == list(range(len(some)))
    assert 0 < len(some) < STEPS
    sync(up, offline)
    check(up, "partial")


def test_a_script_that_was_killed_is_synced(up: Up) -> None:
    more = "import os, signal, time\ntime.sleep(3)\nos.killpg(0, signal.SIGKILL)"
    offline = run_wandb(up, script("killed", more), WANDB_MODE="offline")
    assert offline.code == -9
    sync(up, offline)
    losses = Logged(up, "offline", "killed").column("loss")
    assert losses == list(range(len(losses)))
    assert losses


def test_a_run_is_synced_while_it_is_logged(up: Up) -> None:
    """Lines are here before the script has ended, and all of them once it has."""
    wait = f"""
    if i == {STEPS // 2}:
        print("half", flush=True)
        while not os.path.exists("go-on"):
            time.sleep(0.05)
    run.log("""
    code = "import os, time\n" + script("live").replace("\n    run.log(", wait)
    started = start_wandb(up, code, WANDB_MODE="offline", WANDB_BASE_URL="http://127.0.0.1:1")
    with started as logging, ThreadPoolExecutor(1) as threads:
        try:
            wait_until(lambda: logging.says("half"), 40)
            [folder] = logging.folder.glob("wandb/offline-run-*")
            command = ("beta", "sync", "--live", str(folder))
            syncing = threads.submit(run_wandb_command, up, *command, folder=logging.folder)
            wait_until(lambda: is_there(up, "live"), 40)
            logged = Logged(up, "offline", "live")
            wait_until(lambda: logged.column("loss"), 40)
            assert logged.state() == "running"
        finally:
            (logging.folder / "go-on").touch()
        logging.wait().check()
        syncing.result().check()
    assert [row["loss"] for row in logged.history()] == list(range(STEPS))
    assert logged.state() == "finished"


def is_there(up: Up, run: str) -> bool:
    projects = {found["project"] for found in up.get("/v1/projects")["projects"]}
    return "offline" in projects and run in {found["run"] for found in logged_runs(up, "offline")}
