"""A whole Penstock for a benchmark: the real `penstock up` in a temporary folder on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Stack", "running"]

_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Stack:
    """A running installation."""

    url: str
    api_key: str
    data: Path
    children: dict[str, list[int]]
    pid: int

    @property
    def store_url(self) -> str:
        return f"unix://{self.data / 'run' / 'store.sock'}"

    @property
    def store_token(self) -> str:
        return (self.data / "secrets" / "store_token").read_text()

    @property
    def redis_url(self) -> str:
        return f"unix://{self.data / 'run' / 'redis.sock'}"

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time of each role so far."""
        return {
            role: sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
            for role, pids in self.children.items()
        }

    def pss_bytes(self) -> int:
        """Memory of all processes, shared pages counted once."""
        pids = [self.pid, *(pid for pids in self.children.values() for pid in pids)]
        return sum(psutil.Process(pid).memory_full_info().pss for pid in pids)


@contextmanager
def running(
    *, gateways: int = 1, workers: int = 1, settings: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Start a fresh installation; stop it and remove its data at the end."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        ready = Path(folder) / "ready.json"
        data = Path(folder) / "data"
        environ = {**os.environ, "XDG_CONFIG_HOME": f"{folder}/config", **(settings or {})}
        command = [
            sys.executable, "-m", "penstock.cli", "up", "--port", "0", "--data", str(data),
            "--gateways", str(gateways), "--workers", str(workers), "--ready-file", str(ready),
        ]  # fmt: skip
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
        try:
            _wait(ready, process)
            content = json.loads(ready.read_text())
            yield Stack(
                content["url"], content["api_key"], data, content["children"], content["pid"]
            )
        finally:
            process.terminate()
            process.wait(20)


def _wait(ready: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("penstock up did not become ready")
        time.sleep(0.01)
