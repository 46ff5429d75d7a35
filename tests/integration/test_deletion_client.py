"""A run deleted under a training: the script goes on, what it still logs stays with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.up import Up, running_up, wait_until

from penstock.spool.progress import load_progress
from penstock.spool.root import spools_in

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(150)]

TRAINING = """
import pathlib, sys, time
import penstock
run = penstock.init(project="p", id="r", name=sys.argv[1])
go_on, step = pathlib.Path(sys.argv[2]), 0
while not go_on.exists():
    run.log({"loss": step})
    step += 1
    time.sleep(0.005)
run.log({"loss": -1.0})
run.finish()
print("ended", step)
"""


def command(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", *arguments],
        env=up.environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def total(up: Up) -> int:
    return int(up.get("/v1/projects/local/p/runs")["total"])


def described(up: Up) -> tuple[str, int | None]:
    found = up.get("/v1/runs/local/p/r")
    return found["name"], found["last_step"]


@pytest.mark.smoke
def test_a_run_is_deleted_while_a_training_logs(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        script, end = tmp_path / "training.py", tmp_path / "end"
        script.write_text(TRAINING)
        training = subprocess.Popen(
            [sys.executable, script, "first", end],
            env=up.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(lambda: up.get("/v1/projects")["projects"], 60)
        wait_until(lambda: (up.get("/v1/runs/local/p/r")["last_step"] or 0) > 100, 60)
        said = command(up, "delete", "p/r", "--yes")
        assert said.returncode == 0, said.stderr
        assert total(up) == 0
        spool = next(iter(spools_in(tmp_path / "spool")))
        wait_until(lambda: load_progress(spool).problem_code == "deleted", 60)
        end.touch()
        out, err = training.communicate(timeout=60)
        assert training.returncode == 0, err
        assert "ended" in out
        assert "was deleted" in err
        wait_until(lambda: load_progress(spool).done, 60)
        assert load_progress(spool).rejected > 0
        assert list((spool / "rejected").glob("*.batch"))
        assert total(up) == 0
        for name in ("verify", "export"):
            rest = ["--to", str(tmp_path / "out")] if name == "export" else []
            said = command(up, name, "local/p/r", *rest)
            assert said.returncode != 0
            assert "run local/p/r was deleted on" in said.stderr + said.stdout
        # The id is free again.
        again = up.run_python(
            "import penstock\n"
            "run = penstock.init(project='p', id='r', name='second')\n"
            "for step in range(50): run.log({'loss': step})\n"
            "run.finish()\n"
        )
        assert again.returncode == 0, again.stderr
        wait_until(lambda: total(up) == 1, 30)
        # Points are stored before what the same batch says of its run.
        wait_until(lambda: described(up) == ("second", 49), 30)
        said = command(up, "move", "p/r", "elsewhere")
        assert said.returncode == 0, said.stderr
        assert up.get("/v1/runs/local/elsewhere/r")["name"] == "second"
