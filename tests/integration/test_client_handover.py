"""One shipper after another: asked to leave, replaced by a newer version, many runs at once, and
what it takes for a writer to be dead."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.ledger import Fault, Ledger
from support.scripts import Scripts
from support.spools import new_writer, points_in, wait_until

from penstock import __version__
from penstock.runs import launch
from penstock.runs.launch import ensure_shipper, is_shipper_running, shipper_of
from penstock.spool.meta import boot_id, load_meta, store_meta
from penstock.spool.progress import load_progress
from penstock.spool.root import spools_in, used_bytes
from penstock.spool.spool_folder import SpoolOptions, is_writer_alive
from penstock.spool.writer import Writer


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "root"
    folder.mkdir()
    yield folder
    if folder.exists() and is_shipper_running(folder):
        wait_until(lambda: shipper_of(folder)[0] > 0)
        os.kill(shipper_of(folder)[0], signal.SIGKILL)


def start_shipper(root: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "penstock.shipper", str(root)])
    wait_until(lambda: shipper_of(root)[0] == process.pid)
    return process


@pytest.mark.smoke
@pytest.mark.heavy
def test_asked_to_leave_it_leaves_at_once_and_the_next_goes_on(root: Path, ledger: Ledger) -> None:
    writer = new_writer(root, ledger.url)
    folder = writer.spool().folder
    steps = 0
    for _ in range(4):
        shipper = start_shipper(root)
        before = len(ledger.points())
        for _ in range(100):
            writer.log({"a": float(steps)}, step=steps)
            steps += 1
        wait_until(lambda before=before: len(ledger.points()) > before)  # type: ignore[misc]
        started = time.monotonic()
        shipper.terminate()
        assert shipper.wait(10) == 0
        assert time.monotonic() - started < 8
        assert not is_shipper_running(root)
        # What it knew is on disk: nothing is sent twice for want of it.
        assert load_progress(folder).queued == len(ledger.arrivals)
    writer.close()
    shipper = start_shipper(root)
    wait_until(lambda: load_progress(folder).done)
    shipper.terminate()
    shipper.wait(10)
    assert ledger.points() == {("a", step): float(step) for step in range(steps)}
    assert all(len(raws) == 1 for raws in ledger.arrivals.values())


@pytest.mark.heavy
def test_asked_to_leave_amid_a_request_that_hangs(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections, says nothing
        writer = new_writer(root, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        writer.log({"a": 1.0})
        shipper = start_shipper(root)
        deaf.settimeout(20)
        connection, _ = deaf.accept()
        with connection:
            connection.settimeout(20)
            assert connection.recv(1)
            shipper.terminate()
            assert shipper.wait(15) == 0
    writer.close()
    (folder,) = spools_in(root)
    assert points_in(folder) == {("a", 0): 1.0}


def test_a_newer_client_replaces_an_older_shipper(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipper = start_shipper(root)
    assert shipper_of(root) == (shipper.pid, __version__)
    # The same and an older client leave it alone.
    assert ensure_shipper(root) is None
    monkeypatch.setattr(launch, "__version__", "0.0.1")
    assert ensure_shipper(root) is None
    monkeypatch.setattr(launch, "__version__", "99.0.0")
    starter = ensure_shipper(root)
    assert starter is not None
    assert starter.wait(20) == 0
    assert shipper.wait(20) == 0
    wait_until(lambda: shipper_of(root)[0] not in (0, shipper.pid) and is_shipper_running(root))


def test_a_process_that_is_no_shipper_is_not_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number in the lock file may be another container's."""
    with (root / "shipper.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n0.0.1\n")
        lock.flush()
        monkeypatch.setattr(launch, "__version__", "99.0.0")
        assert ensure_shipper(root) is None


def test_a_shipper_whose_folder_is_gone_leaves(root: Path) -> None:
    shipper = start_shipper(root)
    for path in root.iterdir():
        path.unlink()
    root.rmdir()
    assert shipper.wait(20) == 0


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_64_runs_at_once_through_one_shipper(tmp_path: Path, ledger: Ledger) -> None:
    scripts = Scripts(tmp_path / "root", ledger.url)
    code = """
import os, threading, penstock
runs = [penstock.init(id=f"{os.getpid()}-{n}", reinit="create_new") for n in range(8)]
def train(run):
    for step in range(300): run.log({f"{run.id}": float(step)}, step=step)
threads = [threading.Thread(target=train, args=(run,)) for run in runs]
for thread in threads: thread.start()
for thread in threads: thread.join()
for run in runs: run.finish()
"""
    ledger.faults += [Fault(503), Fault(drop=True, take=True), Fault(drop=True)] * 3
    try:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code], env=scripts.environment, stderr=subprocess.PIPE
            )
            for _ in range(8)
        ]
        for process in processes:
            _, said = process.communicate(timeout=100)
            assert process.returncode == 0, said
        wait_until(lambda: all(load_progress(f).done for f in spools_in(scripts.root)), 60)
        log = (scripts.root / "shipper.log").read_text()
        assert log.count("started, process") == 1
    finally:
        scripts.end_shipper()
    points = ledger.points()
    assert len(points) == 64 * 300
    assert all(value == step for (_, step), value in points.items())
    ledger.assert_same_bytes()


