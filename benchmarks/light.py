"""P15: what everyday use costs: processor time by role, disk, memory, and how soon a point is readable.

Each row is one load on a fresh installation with its default settings, measured after it has settled.
The peers do the same, each with its own client and server: see `light_peers`.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.fresh import watch
from benchmarks.light_load import LOADS, SETTLE_S, Load
from benchmarks.light_page import open_page
from benchmarks.light_peers import peer_rows
from benchmarks.report import Row
from benchmarks.spools import shipper_of, spool_folder
from benchmarks.stack import Stack, running

__all__ = ["cpu_seconds", "disk_bytes", "files_below", "rows", "training"]

_SHORT_RUNS, _SHORT_STEPS, _SHORT_KEYS = 200, 500, 10
_MERGE_S = 60.0
_LEFT_ALONE_S = 60.0
"""Until what is done after a start is done."""
_UNSEEN_S = 40.0
"""Until nobody counts as reading any more."""

# One training process, until its input is closed: a row of `keys` keys at `rate` per second.
_TRAINING = """
import select, sys, time, penstock
name, keys, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
run = penstock.init(project="light", id=name)
row = {f"metric{i}": i / 3 for i in range(keys - 1)}
print("ready", flush=True)
begun, calls = time.monotonic(), 0
while not select.select([sys.stdin], [], [], max(0, begun + calls / rate - time.monotonic()))[0]:
    calls += 1
    run.log({**row, "logged_at": time.time()})
print(calls, flush=True)
run.finish()
"""

_IDLE_RUNS = """
import os, sys, penstock
runs = [penstock.init(project="light", id=f"idle-{i}", reinit="create_new") for i in range(int(sys.argv[1]))]
for run in runs:
    run.log({"loss": 1.0})
print("ready", flush=True)
sys.stdin.read()
os._exit(0)
"""

_SHORT = """
import sys, penstock
runs, steps, keys = map(int, sys.argv[1:])
for number in range(runs):
    run = penstock.init(project="light", id=f"short-{number}")
    for step in range(steps):
        run.log({f"metric{i}": (number * 7919 + step * 31 + i) % 997 / 997 for i in range(keys)})
    run.finish()
