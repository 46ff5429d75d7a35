"""The cost of system metrics on a machine: `python -m benchmarks.sampler [SECONDS]`.

Runs that log nothing are open, and a sampler serves them at the default interval: its CPU time as a share of a
core, and its memory, for 1, 64 and 1,000 runs of one process. CPU times are not disturbed by other work as
wall times are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from penstock.system.launch import FOLDER

_RUNS = (1, 64, 1_000)
_SETTLE_S, _SETTLE_PER_RUN_S, _MAX_SERVED = 5.0, 1.5, 64
"""Until each run that is served has its first rows."""
_HOLD = """
import sys, penstock
runs = [penstock.init(project="p", id=f"r{n}", reinit="create_new", mode="offline") for n in range(int(sys.argv[1]))]
print("ready", flush=True)
sys.stdin.read()
"""


def measure(runs: int, seconds: float) -> dict[str, float]:
    """Of one sampler with this many runs."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ, "PENSTOCK_DIR": folder, "PENSTOCK_SILENT": "1",
            "PENSTOCK_SYSTEM_METRICS": "on",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(runs)],
            env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        sampler = _sampler(Path(folder))
        time.sleep(_SETTLE_S + _SETTLE_PER_RUN_S * min(runs, _MAX_SERVED))
        before = sum(sampler.cpu_times()[:2])
        time.sleep(seconds)
        cores = (sum(sampler.cpu_times()[:2]) - before) / seconds
        memory_mb = sampler.memory_full_info().pss / 2**20
        process.communicate(b"")
        sampler.terminate()
        sampler.wait()
    return {"runs": runs, "cores": round(cores, 5), "pss_mb": round(memory_mb, 1)}


def _sampler(root: Path) -> psutil.Process:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for lock in (root / FOLDER).glob("*.lock"):
            if text := lock.read_text():
                return psutil.Process(int(text))
        time.sleep(0.1)
    raise SystemExit("no sampler was started")


if __name__ == "__main__":
    for count in _RUNS:
        sys.stdout.write(
            json.dumps(measure(count, float(sys.argv[1] if sys.argv[1:] else 60))) + "\n"
        )
        sys.stdout.flush()
