"""Makes a data folder as a version leaves it when it has met what it cannot process.

    PYTHONPATH=tests python tests/upgrade/make_folder.py 0.1.0

Run it with the version that is to be upgraded from, installed with its extras `server` and `dev`. It
writes `tests/upgrade/<version>.tar.xz`: `data/` (stopped), `spool/` (of a client that could not get rid
of its batches) and `expected.json`, what `test_upgrade.py` looks for. Not a test, and not run by any.
"""

from __future__ import annotations

import itertools
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from support.up import Up, end_shipper, running_up, wait_until

from penstock_common.queue.redis_keys import run_path, shard_of

HERE = Path(__file__).parent
LONG_LIST = 100_001
"""One more than 0.1.0's worker decodes, though its doors take it."""
LETTERS = 25
"""More dead letters in a row than 0.1.0 allows in a shard before it stops it."""

EDITED = """
import os, time, penstock, wandb
run = penstock.init(project="upgrade", id="edited", config={"lr": 0.1})
for step in range(50):
    run.log({"x": float(step)}, step=step)
api = wandb.Api()
while True:
    try:
        seen = api.run("local/upgrade/edited")
        if seen.summary.get("x") == 49.0:
            break
    except Exception:
        pass
    time.sleep(0.1)
seen.config["c"] = 1
seen.summary["x"] = -1.0
seen.update()
for step in range(50, 100):
    run.log({"x": float(step)}, step=step)
run.finish()
"""

REFUSED = f"""
import penstock
run = penstock.init(project="upgrade", id="refused", config={{"lr": 0.5}})
run.config["classes"] = [0] * {LONG_LIST}
for step in range(100):
    run.log({{"loss": 1 / (step + 1)}}, step=step)
run.finish()
"""


def runs_on(shard: int, project: str, prefix: str) -> Any:
    """Names of runs whose batches lie in this shard."""
    names = (f"{prefix}{number}" for number in itertools.count())
    return (name for name in names if shard_of(run_path("local", project, name)) == shard)


def post(up: Up, project: str, run: str, **fields: Any) -> None:
    up.post("/v1/batches", {"project": project, "run": run, **fields})


def dead_letters(folder: Path, up: Up) -> int:
    """How many there are."""
    arguments = ["dead", "list", "--data", str(folder / "data")]
    done = up.run_python(f"import sys\nfrom penstock.cli import main\nsys.exit(main({arguments}))")
    return sum("local/" in line for line in done.stdout.splitlines())


def is_stored(up: Up, project: str, run: str, key: str) -> bool:
    try:
        return bool(up.get(f"/v1/runs/local/{project}/{run}")["summary"].get(key) is not None)
    except (OSError, KeyError):
        return False


def fill(folder: Path, up: Up) -> dict[str, Any]:
    """Everything that an upgrade must find again; returns what to expect."""
    stopped = shard_of(run_path("local", "poison", "p0"))
    rows = [{"step": step, "loss": 1 / (step + 1)} for step in range(200)]
    before, behind = itertools.islice(runs_on(stopped, "honest", "h"), 2)
    post(up, "honest", before, rows=rows, config={"lr": 0.1})
    wait_until(lambda: is_stored(up, "honest", before, "loss"), 60)
    elsewhere = next(runs_on((stopped + 1) % 16, "poison", "q"))
    for number in range(LETTERS):
        post(up, "poison", "p0", config={f"classes{number}": [number] * LONG_LIST})
    for number in range(2):
        post(up, "poison", elsewhere, config={f"classes{number}": [number] * LONG_LIST})
    wait_until(lambda: dead_letters(folder, up) >= 22, 120)
    post(up, "honest", behind, rows=rows, config={"lr": 0.2})
    up.run_python(EDITED, WANDB_BASE_URL=up.url, WANDB_API_KEY=up.api_key).check_returncode()
    up.run_python(REFUSED).check_returncode()
    return {
        "honest": {before: rows, behind: rows},
        "poison": {"p0": LETTERS, elsewhere: 2},
        "long_list": LONG_LIST,
        "letters": dead_letters(folder, up),
        "frozen": up.get("/v1/runs/local/upgrade/edited")["summary"],
    }


def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What matters after a stop."""
    is_left = member.name.startswith(("data/logs/", "data/run/", "spool/shipper."))
    return None if is_left or not (member.isfile() or member.isdir()) else member


def main() -> None:
    version = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        with running_up(folder) as up:
            expected = fill(folder, up)
            end_shipper(folder)
        (folder / "expected.json").write_text(json.dumps(expected))
        with tarfile.open(HERE / f"{version}.tar.xz", "w:xz", preset=9) as archive:
            for part in ("data", "spool", "expected.json"):
                archive.add(folder / part, part, filter=kept)


if __name__ == "__main__":
    main()
