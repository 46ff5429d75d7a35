"""What the native client says of itself reaches the servers' metrics: drops, retries, spool, version."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.up import Up, running_up, wait_until

from penstock_common.process.metrics import VERSION

# Logs much more than the spool may hold, with its shipper held still, so that most is dropped.
OVERFULL = """
import os, penstock as wandb
run = wandb.init(project="reports", id="overfull")
row = {f"k{i}": float(i) for i in range(1000)}
for _ in range(3000):
    run.log(row)
run.finish()
"""

# Goes on logging until a file is there: long enough for its queue to fall silent and come back.
PATIENT = """
import pathlib, sys, time, penstock as wandb
run = wandb.init(project="reports", id="patient")
step = 0
while not pathlib.Path(DONE).exists():
    run.log({"x": float(step)})
    step += 1
    time.sleep(0.02)
run.finish()
"""


REFUSED = "penstock_ingest_batches_total"


def total(up: Up, name: str, **labels: str) -> float:
    with urlopen(f"{up.url}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_dropped_rows_are_counted_once(tmp_path: Path) -> None:
    with running_up(tmp_path, "--gateways", "2") as up:
        done = up.run_python(OVERFULL, PENSTOCK_SPOOL_LIMIT_BYTES=str(2**22))
        assert done.returncode == 0, done.stderr
        dropped = int(done.stderr.split(" logged rows were dropped in total")[0].split()[-1])
        assert dropped > 0
        wait_until(lambda: total(up, "penstock_client_rows_dropped_total") > 0)
        assert total(up, "penstock_client_rows_dropped_total") == dropped
        assert total(up, "penstock_client_version_batches_total", version=VERSION) > 0
        assert total(up, "penstock_client_version_batches_total", version="other") == 0
        assert total(up, "penstock_client_spool_bytes") > 0


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_retries_are_counted_when_the_queue_was_silent(tmp_path: Path) -> None:
    finish = tmp_path / "done"
    with running_up(tmp_path) as up:
        assert total(up, "penstock_client_retries_total") == 0
        process = up.start_python(PATIENT.replace("DONE", repr(str(finish))))
        (queue,) = up.children["redis"]
        try:
            wait_until(lambda: total(up, "penstock_client_version_batches_total") > 0)
            os.kill(queue, signal.SIGSTOP)
            wait_until(lambda: total(up, REFUSED, outcome="queue_error") > 0)
            os.kill(queue, signal.SIGCONT)
            wait_until(lambda: total(up, "penstock_client_retries_total") > 0)
            finish.touch()
            assert process.wait(30) == 0
        finally:
            os.kill(queue, signal.SIGCONT)
            process.kill()
            process.wait()
