"""`penstock up` as a user lives with it: start, stop, crash, start again, and the data stays."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
from support.up import Up, end_shipper, running_up, start_up, wait_until

TRAIN = """
import os, penstock as wandb
with wandb.init(project="spine", id="train", config={"lr": 0.1}) as run:
    for i in range(500):
        run.log({"loss": 1 / (i + 1), "acc": i / 500})
"""

# Says how many log() calls have returned, then dies without any chance to clean up.
KILLED = """
import os, signal, penstock as wandb
run = wandb.init(project="spine", id="killed")
for i in range(1000):
    run.log({"x": float(i)})
os.kill(os.getpid(), signal.SIGKILL)
"""


def history(up: Up, run: str, key: str) -> list[list[Any]]:
    """(steps, values) as the API shows them now; nothing while there is nothing, or no answer."""
    question = {"project": "spine", "runs": [run], "keys": [key], "buckets": 10_000}
    try:
        series = up.post("/v1/charts", question)["series"]
    except (HTTPError, OSError):
        return [[], []]
    return [series[0]["step"], series[0]["last"]] if series else [[], []]


def cli(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", *arguments],
        env=up.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_a_run_is_logged_and_survives_a_restart(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        done = up.run_python(TRAIN)
        assert done.returncode == 0, done.stderr
        before = history(up, "train", "loss")
        assert before[0] == list(range(500))
        assert before[1] == [1 / (i + 1) for i in range(500)]
        run = up.get("/v1/runs/local/spine/train")
        assert run["state"] == "finished"
        assert run["config"] == {"lr": 0.1}
        assert run["summary"]["acc"] == 499 / 500
        started = time.monotonic()
        assert up.stop() == 0
        took_s = time.monotonic() - started
        left = [pid for pids in up.children.values() for pid in pids if psutil.pid_exists(pid)]
        assert not left, f"children outlived a clean stop of {took_s:.1f} s"
    with running_up(tmp_path) as up:
        assert history(up, "train", "loss") == before
        assert up.get("/v1/runs/local/spine/train") == run


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_every_logged_row_of_a_killed_training_process_arrives(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        assert up.run_python(KILLED).returncode == -signal.SIGKILL
        wait_until(lambda: len(history(up, "killed", "x")[0]) == 1000, 30)
        steps, values = history(up, "killed", "x")
        assert steps == list(range(1000))
        assert values == [float(i) for i in range(1000)]
        wait_until(lambda: up.get("/v1/runs/local/spine/killed")["state"] == "crashed", 30)


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(180)
def test_whatever_is_killed_comes_back(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        assert up.run_python(TRAIN).returncode == 0
        for role in ("gateway", "worker", "store", "redis"):
            os.kill(up.children[role][0], signal.SIGKILL)
            body = {"project": "spine", "run": role, "rows": [{"step": 1, "v": 1.5}]}
            wait_until(lambda body=body: sent(up, body), 20)  # type: ignore[misc]
            wait_until(lambda role=role: history(up, role, "v")[1] == [1.5], 20)  # type: ignore[misc]
        assert len(history(up, "train", "loss")[0]) == 500


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_the_worker_itself_outlives_its_store_and_queue(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        (worker,) = up.children["worker"]
        for role in ("store", "redis"):
            os.kill(up.children[role][0], signal.SIGKILL)
            body = {"project": "spine", "run": role, "rows": [{"step": 1, "v": 2.5}]}
            wait_until(lambda body=body: sent(up, body), 20)  # type: ignore[misc]
            wait_until(lambda role=role: history(up, role, "v")[1] == [2.5], 20)  # type: ignore[misc]
        # Not restarted by the supervisor: it waited and went on.
        assert psutil.Process(worker).status() != psutil.STATUS_ZOMBIE
        assert json.loads((tmp_path / "ready.json").read_text())["children"]["worker"] == [worker]


def sent(up: Up, body: dict[str, Any]) -> bool:
    try:
        up.post("/v1/batches", body)
    except (HTTPError, OSError):
        return False
    return True


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_up_works_again_after_the_supervisor_was_killed(tmp_path: Path) -> None:
    up = start_up(tmp_path)
    assert up.run_python(TRAIN).returncode == 0
    port = int(up.url.rpartition(":")[2])
    up.stop(signal.SIGKILL)
    again = start_up(tmp_path, port=port)
    try:
        assert again.url == up.url
        assert again.api_key == up.api_key
        assert len(history(again, "train", "loss")[0]) == 500
        old = {pid for pids in up.children.values() for pid in pids}
        wait_until(lambda: not [pid for pid in old if psutil.pid_exists(pid)])
    finally:
        again.stop()
        end_shipper(tmp_path)


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_two_installations_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running_up(tmp_path / "a") as one, running_up(tmp_path / "b", "--gateways", "2") as two:
        assert len(two.children["gateway"]) == 2
        assert one.run_python(TRAIN).returncode == 0
        assert one.get("/v1/projects")["projects"]
        assert not two.get("/v1/projects")["projects"]
        two.api_key = one.api_key
        with pytest.raises(HTTPError) as caught:
            two.get("/v1/projects")
        assert caught.value.code == 401


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_clear_messages_and_down(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, running_up(tmp_path) as up:
        data = str(tmp_path / "data")
        second = cli(up, "up", "--port", "0", "--data", data)
        assert second.returncode == 1
        assert "already running" in second.stderr
        port = taken.getsockname()[1]
        refused = cli(up, "up", "--port", str(port), "--data", str(tmp_path / "other"))
        assert refused.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
        assert "--port" in refused.stderr
        stopped = cli(up, "down", "--data", data)
        assert stopped.returncode == 0, stopped.stderr
        assert up.process.wait(10) == 0
        assert "is not running" in cli(up, "down", "--data", data).stdout
        (tmp_path / "data" / "format").write_text("99")
        newer = cli(up, "up", "--port", "0", "--data", data)
        assert newer.returncode == 1
        assert "format 99" in newer.stderr


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_it_runs_below_a_path(tmp_path: Path) -> None:
    with running_up(tmp_path, "--root-path", "/team/penstock") as up:
        assert up.url.endswith("/team/penstock")
        assert up.get("/v1/viewer")["entity"] == "local"
        assert up.get("/healthz") == {"status": "ok"}
        assert up.run_python(TRAIN).returncode == 0
        assert len(history(up, "train", "loss")[0]) == 500


def metrics(up: Up) -> str:
    with urlopen(f"{up.url}/metrics", timeout=10) as reply:
        text: str = reply.read().decode()
    return text


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_metrics_cover_every_process(tmp_path: Path) -> None:
    with running_up(tmp_path, "--gateways", "2") as up:
        assert sent(up, {"project": "spine", "run": "m", "rows": [{"step": 1, "v": 1.0}]})
        committed = 'penstock_worker_points_committed_total{process="worker-0"} 1.0'
        # Counted once the commit has ended: a little after its points can be read.
        wait_until(lambda: committed in metrics(up))
        text = metrics(up)
    for line in (
        'penstock_draining{process="gateway-0"} 0.0',
        'penstock_draining{process="gateway-1"} 0.0',
    ):
        assert line in text
    queued = re.findall(r'ingest_batches_total\{process="[^"]+",outcome="queued"\} (\S+)', text)
    assert sum(map(float, queued)) == 1
