"""Makes a data folder with runs whose writers and edits were ordered by their machines' clocks.

    PYTHONPATH=tests python tests/upgrade/make_attempts.py

Run it with the last version that did so (catalog revision 0009), installed with its extras `server` and
`dev`. It writes `tests/upgrade/attempts.tar.xz`: `data/` (stopped), `spool/` (of an offline run that was
never sent) and `expected.json`, what `test_upgrade_attempts.py` looks for. Not a test, and not run by any.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from support.up import Up, end_shipper, running_up, wait_until
from upgrade.make_folder import HERE, kept

from penstock.wire import CONTENT_TYPE, Batch, Frame, encode_batch, join_batches

HOUR_US = 3_600_000_000

OFFLINE = """
import penstock
run = penstock.init(project="old", id="offline", mode="offline", config={"lr": 0.1})
for step in range(20):
    run.log({"a": 3.0}, step=step)
run.finish()
"""

EDIT = """
import wandb
run = wandb.Api().run("local/old/frozen")
run.config["c"] = 1
run.summary["a"] = -1.0
run.update()
"""


def log(
    up: Up, run: str, writer: str, steps: range, value: float, *, seq: int = 1, started: int
) -> None:
    """Send `a` at these steps as a client of that version does: it says neither how it takes up the run
    nor how long ago it began."""
    times = np.full(len(steps), started, "<i8").tobytes()
    values = np.full(len(steps), value, "<f8").tobytes()
    frame = Frame(["a"], np.array(steps, "<i8").tobytes(), times, values)
    batch = Batch(
        project="old", run=run, writer=writer, seq=seq, writer_started=started, frames=[frame]
    )
    body = join_batches([encode_batch(batch)])
    headers = {"Content-Type": CONTENT_TYPE, "Authorization": f"Bearer {up.api_key}"}
    urlopen(Request(f"{up.url}/v1/batches", body, headers, method="POST"), timeout=10).close()


def summary(up: Up, run: str) -> dict[str, Any]:
    found: dict[str, Any] = up.get(f"/v1/runs/local/old/{run}")["summary"]
    return found


def rows(up: Up, run: str) -> list[list[Any]]:
    """[step, a] of each row of the history."""
    code = (
        f"import json, penstock; run = penstock.Api().run('local/old/{run}'); "
        "print(json.dumps([(row['_step'], row['a']) for row in run.scan_history()]))"
    )
    done = up.run_python(code)
    assert done.returncode == 0, done.stderr
    found: list[list[Any]] = json.loads(done.stdout)
    return found


def is_stored(up: Up, run: str, step: int) -> bool:
    try:
        return bool(rows(up, run)[-1][0] == step)
    except (AssertionError, IndexError):
        return False


def fill(up: Up) -> dict[str, Any]:
    """Attempts, a run that an edit froze, and one whose clock was ahead; returns what is shown."""
    now = time.time_ns() // 1000
    log(up, "attempts", "w1", range(100), 1.0, started=now - HOUR_US)
    log(up, "attempts", "w2", range(50, 150), 2.0, started=now)
    log(up, "frozen", "w1", range(50), 1.0, started=now)
    log(up, "ahead", "w1", range(50), 1.0, started=now + HOUR_US)
    for run, last in (("attempts", 149), ("frozen", 49), ("ahead", 49)):
        wait_until(lambda run=run, last=last: is_stored(up, run, last), 60)  # type: ignore[misc]
    up.run_python(EDIT, WANDB_BASE_URL=up.url, WANDB_API_KEY=up.api_key).check_returncode()
    log(up, "frozen", "w1", range(50, 100), 2.0, seq=2, started=now)
    wait_until(lambda: is_stored(up, "frozen", 99), 60)
    up.run_python(OFFLINE).check_returncode()
    runs = ("attempts", "frozen", "ahead")
    return {
        "now": now,
        "rows": {run: rows(up, run) for run in runs},
        "summary": {run: summary(up, run) for run in runs},
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        with running_up(folder) as up:
            expected = fill(up)
            end_shipper(folder)
        (folder / "expected.json").write_text(json.dumps(expected))
        with tarfile.open(HERE / "attempts.tar.xz", "w:xz", preset=9) as archive:
            for part in ("data", "spool", "expected.json"):
                archive.add(folder / part, part, filter=kept)


if __name__ == "__main__":
    main()
