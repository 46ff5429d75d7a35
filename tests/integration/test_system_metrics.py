"""System metrics of our own client: measured by a process of their own, in a lane of their own, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.logged import Logged
from support.nvml_stub import build_nvml_stub
from support.samplers import MEASURED, end_samplers, sampler_pids
from support.up import Up, end_shipper, running_up, wait_until

from penstock.commands.status import status_of
from penstock.wire import SYSTEM_RANK

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]

PROJECT = "system"
TRAINING = """
import select, sys, penstock
run = penstock.init(project="system", id=sys.argv[1])
step = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.05)[0]:
    run.log({"loss": step}); step += 1
    sum(range(200_000))
run.finish()
"""
SHARED = TRAINING.replace("id=sys.argv[1]", 'id=sys.argv[1], mode="shared"')


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as up:
        yield up


@pytest.fixture
def root(up: Up, tmp_path: Path) -> Iterator[Path]:
    """A spool folder of the test's own."""
    root = tmp_path / "spool"
    yield root
    end_all(root)


def end_all(root: Path) -> None:
    end_samplers(root)
    end_shipper(root.parent)


@contextmanager
def training(
    up: Up, root: Path, run: str, code: str = TRAINING, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A script that logs until its input ends; killed if that has not happened by the end of the block."""
    environ = {**up.environ, **MEASURED, "PENSTOCK_DIR": str(root), **variables}
    process = subprocess.Popen(
        [sys.executable, "-c", code, run],
        env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: subprocess.Popen[bytes]) -> str:
    """End a script properly; returns what it said."""
    _, said = process.communicate(b"", 60)
    assert process.returncode == 0, said.decode()
    return said.decode()


def lanes(run: Logged) -> list[int]:
    """From which rank on each of its nodes is."""
    try:
        return sorted(rank - SYSTEM_RANK for _, rank, _ in run.lanes() if rank >= SYSTEM_RANK)
    except ValueError:  # not heard of yet
        return []


def has(run: Logged, key: str, rows: int = 1) -> bool:
    try:
        return len(run.system().get(key, {})) >= rows
    except (IndexError, ValueError):  # not heard of yet
        return False


@pytest.mark.smoke
def test_a_run_is_measured(up: Up, root: Path) -> None:
    run = Logged(up, PROJECT, "one")
    with training(up, root, "one") as process:
        wait_until(lambda: has(run, "system.cpu", 3), 60)
        said = end(process)
    assert "system metrics" not in said
    assert lanes(run) == [0]
    found = run.system()
    assert all(key.startswith("system.") for key in found)
    assert 0 < max(found["system.cpu"].values()) <= 100
    assert found["system.proc.memory.rssMB"][max(found["system.cpu"])] > 5
    assert run.fields()["state"] == "finished"
    assert not [key for key in run.fields()["summary"] if key.startswith("system.")]
    assert not [key for row in run.history() for key in row if key.startswith("system.")]
    answer = up.post("/v1/charts", {"project": PROJECT, "runs": ["one"], "keys": ["system.cpu"]})
    assert sum(answer["series"][0]["count"]) >= 3


def test_a_short_run_has_a_last_row(up: Up, root: Path) -> None:
    """The sampler is asked for it, rather than waiting for the next turn."""
    run = Logged(up, PROJECT, "last")
    with training(up, root, "last", PENSTOCK_SYSTEM_INTERVAL_S="600") as process:
        wait_until(lambda: has(run, "system.node.load1"), 60)
        [first] = run.system()["system.node.load1"]
        wait_until(lambda: len(run.history()) > 40, 60)
        end(process)
    wait_until(lambda: has(run, "system.node.load1", 2), 60)
    assert max(run.system()["system.node.load1"]) > first


def test_a_training_that_is_killed_loses_none(up: Up, root: Path) -> None:
    run = Logged(up, PROJECT, "killed")
    with training(up, root, "killed") as process:
        wait_until(lambda: has(run, "system.cpu", 2), 60)
        process.kill()
        process.wait()
        run.wait_for("crashed")
    wait_until(lambda: not list_live(root), 60)
    assert lanes(run) == [0]
    wait_until(lambda: not unsent(root), 60)
    steps = sorted(run.system()["system.node.load1"])
    assert len(steps) >= 2
    assert run.state() == "crashed"  # rows of its machine do not revive it


def list_live(root: Path) -> list[str]:
    return [each.run for each in status_of(root, 1 << 30).spools if each.state == "live"]


def unsent(root: Path) -> int:
    return sum(each.batches + each.size_bytes for each in status_of(root, 1 << 30).spools)


@pytest.mark.smoke
def test_a_sampler_that_is_killed_is_replaced(up: Up, root: Path) -> None:
    """It goes on in the lane of the one before."""
    run = Logged(up, PROJECT, "replaced")
    with training(up, root, "replaced") as process:
        wait_until(lambda: has(run, "system.cpu", 2), 60)
        [before] = sampler_pids(root)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: bool(set(sampler_pids(root)) - {before}), 30)
        known = len(run.system()["system.node.load1"])
        wait_until(lambda: has(run, "system.node.load1", known + 3), 60)
        end(process)
    assert lanes(run) == [0]
    assert run.state() == "finished"


def test_ranks_of_a_node_share_a_sampler(up: Up, root: Path) -> None:
    run = Logged(up, PROJECT, "ranks")
    with (
        training(up, root, "ranks", SHARED, RANK="4") as first,
        training(up, root, "ranks", SHARED, RANK="5") as second,
    ):
        wait_until(lambda: has(run, "system.rank.5.cores"), 60)
        assert len(sampler_pids(root)) == 1
        end(first)
        end(second)
    assert has(run, "system.rank.4.memory.rssMB")
    assert len(lanes(run)) == 1


def test_nodes_have_a_lane_each(up: Up, root: Path, tmp_path: Path) -> None:
    run = Logged(up, PROJECT, "nodes")
    other = tmp_path / "other" / "spool"
    try:
        with (
            training(up, root, "nodes", SHARED, RANK="0", PENSTOCK_HOST_NAME="a") as first,
            training(up, other, "nodes", SHARED, RANK="8", PENSTOCK_HOST_NAME="b") as second,
        ):
            wait_until(lambda: lanes(run) == [0, 8], 60)
            assert len(sampler_pids(root)) == len(sampler_pids(other)) == 1
            end(first)
            end(second)
    finally:
        end_all(other)
    answer = up.post(
        "/v1/charts",
        {"project": PROJECT, "runs": ["nodes"], "keys": ["system.node.load1"], "lanes": "rank"},
    )
    assert sorted(each["rank"] - SYSTEM_RANK for each in answer["series"]) == [0, 8]


def test_runs_of_one_process_share_a_sampler(up: Up, root: Path) -> None:
    code = """
import time, sys, penstock
runs = [penstock.init(project="system", id=f"{sys.argv[1]}{n}", reinit="create_new") for n in range(3)]
print("ready", flush=True)
sys.stdin.read()
for run in runs: run.finish()
"""
    found = [Logged(up, PROJECT, f"several{number}") for number in range(3)]
    with training(up, root, "several", code) as process:
        wait_until(lambda: all(has(each, "system.node.load1") for each in found), 60)
        assert len(sampler_pids(root)) == 1
        end(process)


def test_forked_children_are_part_of_the_tree(up: Up, root: Path) -> None:
    code = """
import os, sys, time, penstock
run = penstock.init(project="system", id=sys.argv[1])
run.log({"a": 1.0})
child = os.fork()
if not child:
    for number in range(100): run.log({"b": 1.0}); time.sleep(0.05)
    os._exit(0)
print("ready", flush=True)
sys.stdin.read()
os.waitpid(child, 0)
run.finish()
"""
    run = Logged(up, PROJECT, "forked")
    with training(up, root, "forked", code) as process:
        wait_until(lambda: 2.0 in run_values(run, "system.proc.count"), 60)
        assert len(sampler_pids(root)) == 1
        end(process)
    assert lanes(run) == [0]


def run_values(run: Logged, key: str) -> set[float]:
    return {*run.system()[key].values()} if has(run, key) else set()


def test_offline_and_sent_later(up: Up, root: Path) -> None:
    run = Logged(up, PROJECT, "offline")
    with training(up, root, "offline", PENSTOCK_MODE="offline") as process:
        wait_until(lambda: bool(sampler_pids(root)), 30)
        wait_until(lambda: len(list(root.glob("*/meta.json"))) == 2, 30)
        end(process)
    wait_until(lambda: not list_live(root), 30)
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli", "sync"],
        env={**up.environ, "PENSTOCK_DIR": str(root)}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert lanes(run) == [0]
    assert has(run, "system.node.load1")


@pytest.mark.parametrize(
    "variables",
    [
        {"PENSTOCK_SYSTEM_METRICS": "off"},
        {"WANDB_X_DISABLE_STATS": "true"},
        {"WANDB__DISABLE_STATS": "true"},
    ],
)
def test_switched_off(up: Up, root: Path, variables: dict[str, str]) -> None:
    run = Logged(up, PROJECT, f"off-{'-'.join(variables)}")
    with training(up, root, f"off-{'-'.join(variables)}", **variables) as process:
        wait_until(lambda: has_rows(run, 30), 60)
        end(process)
    assert not (root / "system").exists()
    assert lanes(run) == []


def has_rows(run: Logged, count: int) -> bool:
    try:
        return len(run.history()) >= count
    except OSError:  # not heard of yet
        return False


def test_gpus_of_all_and_of_the_run(up: Up, root: Path, tmp_path: Path) -> None:
    code = "import os; os.environ['NVML_STUB_PID'] = str(os.getpid())\n" + TRAINING
    library = str(build_nvml_stub(tmp_path))
    trouble = tmp_path / "trouble"
    run = Logged(up, PROJECT, "gpus")
    variables = {"PENSTOCK_NVML_LIBRARY": library, "NVML_STUB_TROUBLE": str(trouble)}
    with training(up, root, "gpus", code, **variables) as process:
        wait_until(lambda: has(run, "system.gpu.1.gpu"), 60)
        assert run_values(run, "system.gpu.process.0.memoryUsedBytes") == {float(1 << 30)}
        assert run_values(run, "system.gpu.1.lastXid") <= {0.0, 79.0}
        trouble.write_text("crash")
        wait_until(lambda: "notice system metrics" in str(run.fields()), 60)
        known = len(run.system()["system.node.load1"])
        wait_until(lambda: has(run, "system.node.load1", known + 2), 60)  # the rest goes on
        end(process)
    assert not run_values(run, "system.gpu.process.1.gpu")


def test_an_environment_in_which_python_does_not_start(up: Up, root: Path, tmp_path: Path) -> None:
    """It is tried again without the variables that may be the cause."""
    (tmp_path / "argparse.py").write_text("raise SystemExit('broken')")
    code = f"import os, penstock; os.environ['PYTHONPATH'] = {str(tmp_path)!r}\n" + TRAINING
    run = Logged(up, PROJECT, "broken")
    with training(up, root, "broken", code) as process:
        wait_until(lambda: has(run, "system.cpu"), 90)
        end(process)
