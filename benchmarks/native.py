"""P1, P2, P4: what logging costs the training process, and how fast one process gets through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.report import Row
from benchmarks.stack import Stack, running

__all__ = ["cpu_rows", "end_to_end_rows", "log_rows", "logged_by_one_client"]

_TARGETS_US = {"log 10": 2.0, "log 1000": 45.0}
_MOST_TIMES_FLOOR = 5.0

# Logs for a while, waits until all of it is committed, prints points per second.
_SCRIPT = """
import sys, time, penstock
keys, seconds = int(sys.argv[1]), float(sys.argv[2])
run = penstock.init(project="bench")
rows = [{f"group{i % 7}/metric{i}": (i + j) / 3 for i in range(keys)} for j in range(64)]
begun, calls = time.perf_counter(), 0
while time.perf_counter() - begun < seconds:
    for row in rows:
        run.log(row)
    calls += len(rows)
logged = time.perf_counter() - begun
run.finish()
took = time.perf_counter() - begun
print(calls, logged, took, run.id)
"""


def log_rows(seconds: float) -> Iterator[Row]:
    """P1: log(), alternating in one loop with a dict copy appended to a list."""
    for each in _measured(seconds):
        name = str(each["what"])
        if not name.startswith("log "):
            continue
        target = _TARGETS_US.get(name)
        meets = None if target is None else each["p50_us"] <= target
        yield Row(
            "P1",
            f"{name} floats" if " at " not in name else name,
            f"p50 {each['p50_us']} µs, p99 {each['p99_us']} µs",
            ""
            if target is None
            else f"p50 ≤ {target:.0f} µs; aim: ≤ {_MOST_TIMES_FLOOR:.0f} x floor",
            f"dict copy p50 {each['floor_p50_us']}, p99 {each['floor_p99_us']} µs: "
            f"{each['ratio_p50']} x, {each['ratio_p99']} x",
            meets,
        )


def cpu_rows(seconds: float) -> Iterator[Row]:
    """P2, and the client's other costs: start, end, memory."""
    for each in _measured(seconds):
        name = str(each["what"])
        if name.startswith("cpu"):
            cost = each["us_per_point"]
            yield Row("P2", f"{name}, all threads", f"{cost} µs/point", "≤ 0.1", "", cost <= 0.1)
        elif name in ("import", "init", "finish"):
            limit = {"import": 60, "init": 100, "finish": 1000}[name]
            cost = each["median_ms"]
            yield Row("P11", name, f"{cost} ms", f"≤ {limit} ms", "", cost <= limit)
        elif name.startswith("memory"):
            cost = each["rss_mib"]
            yield Row("P10", name, f"{cost} MiB", "≤ 40 MiB", "", cost <= 40)


def end_to_end_rows(seconds: float) -> Iterator[Row]:
    """P4: one process through spool, shipper, gateway, queue and worker until committed."""
    for keys in (10, 100, 1_000):
        with running() as stack:
            calls, logged, rate = logged_by_one_client(stack, keys, min(seconds, 5.0))
        yield Row(
            "P4",
            f"one native client, {keys:,} keys per call, {calls * keys:,} points",
            f"{rate / 1e6:.2f} M points/s",
            "≥ 2 M points/s" if keys == 1_000 else "",
            f"log() alone {logged / 1e6:.1f} M points/s",
            rate >= 2e6 if keys == 1_000 else None,
        )


def logged_by_one_client(
    stack: Stack, keys: int, seconds: float, settings: Mapping[str, str] | None = None
) -> tuple[int, float, float]:
    """Calls of log(), points per second that they took in, and points per second until all is committed."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as spool:
        environ = {
            **os.environ,
            "PENSTOCK_BASE_URL": stack.url,
            "PENSTOCK_API_KEY": stack.api_key,
            "PENSTOCK_DIR": spool,
            "PENSTOCK_SPOOL_LIMIT_BYTES": str(16 << 30),
            "PENSTOCK_SILENT": "1",
            **(settings or {}),
        }
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(keys), str(seconds)],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    calls, logged_s, took_s, _ = done.stdout.split()
    points = int(calls) * keys
    return int(calls), points / float(logged_s), points / float(took_s)


@cache
def _measured(seconds: float) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "client.json"
        quick = ["--quick"] if seconds < 10 else []
        script = Path(__file__).parent / "client_log.py"
        command = [sys.executable, str(script), "--json", str(path), *quick]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        content = json.loads(path.read_text())
    found: list[dict[str, Any]] = content["results"] if isinstance(content, dict) else content
    return found