def test_forks_threads_and_signals_under_load(tmp_path: Path, ledger: Ledger) -> None:
    """Threads log, a timer's handler logs amid them, and children are forked all the while."""
    scripts = Scripts(tmp_path / "root", ledger.url)
    try:
        scripts.run("""
import itertools, os, signal, threading, penstock
run = penstock.init()
numbers = itertools.count()
def tick(number, frame):  # may come amid itself
    n = next(numbers)
    run.log({"tick": float(n)}, step=n)
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
def train(name):
    for step in range(5000): run.log({name: float(step)}, step=step)
threads = [threading.Thread(target=train, args=(f"thread{n}",)) for n in range(3)]
for thread in threads: thread.start()
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for step in range(500): run.log({f"child{child}": float(step)}, step=step)
        run.finish()
        os._exit(0)
    children.append(pid)
    for step in range(1000): run.log({f"main{child}": float(step)}, step=step)
for thread in threads: thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
for pid in children: assert os.waitpid(pid, 0)[1] == 0
run.summary["ticks"] = next(numbers)
run.finish()
""")
        wait_until(lambda: all(load_progress(f).done for f in spools_in(scripts.root)))
    finally:
        scripts.end_shipper()
    points = ledger.points()
    counts: dict[str, int] = {}
    for (key, step), value in points.items():
        assert value == step
        counts[key] = counts.get(key, 0) + 1
    ticks = ledger.records("summary")[-1]["update"]["ticks"]
    assert ticks > 0
    assert counts.pop("tick") == ticks
    expected = {f"thread{n}": 5_000 for n in range(3)}
    expected |= {f"child{n}": 500 for n in range(4)} | {f"main{n}": 1_000 for n in range(4)}
    assert counts == expected


@pytest.mark.parametrize("on_full", ["drop", "block"])
def test_several_writers_keep_the_roots_bound(root: Path, ledger: Ledger, on_full: str) -> None:
    """One limit for all spools of a root. Whoever finds it reached drops, or waits until the
    shipper has made room; the others go on."""
    limit = 8 << 20
    options = SpoolOptions(limit_bytes=limit, on_full=on_full)
    writers = [new_writer(root, ledger.url, options, run=f"r{n}") for n in range(4)]
    row = {f"k{i}": 1.0 for i in range(500)}
    most = 0

    def train(writer: Writer) -> None:
        for step in range(800):
            writer.log(row, step=step)

    threads = [threading.Thread(target=train, args=(w,), daemon=True) for w in writers]
    for thread in threads:
        thread.start()
    shipper: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + 30
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        most = max(most, used_bytes(root))
        if on_full == "block" and shipper is None and most > limit // 2:
            shipper = subprocess.Popen(
                [sys.executable, "-m", "penstock.shipper", str(root), "--limit-bytes", str(limit)]
            )
        time.sleep(0.01)
    stuck = any(thread.is_alive() for thread in threads)
    if shipper is not None and stuck:
        shipper.kill()
        shipper.wait()
    assert not stuck
    dropped = sum(writer.dropped_rows for writer in writers)
    for writer in writers:
        writer.close()
    # Each writer may be making a segment while another does: by so much it can be exceeded.
    assert most <= limit + 4 * (2 << 20)
    if on_full == "drop":
        assert dropped > 0
        kept = sum(len(points_in(folder)) for folder in spools_in(root))
        assert kept == (4 * 800 - dropped) * 500
        return
    assert shipper is not None
    assert dropped == 0
    wait_until(lambda: all(load_progress(f).done for f in spools_in(root)), 30)
    shipper.terminate()
    shipper.wait(10)
    assert sum(b.points for b in ledger.batches()) == 4 * 800 * 500


class Locks:
    """`flock` as on a file system that has none."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, fd: int, operation: int) -> None:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_boot_and_process_number_decide(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", Locks(number))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    writer = new_writer(root, pid=os.getpid(), boot_id=boot_id())
    folder = writer.spool().folder
    meta = load_meta(folder)
    assert is_writer_alive(folder)
    store_meta(folder, replace(meta, pid=gone.pid))
    assert not is_writer_alive(folder)
    # After a reboot, in another container and on another machine the number says nothing, but a living writer
    # touches its lock file.
    silent = time.time() - 700
    for elsewhere in (replace(meta, boot_id="another"), replace(meta, pid_namespace="pid:[1]")):
        store_meta(folder, elsewhere)
        os.utime(folder / "lock")
        assert is_writer_alive(folder)
        os.utime(folder / "lock", (silent, silent))
        assert not is_writer_alive(folder)
    (folder / "meta.json").write_text("")
    assert not is_writer_alive(folder)
    store_meta(folder, meta)
    assert is_writer_alive(folder)
    writer.close()
