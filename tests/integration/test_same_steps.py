"""A key and step that is logged twice: by one process, which says at its end how many points it replaced, or
by two, beside each other, which replace nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.up import Up, running_up

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]

FOLDS = """
import time, penstock
run = penstock.init(project="p", id=%r)
for fold in range(3):
    for step in range(100):
        run.log({"loss": fold + step / 100}, step=%s)
    time.sleep(%s)
run.finish()
"""

BESIDE = """
import json, subprocess, sys, penstock
log = 'import penstock; run = penstock.init(project="p", id="beside", resume="allow")\\n' \\
      'for step in range(20): run.log({"loss": 2.0}, step=step)\\n' \\
      'run.finish()'
run = penstock.init(project="p", id="beside")
for step in range(20):
    run.log({"loss": 1.0, "lr": 0.1}, step=step)
subprocess.run([sys.executable, "-c", log], check=True)
run.finish()
again = penstock.Api().run("p/beside")
print(json.dumps([list(again.scan_history(keys=["_step", "loss"], lanes=lanes)) for lanes in ("latest", "all")]))
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as up:
        yield up


@pytest.mark.parametrize("pause_s", [0, 1.5], ids=["one batch", "several batches"])
def test_a_run_says_how_many_points_it_replaced(up: Up, pause_s: float) -> None:
    done = up.run_python(FOLDS % (f"folds-{pause_s}", "step", pause_s))
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "replaced" in line]
    assert "200 points were replaced" in line


def test_a_run_whose_steps_go_on_says_nothing(up: Up) -> None:
    done = up.run_python(FOLDS % ("on", "100 * fold + step", 0))
    assert done.returncode == 0, done.stderr
    assert "replaced" not in done.stderr


def test_processes_beside_each_other_replace_nothing(up: Up) -> None:
    done = up.run_python(BESIDE)
    assert done.returncode == 0, done.stderr
    latest, every = json.loads(done.stdout.splitlines()[-1])
    assert latest == [{"_step": step, "loss": 1.0} for step in range(20)]
    # Lanes are numbered as the worker first meets them: of two at once, either may be the first.
    assert sorted((row["_step"], row["_rank"], row["loss"]) for row in every) == [
        (step, 0, loss) for step in range(20) for loss in (1.0, 2.0)
    ]
    assert len({row["_lane"] for row in every}) == 2
