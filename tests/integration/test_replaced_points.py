"""Points that a run replaces by logging the same key and step again are counted, and it says so at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.up import Up, running_up

FOLDS = """
import time, penstock
run = penstock.init(project="p", id=%r)
for fold in range(3):
    for step in range(100):
        run.log({"loss": fold + step / 100}, step=%s)
    time.sleep(%s)
run.finish()
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
