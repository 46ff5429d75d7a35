"""Parts of the server die, are wiped or are started anew while scripts log with the official client:
what they logged is there afterwards, all of it and once."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.logged import Logged
from support.up import Up, end_shipper, start_up, wait_until
from support.wandb_scripts import start_wandb

pytestmark = pytest.mark.timeout(240)

STEPS = 600
CODE = f"""
import time, wandb
run = wandb.init(project="restarts", id="r", config={{"lr": 0.1}})
for i in range({STEPS}):
    run.log({{"loss": i, "note": f"n{{i}}"}})
    time.sleep(0.02)
print("logged", flush=True)
run.finish()
"""


def log_through(folder: Path, break_it: Callable[[Up], Up]) -> None:
    """A script logs; in the midst of it `break_it` does its work, and returns what runs then."""
    up = start_up(folder)
    try:
        with start_wandb(up, CODE) as script:
            logged = Logged(up, "restarts", "r")
            wait_until(lambda: has_begun(up, logged), 60)
            up = break_it(up)
            assert "logged" not in script.stdout, "it was over before anything was broken"
            script.wait(150).check()
        logged = Logged(up, "restarts", "r")
        assert logged.history() == [{"_step": i, "loss": i, "note": f"n{i}"} for i in range(STEPS)]
        assert len(logged.history(lanes="all", keys="loss")) == STEPS
        assert logged.state() == "finished"
        assert logged.fields()["config"] == {"lr": 0.1}
    finally:
        if up.process.poll() is None:
            up.stop()
        end_shipper(folder)


def has_begun(up: Up, logged: Logged) -> bool:
    projects = up.get("/v1/projects")["projects"]
    return bool(projects and projects[0]["runs"] and logged.column("loss"))


def killed(role: str) -> Callable[[Up], Up]:
    """Kills a part three times; the supervisor brings it back."""

    def break_it(up: Up) -> Up:
        for _ in range(3):
            [pid] = children(up)[role]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: children(up).get(role, [pid]) != [pid], 30)  # type: ignore[misc]
        return up

    return break_it


def children(up: Up) -> dict[str, list[int]]:
    text = (up.folder / "data" / "run" / "up.json").read_text()
    found: dict[str, list[int]] = json.loads(text)["children"]
    return found


@pytest.mark.parametrize(
    "role",
    [
        pytest.param("gateway", marks=pytest.mark.smoke),
        "worker",
        "redis",
        "store",
    ],
)
@pytest.mark.heavy
def test_a_part_is_killed(role: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    log_through(tmp_path_factory.mktemp("up"), killed(role))


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_is_stopped_and_started_again(
    number: signal.Signals, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def break_it(up: Up) -> Up:
        up.stop(number)
        return start_up(up.folder, port=int(up.url.rpartition(":")[2]))

    log_through(tmp_path_factory.mktemp("up"), break_it)


@pytest.mark.heavy
def test_the_queue_is_wiped(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All is stopped, the queue's folder deleted, and started again."""

    def break_it(up: Up) -> Up:
        up.stop()
        shutil.rmtree(up.folder / "data" / "queue")
        return start_up(up.folder, port=int(up.url.rpartition(":")[2]))

    log_through(tmp_path_factory.mktemp("up"), break_it)


@pytest.mark.heavy
def test_redis_is_killed_and_wiped_while_all_else_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What lay in the queue is gone with it; the client still has it, since nobody said 200."""

    def break_it(up: Up) -> Up:
        for _ in range(3):
            [pid] = children(up)["redis"]
            os.kill(pid, signal.SIGSTOP)  # so that what is being sent lies in it
            shutil.rmtree(up.folder / "data" / "queue")
            (up.folder / "data" / "queue").mkdir(mode=0o700)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: children(up).get("redis", [pid]) != [pid], 30)  # type: ignore[misc]
        return up

    log_through(tmp_path_factory.mktemp("up"), break_it)
