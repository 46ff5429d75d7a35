"""The shipper against a server that implements the reply contract: every logged point arrives once,
whatever fails, and what is sent again has the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.ledger import Fault, Ledger
from support.spools import Senders, drive, new_writer, points_in, wait_until

from penstock.credentials import store_key
from penstock.runs.launch import ensure_shipper, is_shipper_running
from penstock.shipper import outcomes as outcomes_module
from penstock.shipper import sender as sender_module
from penstock.shipper.columns import BatchLimits
from penstock.shipper.sender import SpoolSender
from penstock.spool.progress import load_progress
from penstock.spool.writer import Writer


def log_rows(writer: Writer, first: int, count: int) -> dict[tuple[str, int], float]:
    for step in range(first, first + count):
        writer.log({"loss": step * 0.5, "epoch": step}, step=step)
    return {
        (key, step): value
        for step in range(first, first + count)
        for key, value in (("loss", step * 0.5), ("epoch", float(step)))
    }


def test_all_points_arrive_and_the_spool_is_done(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    sent = log_rows(writer, 0, 500)
    drive(sender, lambda: ledger.points() == sent)
    sent |= log_rows(writer, 500, 500)
    writer.append_record({"t": "state", "state": "finished"})
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    assert [r["state"] for r in ledger.records("state")] == ["finished"]
    assert load_progress(folder).done
    ints = {k: f.ints for b in ledger.batches() for f in b.frames for k in [tuple(f.keys)]}
    assert ints[("loss", "epoch")] == b"\0\1"


@pytest.mark.heavy
@pytest.mark.smoke
def test_faults_do_not_lose_or_double(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    ledger.faults += [
        Fault(503, {"Retry-After": "0.1"}),
        Fault(drop=True),
        Fault(drop=True, take=True),
        Fault(500, take=True),
        Fault(429, {"Retry-After": "0.05"}),
    ]
    sent = log_rows(writer, 0, 300)
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    assert not ledger.faults
    ledger.assert_same_bytes()


def test_unknown_key_pauses_and_a_login_mends_it(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, sender_of: Senders
) -> None:
    monkeypatch.setattr(outcomes_module, "KEY_RETRY_S", 0.05)
    writer = new_writer(tmp_path, ledger.url, api_key="bad")
    folder = writer.spool().folder
    sender = sender_of(folder)
    sent = log_rows(writer, 0, 10)
    writer.close()
    drive(sender, lambda: sender.progress.problem_code != "")
    assert sender.progress.problem_code == "unauthorized"
    assert not ledger.points()
    store_key(ledger.url, "good")
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    assert sender.progress.problem == ""


def test_lost_queue_is_sent_again(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    ledger.commits = False
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    sent = log_rows(writer, 0, 50)
    drive(sender, lambda: sender.progress.queued == 1)
    sent |= log_rows(writer, 50, 50)
    drive(sender, lambda: sender.progress.queued == 2)
    ledger.lose_queue()
    sent |= log_rows(writer, 100, 50)
    drive(sender, lambda: len(next(iter(ledger.queued.values()), {})) == 3)
    ledger.commits = True
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    ledger.assert_same_bytes()


def test_without_progress_it_is_sent_again(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "STALLED_S", 0.3)
    ledger.commits = False
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    log_rows(writer, 0, 10)
    drive(sender, lambda: any(len(raws) > 1 for raws in ledger.arrivals.values()))
    ledger.assert_same_bytes()
    writer.close()


def test_dropped_rows_are_reported(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    writer.log({"a": 1.0})
    writer.log(5)  # type: ignore[arg-type]
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.batches()[-1].client["dropped"] == 1


def test_replaced_store_gets_everything_again(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    sent = log_rows(writer, 0, 50)
    drive(sender, lambda: sender.progress.committed == 1)
    ledger.lose_store()
    ledger.lose_queue()
    sent |= log_rows(writer, 50, 50)
    writer.close()
    drive(sender, lambda: sender.progress.done and ledger.points() == sent)
    ledger.assert_same_bytes()


def test_replaced_store_is_told_what_was_freed(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, sender_of: Senders
) -> None:
    monkeypatch.setattr(sender_module, "KEEP_S", 0.0)
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    row = {f"k{i}": 1.0 for i in range(1_000)}
    for step in range(200):
        writer.log(row, step=step)
        if step % 20 == 0:
            drive(sender, lambda: sender.progress.committed == sender.progress.cut > 0)
    drive(sender, lambda: sender.progress.released > 0)
    ledger.lose_store()
    ledger.lose_queue()
    writer.log({"last": 1.0}, step=200)
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.mark(writer_of(ledger)) == sender.progress.cut
    assert ("last", 200) in ledger.points()


def writer_of(ledger: Ledger) -> str:
    return next(iter(ledger.committed))


def test_segments_are_freed_only_when_committed(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, sender_of: Senders
) -> None:
    monkeypatch.setattr(sender_module, "KEEP_S", 0.0)
    ledger.commits = False
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    row = {f"k{i}": float(i) for i in range(1_000)}
    for step in range(300):
        writer.log(row, step=step)
    drive(sender, lambda: sender.progress.queued == sender.progress.cut > 1)
    assert (folder / "00000001.seg").exists()
    ledger.commits = True
    writer.close()
    drive(sender, lambda: sender.progress.done)
    drive(sender, lambda: not (folder / "00000001.seg").exists())
    assert len(ledger.points()) == 300_000


def drive_past(sender: SpoolSender, cut: int) -> None:
    drive(sender, lambda: sender.progress.cut > cut)


def test_a_new_shipper_goes_on_where_the_old_one_was(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    ledger.commits = False
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sent: dict[tuple[str, int], float] = {}
    for shift in range(5):
        sender = sender_of(folder)
        sent |= log_rows(writer, shift * 100, 100)
        drive_past(sender, shift)
        sender.close()
        if shift == 2:  # the reply to the last request never came, and the note of it is gone
            (folder / "progress.json").unlink(missing_ok=True)
    ledger.commits = True
    writer.close()
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    ledger.assert_same_bytes()
    assert all(len(raws) >= 1 for raws in ledger.arrivals.values())


def test_torn_cut_was_never_sent(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    sent = log_rows(writer, 0, 10)
    drive(sender, lambda: sender.progress.committed == 1)
    sender.close()
    with (folder / "cuts").open("a") as cuts:
        cuts.write('{"seq":2,"start":[1,')
    sent |= log_rows(writer, 10, 10)
    writer.close()
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent


@pytest.mark.parametrize("status", [400, 403, 404, 415, 422])
def test_refused_batch_is_put_aside_and_voided(
    tmp_path: Path, ledger: Ledger, status: int, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults.append(Fault(status))
    log_rows(writer, 0, 10)
    drive(sender, lambda: sender.progress.rejected == 1)
    sent = log_rows(writer, 10, 10)
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    assert (folder / "rejected" / "00000001.batch").stat().st_size > 0
    assert ledger.batches()[0].frames == []


def test_a_server_that_refuses_even_voids_keeps_the_rest(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults += [Fault(403)] * 5
    log_rows(writer, 0, 10)
    drive(sender, lambda: sender.progress.rejected == 1)
    log_rows(writer, 10, 10)
    for _ in range(20):
        sender.turn()
    assert ledger.requests == 2
    assert len(points_in(folder)) == 40
    writer.close()


def test_too_large_is_cut_smaller(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    ledger.points_limit = 100
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    sent = log_rows(writer, 0, 300)
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    assert sender.progress.rejected == 0
    assert max(batch.points for batch in ledger.batches()) <= 100


def test_batches_are_bounded(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    row = {f"k{i}": float(i) for i in range(1_000)}
    for _ in range(700):
        writer.log(row)
    writer.close()
    drive(sender, lambda: sender.progress.done)
    limits = BatchLimits()
    assert len(ledger.points()) == 700_000
    assert len(ledger.batches()) >= 4
    assert all(batch.points <= limits.points for batch in ledger.batches())


def test_dead_writer_is_drained_and_its_run_crashed(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    folder, rows = killed_writer(tmp_path, ledger.url)
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done)
    assert len(ledger.points()) == rows
    assert [r["state"] for r in ledger.records("state")] == ["crashed"]
    sender.close()
    (folder / "progress.json").unlink()
    again = sender_of(folder)
    drive(again, lambda: again.progress.done)
    assert [r["state"] for r in ledger.records("state")] == ["crashed"]


def killed_writer(root: Path, url: str) -> tuple[Path, int]:
    """A spool whose writer was killed with -9 right after its 1,000th row."""
    code = (
        "import os, sys; from pathlib import Path; from support.spools import new_writer\n"
        f"writer = new_writer(Path({str(root)!r}), {url!r})\n"
        "for step in range(1000): writer.log({'a': float(step)})\n"
        "print(writer.spool().folder, flush=True); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == -9, run.stderr
    return Path(run.stdout.strip()), 1_000


def test_non_primary_crash_is_not_the_runs(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url, primary=False)
    folder = writer.spool().folder
    sent = log_rows(writer, 0, 10)
    os.close(writer.spool()._lock_fd)  # as if the process had died
    writer.spool()._lock_fd = os.open(os.devnull, os.O_RDONLY)
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    assert not ledger.records("state")
    writer.close()


@pytest.mark.heavy
@pytest.mark.smoke
def test_shipper_process_sends_and_leaves(tmp_path: Path, ledger: Ledger) -> None:
    first = new_writer(tmp_path, ledger.url)
    second = new_writer(tmp_path, ledger.url)
    first.log({"a": 1.0})
    second.log({"b": 2.0})
    command = [sys.executable, "-m", "penstock.shipper", str(tmp_path), "--idle-exit", "0.2"]
    shipper = subprocess.Popen(command)
    lock = tmp_path / "shipper.lock"
    wait_until(lambda: lock.exists() and lock.read_text().startswith(f"{shipper.pid}\n"))
    rival = subprocess.run(command, timeout=30, check=False)
    assert rival.returncode == 0
    assert shipper.poll() is None
    wait_until(lambda: len(ledger.points()) == 2)
    first.close()
    second.close()
    assert shipper.wait(30) == 0
    assert all(load_progress(path).done for path in tmp_path.iterdir() if path.is_dir())


def test_many_runs_at_once_start_one_shipper(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: ensure_shipper(tmp_path), range(64)))
    starters = [process for process in started if process is not None]
    try:
        assert len(starters) == 1
        assert starters[0].wait(20) == 0
        wait_until(lambda: is_shipper_running(tmp_path))
        assert ensure_shipper(tmp_path) is None
    finally:
        end_shipper(tmp_path)
    wait_until(lambda: not is_shipper_running(tmp_path))
    # Whoever dies while starting one is no obstacle.
    again = ensure_shipper(tmp_path)
    assert again is not None
    again.wait(20)
    end_shipper(tmp_path)


def end_shipper(root: Path) -> None:
    lock = root / "shipper.lock"
    wait_until(lambda: is_shipper_running(root) and lock.read_text() != "")
    os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)


@pytest.mark.smoke
@pytest.mark.heavy
def test_killed_shipper_loses_nothing(tmp_path: Path, ledger: Ledger) -> None:
    writer = new_writer(tmp_path, ledger.url)
    command = [sys.executable, "-m", "penstock.shipper", str(tmp_path), "--idle-exit", "0.2"]
    sent: dict[tuple[str, int], float] = {}
    for _ in range(3):
        shipper = subprocess.Popen(command)
        before = ledger.requests
        deadline = time.monotonic() + 20
        while ledger.requests < before + 3:
            assert time.monotonic() < deadline
            sent |= log_rows(writer, len(sent) // 2, 200)
            time.sleep(0.02)
        shipper.kill()
        shipper.wait()
    writer.close()
    assert subprocess.run(command, timeout=30, check=False).returncode == 0
    assert ledger.points() == sent
    ledger.assert_same_bytes()
