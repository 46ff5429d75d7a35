"""`python -m loadtests.unbreakable`: a training script logs 100,000 points a second while everything
around it, and at last the script itself, is killed; then the ledger.

Starts a `penstock up` of its own in a temporary folder and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
from benchmarks.stack import Stack, running

from loadtests.native import Training, check_attempts
from loadtests.trainer import TrainerPlan

__all__ = ["main"]

_PROJECT = "unbreakable"
_KEYS = 100
_CALLS_PER_S = 1_000.0
_BACK_S = 60.0


class Demo:
    """The demo, with its clock."""

    def __init__(self, stack: Stack, training: Training) -> None:
        self._stack = stack
        self._training = training
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._started:6.1f} s  {text}", flush=True)

    def play(self, pause_s: float) -> None:
        """Every fault, with a pause before each."""
        acts: list[tuple[str, Callable[[], None]]] = [
            ("kill -9 the gateway", lambda: self._kill("gateway")),
            ("kill -9 the worker", lambda: self._kill("worker")),
            ("kill -9 the store", lambda: self._kill("store")),
            ("kill -9 Redis", lambda: self._kill("redis")),
            ("kill -9 Redis and delete its folder", self._wipe),
        ]
        for what, act in acts:
            time.sleep(pause_s)
            act()
            self.say(f"{what} … new points are stored again {self._wait_stored():.1f} s later")
        time.sleep(pause_s)
        self._training.kill()
        reached = int(self._training.now.board.returned[0])
        self._training.restart(back=500)
        first = self._training.now.plan.first_step
        self.say(f"kill -9 the script at step {reached:,}; a new attempt continues from {first:,}")
        time.sleep(pause_s)

    def _pids(self, role: str) -> list[int]:
        ready = json.loads((self._stack.data.parent / "ready.json").read_text())
        return list(map(int, ready["children"][role]))

    def _kill(self, role: str) -> None:
        for pid in self._pids(role):
            os.kill(pid, signal.SIGKILL)

    def _wipe(self) -> None:
        for pid in self._pids("redis"):
            os.kill(
                pid, signal.SIGSTOP
            )  # so that it is not started again before its files are gone
            for path in (self._stack.data / "queue").iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            os.kill(pid, signal.SIGKILL)

    def _wait_stored(self) -> float:
        """Seconds until data logged from now on is in the store."""
        started = time.monotonic()
        attempt = self._training.now
        step = attempt.plan.first_step + int(attempt.board.returned[0])
        path = f"/v1/runs/local/{_PROJECT}/{attempt.plan.run_names[0]}"
        headers = {"Authorization": f"Bearer {self._stack.api_key}"}
        request = Request(self._stack.url + path, headers=headers)  # noqa: S310 (our own server)
        while time.monotonic() < started + _BACK_S:
            # While parts are away, there may be no answer, or a late one.
            with suppress(OSError, ValueError), urlopen(request, timeout=5) as reply:  # noqa: S310
                if (json.loads(reply.read()).get("last_step") or 0) > step:
                    return time.monotonic() - started
            time.sleep(0.05)
        raise RuntimeError(f"nothing was stored for {_BACK_S:.0f} s")


def _latencies(training: Training) -> str:
    took = np.concatenate([attempt.board.took_ns for attempt in training.attempts])
    took_us = took[took > 0] / 1e3
    shown = ", ".join(
        f"p{name} {np.percentile(took_us, quantile):,.1f}"
        for name, quantile in (("50", 50), ("99", 99), ("99.9", 99.9))
    )
    return f"log() of {_KEYS} values, {len(took_us):,} calls: {shown}, max {took_us.max():,.0f} µs"


def _verify(stack: Stack, root: Path, run: str) -> bool | None:
    """The output of `penstock verify`; None if this Penstock has no such command."""
    command = [sys.executable, "-m", "penstock.cli", "verify"]
    asked = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60)
    if asked.returncode:
        return None
    environ = {
        **os.environ,
        "PENSTOCK_BASE_URL": stack.url,
        "PENSTOCK_API_KEY": stack.api_key,
        "PENSTOCK_DIR": str(root),
    }
    print(f"\n$ penstock verify {run}", flush=True)
    return subprocess.run([*command, run], env=environ, timeout=300).returncode == 0


def main() -> int:
    """Run the demo once. Returns 0 if nothing is missing, duplicated or altered."""
    parser = argparse.ArgumentParser(prog="loadtests.unbreakable", description=__doc__)
    parser.add_argument(
        "--pause", type=float, default=8.0, help="seconds of calm before each fault"
    )
    options = parser.parse_args()
    plan = TrainerPlan(_PROJECT, runs=1, keys=_KEYS, calls_per_s=_CALLS_PER_S, seed=7)
    with running() as stack, tempfile.TemporaryDirectory(prefix="penstock-demo-") as name:
        folder = Path(name)
        root = folder / "spool"
        root.mkdir(mode=0o700)
        training = Training(folder, root, plan, stack.url, stack.api_key)
        demo = Demo(stack, training)
        try:
            training.start()
            demo.say(
                f"a training script logs {_KEYS * _CALLS_PER_S:,.0f} points a second to {stack.url}"
            )
            demo.play(options.pause)
            training.stop()
            training.wait_stored()
            demo.say(f"the script is finished: {training.points:,} points, all of them stored")
            print(f"\n{_latencies(training)}")
            found = asyncio.run(check_attempts(stack.store_url, stack.store_token, [training]))
            print(f"ledger: {found}")
            verified = _verify(stack, root, f"local/{_PROJECT}/{plan.run_names[0]}")
        finally:
            training.end()
    return 0 if found.is_clean and verified is not False else 1


if __name__ == "__main__":
    sys.exit(main())
