"""`python -m loadtests`: one shape of load, headless, and then its ledger.

Without `--host` it starts a fresh `penstock up`. Exits with 1 if an acknowledged batch is missing,
duplicated or altered, or if a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import ledger
from benchmarks.generate import WriterPlan
from benchmarks.stack import Stack, running

from loadtests import remote
from loadtests.shapes import SHAPES, Kind, load_shape

_DRAIN_S = 60.0
_STOP_S = 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes; `stack` is the server started for it, if any. `processes` of locust send it
    together, one if 0."""

    url: str
    api_key: str
    stack: Stack | None
    processes: int = 0


def main() -> int:
    """Run the shapes one after another."""
    parser = argparse.ArgumentParser(prog="loadtests", description=__doc__)
    parser.add_argument("--shape", default="steady", help=f"{', '.join(SHAPES)}, or all")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each shape")
    parser.add_argument(
        "--host", default="", help="a server that runs already; its key is PENSTOCK_API_KEY"
    )
    parser.add_argument(
        "--processes", type=int, default=0, help="locust workers that share the load"
    )
    arguments = parser.parse_args()
    is_good = True
    for name in shape_names(parser, arguments.shape):
        with _target(arguments.host, arguments.processes) as target:
            is_good &= run_shape(name, arguments.seconds, target)
    return 0 if is_good else 1


def shape_names(parser: argparse.ArgumentParser, wanted: str) -> list[str]:
    """The shapes that an argument names; one that there is not ends the process."""
    names = list(SHAPES) if wanted == "all" else [wanted]
    if unknown := [name for name in names if name not in SHAPES]:
        parser.error(f"there is no shape {unknown[0]!r}; there are {', '.join(SHAPES)}")
    return names


@contextmanager
def _target(host: str, processes: int) -> Iterator[Target]:
    if host:
        # From the environment: arguments are seen by everyone on the machine.
        yield Target(host.rstrip("/"), os.environ.get("PENSTOCK_API_KEY", ""), None, processes)
        return
    with running() as stack:
        yield Target(stack.url, stack.api_key, stack, processes)


def run_shape(name: str, seconds: float, target: Target) -> bool:
    """Run one shape and print its figures; False if a point is missing, duplicated or altered, or a request
    failed."""
    suffix = f"-{secrets.token_hex(3)}"
    shape = load_shape(name, suffix)
    print(f"\n{name}: {shape.text}, {seconds:.0f} s", flush=True)
    found = _locust(name, suffix, seconds, target)
    failures = _show_requests(found["requests"])
    for error in found["errors"]:
        print(f"  {error}")
    refused = sum(each["refused"] for each in found["writers"])
    is_clean, points = True, 0
    for kind in shape.kinds:
        sent = asyncio.run(_settled(kind, found["writers"], target))
        result = _check(kind, sent, target)
        points += sum(sent.values()) * kind.batch.points
        is_clean &= result.is_clean
        print(f"  ledger, {kind.name}: {result}")
    print(f"  {points / seconds:,.0f} points/s acknowledged; {refused} requests asked to wait")
    if target.processes:
        print(f"  sent by {len(found['processes'])} locust workers")
        is_clean &= len(found["processes"]) == target.processes
    if not found["writers"]:
        print("  nothing was sent")
    return is_clean and not failures and bool(found["writers"])


def _show_requests(requests: list[dict[str, Any]]) -> int:
    """Print the figures of each kind of request, of all processes; returns the number of failures."""
    failures = 0
    for name in sorted({each["name"] for each in requests}):
        same = [each for each in requests if each["name"] == name]
        took_ms = np.concatenate([each["took_ms"] for each in same])
        failed = sum(each["failures"] for each in same)
        p50_ms, p99_ms = np.percentile(took_ms, (50, 99))
        print(
            f"  {name:<24} {len(took_ms):>8,} requests, {failed} failed, "
            f"p50 {p50_ms:.0f} ms, p99 {p99_ms:.0f} ms"
        )
        failures += failed
    return failures


def _locust(name: str, suffix: str, seconds: float, target: Target) -> dict[str, Any]:
    """Run locust in a separate process: it patches the standard library."""
    with tempfile.TemporaryDirectory(prefix="penstock-load-") as folder:
        environ = {
            **os.environ,
            "LOAD_SHAPE": name,
            "LOAD_SUFFIX": suffix,
            "LOAD_SECONDS": str(seconds),
            "LOAD_API_KEY": target.api_key,
            "LOAD_LEDGER": folder,
        }
        command = [
            sys.executable, "-m", "locust", "-f", str(Path(__file__).parent / "locustfile.py"),
            "--headless", "--host", target.url, "--stop-timeout", str(_STOP_S),
            "--loglevel", "WARNING", "--exit-code-on-error", "0",
            *(["--processes", str(target.processes)] if target.processes else []),
        ]  # fmt: skip
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=seconds + 120
        )
        if done.returncode:
            raise RuntimeError(f"locust ended with {done.returncode}: {done.stderr[-2000:]}")
        found: dict[str, Any] = {"writers": [], "requests": [], "errors": [], "processes": []}
        for path in Path(folder).glob("*.json"):
            for part, rows in json.loads(path.read_text()).items():
                found[part] += rows
    return found


async def _settled(
    kind: Kind, writers: list[dict[str, Any]], target: Target
) -> dict[WriterPlan, int]:
    """The batches that each writer of this kind has sent, once all are committed. A batch that was never
    answered is sent again here: it may or may not have been queued before; now it is, once."""
    sent = {
        WriterPlan(each["run"], 0): each["attempted"]
        for each in writers
        if each["kind"] == kind.name and each["attempted"]
    }
    unsure = {
        WriterPlan(each["run"], 0)
        for each in writers
        if each["kind"] == kind.name and each["attempted"] > each["acknowledged"]
    }
    async with remote.Server(target.url, target.api_key) as server:
        for plan in unsure:
            await server.send(kind, plan, sent[plan])
        async with asyncio.timeout(_DRAIN_S):
            for plan, seq in sent.items():
                await server.committed(kind, plan, seq)
    return sent


def _check(kind: Kind, sent: dict[WriterPlan, int], target: Target) -> ledger.Ledger:
    stack = target.stack
    if stack is None:
        return asyncio.run(remote.check(target.url, target.api_key, kind, sent))
    found = ledger.check(stack.store_url, stack.store_token, kind.batch, sent, kind.project)
    return asyncio.run(found)


if __name__ == "__main__":
    sys.exit(main())
