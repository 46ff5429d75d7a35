"""P15 for Trackio and TensorBoard, each with its own client and server, in an environment of their own.

The environment, `build/peers`, is made at the first run; without it the rows are left out, with a line
that says so.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from benchmarks.light_load import SETTLE_S, Load
from benchmarks.report import Row

__all__ = ["peer_rows"]

_HOME = Path(__file__).parents[1] / "build" / "peers"
_PACKAGES = ("trackio==0.43.0", "tensorboard==2.21.0", "tensorboardX==2.6.5", "setuptools<81")
_START_S = 60.0

# As our own training process: a row of `keys` keys at `rate` per second until its input is closed.
_LOOP = """
print("ready", flush=True)
begun, calls = time.monotonic(), 0
while not select.select([sys.stdin], [], [], max(0, begun + calls / rate - time.monotonic()))[0]:
    calls += 1
    log(calls)
"""
_TRACKIO = (
    """
import select, sys, time, trackio
name, keys, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
trackio.init(project="light", name=name, auto_log_gpu=False)
row = {f"metric{i}": i / 3 for i in range(keys)}
log = lambda step: trackio.log(row)
"""
    + _LOOP
    + "trackio.finish()\n"
)
_TENSORBOARD = (
    """
import os, select, sys, time
from tensorboardX import SummaryWriter
name, keys, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
writer = SummaryWriter(os.path.join(os.environ["LOGDIR"], name))
names = [f"metric{i}" for i in range(keys)]
def log(step):
    for i, name in enumerate(names):
        writer.add_scalar(name, i / 3, step)
"""
    + _LOOP
    + "writer.close()\n"
)


@dataclass(frozen=True, slots=True)
class _Peer:
    name: str
    script: str
    server: Sequence[str]


_PEERS = (
    _Peer("Trackio", _TRACKIO, ("trackio", "show", "--project", "light")),
    _Peer("TensorBoard", _TENSORBOARD, ("tensorboard", "--logdir", "{folder}", "--port", "{port}")),
)


def peer_rows(loads: Sequence[Load], seconds: float) -> Iterator[Row]:
    """The peers idle and under the same loads; nothing if they cannot be installed."""
    if problem := _installed():
        print(f"  P15  Trackio and TensorBoard: skipped, {problem}")
        return
    for peer in _PEERS:
        for load in (None, *loads):
            try:
                yield _measured(peer, load, seconds)
            except (RuntimeError, OSError, psutil.Error) as error:
                print(f"  P15  {peer.name}: {error}")


def _installed() -> str:
    """Install the peers if need be; returns why that is not possible, or ''."""
    stamp = _HOME / "ready"
    if stamp.exists() and stamp.read_text() == repr(_PACKAGES):
        return ""
    venv.create(_HOME, with_pip=True, clear=True)
    command = [str(_HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", *_PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(_HOME, ignore_errors=True)
        return f"they cannot be installed: {done.stderr.strip().splitlines()[-1]}"
    stamp.write_text(repr(_PACKAGES))
    return ""


def _measured(peer: _Peer, load: Load | None, seconds: float) -> Row:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environ = {
            **os.environ,
            "HOME": folder,
            "LOGDIR": folder,
            "TRACKIO_DIR": folder,
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
        }
        with _running(peer, folder, environ) as server, _clients(peer, load, environ) as clients:
            time.sleep(SETTLE_S)
            before, started = [_cpu(server), sum(map(_cpu, clients))], time.monotonic()
            time.sleep(seconds)
            took_s = time.monotonic() - started
            used = [
                (now - then) / took_s
                for now, then in zip([_cpu(server), sum(map(_cpu, clients))], before, strict=True)
            ]
            pss = sum(each.memory_full_info().pss for each in _family(server)) / 2**20
    total = sum(used)
    per_point = f", {total / load.points_per_s * 1e6:.1f} µs/point" if load else ""
    return Row(
        "P15",
        f"{peer.name}: {load.name if load else 'idle'} (client {used[1]:.4f}, server {used[0]:.4f},"
        f" {pss:.0f} MiB)",
        f"{total:.4f} cores{per_point}",
    )


@contextmanager
def _running(peer: _Peer, folder: str, environ: dict[str, str]) -> Iterator[psutil.Process]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [each.format(folder=folder, port=port) for each in peer.server]
    own = {**environ, "GRADIO_SERVER_PORT": str(port), "BROWSER": "true"}
    process = subprocess.Popen(
        [str(_HOME / "bin" / command[0]), *command[1:]],
        env=own,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("its server did not become ready")


@contextmanager
def _clients(
    peer: _Peer, load: Load | None, environ: dict[str, str]
) -> Iterator[list[psutil.Process]]:
    processes = []
    pipe = subprocess.PIPE
    for number in range(load.runs if load else 0):
        assert load is not None
        arguments = [f"run-{number}", str(load.keys), str(load.rate)]
        command = [str(_HOME / "bin" / "python"), "-c", peer.script, *arguments]
        processes.append(
            subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, stderr=sys.stderr)
        )
    try:
        for process in processes:
            assert process.stdout is not None
            while b"ready" not in (line := process.stdout.readline()):
                if not line:
                    raise RuntimeError("its client did not start")
        yield [psutil.Process(process.pid) for process in processes]
    finally:
        for process in processes:
            process.communicate(timeout=60)


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in _family(process))