"""


def rows(seconds: float) -> Iterator[Row]:
    """Idle, paced loads, idle runs, readers, short runs; then the peers."""
    yield _idle(seconds)
    for load in LOADS:
        yield _paced(load, seconds)
    yield _idle_runs(seconds)
    yield from _read(seconds)
    yield from _open_page(seconds)
    yield _short_runs()
    yield from peer_rows(LOADS, seconds)


def _idle(seconds: float) -> Row:
    with running() as stack:
        time.sleep(_LEFT_ALONE_S)
        used, pss = _measured(stack, seconds), stack.pss_bytes() / 2**20
        total = sum(used.values())
    return Row(
        "P15",
        f"idle `penstock up` ({_split(used)}; {pss:.0f} MiB PSS)",
        f"{total:.4f} cores",
        "≤ 0.015 cores, ≤ 430 MiB",
        "",
        total <= 0.015 and pss <= 430,
    )


def _paced(load: Load, seconds: float) -> Row:
    with running() as stack, spool_folder() as spool:
        time.sleep(SETTLE_S)
        size = disk_bytes(stack.data)
        with training(stack, load, spool) as clients:
            time.sleep(SETTLE_S)
            used = _measured(stack, seconds, clients)
        client = used.pop("client")
        total = sum(used.values())
        grown = disk_bytes(stack.data) - size
    each = total / load.points_per_s * 1e6
    return Row(
        "P15",
        f"{load.name} ({_split(used)}; client and shipper {client:.4f})",
        f"{total:.4f} cores, {each:.1f} µs/point",
        f"≤ {load.target} cores" if load.target else "",
        f"{grown / 2**20:.1f} MiB more on disk, all files, before merges",
        total <= load.target if load.target else None,
    )


def _idle_runs(seconds: float) -> Row:
    with running() as stack, spool_folder() as spool:
        command = [sys.executable, "-c", _IDLE_RUNS, "1000"]
        with _process(command, _environ(stack, spool)) as client:
            time.sleep(5 * SETTLE_S)
            used = _measured(stack, seconds, [client.pid, shipper_of(spool)])
    clients = used.pop("client")
    return Row(
        "P15",
        f"1,000 idle open runs of one process ({_split(used)}; client and shipper {clients:.4f})",
        f"{sum(used.values()):.4f} cores",
    )


def _read(seconds: float) -> Iterator[Row]:
    load = LOADS[1]
    with (
        running() as stack,
        spool_folder() as spool,
        training(stack, load, spool),
    ):
        time.sleep(SETTLE_S)
        found = sorted(watch(stack, "light", ["run-0"], 1 / load.rate, seconds))
    p50, p95 = statistics.median(found), found[int(0.95 * (len(found) - 1))]
    yield Row(
        "P15",
        f"log() to readable while somebody reads, {load.name}",
        f"p50 {p50:.2f}, p95 {p95:.2f} s",
        "p95 ≤ 1 s",
        "",
        p95 <= 1,
    )


def _open_page(seconds: float) -> Iterator[Row]:
    load = LOADS[1]
    with (
        running() as stack,
        spool_folder() as spool,
        training(stack, load, spool),
        open_page(stack.url) as page,
    ):
        if page is None:
            print("  P15  a page open on a live run: skipped, no Chromium")
            return
        for state, settle_s in (("open", SETTLE_S), ("hidden", _UNSEEN_S)):
            page.show(is_hidden=state == "hidden")
            time.sleep(settle_s)
            used = _measured(stack, seconds)
            yield Row(
                "P15",
                f"{load.name}, its page {state} ({_split(used)})",
                f"{sum(used.values()):.4f} cores",
            )


def _short_runs() -> Row:
    with running() as stack, spool_folder() as spool:
        time.sleep(SETTLE_S)
        before, apparent = disk_bytes(stack.data), disk_bytes(stack.data, is_apparent=True)
        subprocess.run(
            [sys.executable, "-c", _SHORT, *map(str, (_SHORT_RUNS, _SHORT_STEPS, _SHORT_KEYS))],
            env=_environ(stack, spool),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(_MERGE_S)
        points = _SHORT_RUNS * _SHORT_STEPS * _SHORT_KEYS
        grown = (disk_bytes(stack.data) - before) / points
        plain = (disk_bytes(stack.data, is_apparent=True) - apparent) / points
        parts = ", ".join(
            f"{name} {disk_bytes(stack.data / name) / points:.1f}"
            for name in sorted(each.name for each in stack.data.iterdir() if each.is_dir())
        )
    return Row(
        "P15",
        f"{_SHORT_RUNS} finished runs of {_SHORT_STEPS} steps x {_SHORT_KEYS} keys, a minute later",
        f"{grown:.1f} B allocated per point",
        "≤ 20 B",
        f"{plain:.1f} B apparent; in all: {parts}",
        grown <= 20,
    )


def _environ(stack: Stack, spool: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PENSTOCK_BASE_URL": stack.url,
        "PENSTOCK_API_KEY": stack.api_key,
        "PENSTOCK_DIR": str(spool),
        "PENSTOCK_SILENT": "1",
    }


@contextmanager
def _process(command: list[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that says `ready`, and ends when its input is closed."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(60)


@contextmanager
def training(stack: Stack, load: Load, spool: Path) -> Iterator[list[int]]:
    """The load; yields the processes of the clients and their shipper."""
    with ExitStack() as opened:
        pids = [
            opened.enter_context(
                _process(
                    [sys.executable, "-c", _TRAINING, f"run-{n}", str(load.keys), str(load.rate)],
                    _environ(stack, spool),
                )
            ).pid
            for n in range(load.runs)
        ]
        time.sleep(1)
        yield [*pids, shipper_of(spool)]


def _measured(stack: Stack, seconds: float, clients: Sequence[int] = ()) -> dict[str, float]:
    """Cores that each role of the server uses, and `client` if there are any."""
    before, started = cpu_seconds(stack, clients), time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - started
    return {
        role: (now - before[role]) / took_s for role, now in cpu_seconds(stack, clients).items()
    }


def cpu_seconds(stack: Stack, clients: Sequence[int]) -> dict[str, float]:
    found = {**stack.cpu_seconds(), "up": _cpu_of([stack.pid])}
    return {**found, "client": _cpu_of(clients)} if clients else found


def _cpu_of(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def _split(used: Mapping[str, float]) -> str:
    return ", ".join(f"{role} {each:.4f}" for role, each in used.items())


def disk_bytes(folder: Path, *, is_apparent: bool = False) -> int:
    """Bytes of all files and folders below a folder, as allocated or as they appear."""
    size = 0
    for parent, _, names in os.walk(folder):
        for path in (Path(parent), *(Path(parent, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):
                found = path.lstat()
                size += found.st_size if is_apparent else 512 * found.st_blocks
    return size


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, where others may delete files and folders meanwhile."""
    for parent, _, names in os.walk(folder):  # leaves out what is gone
        yield from (Path(parent, name) for name in names)
