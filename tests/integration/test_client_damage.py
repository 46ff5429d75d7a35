"""Spools whose files are damaged, lost, or cannot be written: every row that is still in a segment
is sent, and what cannot be is counted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.disks import Disk, small_disk
from support.ledger import Fault, Ledger
from support.spools import Senders, drive, new_writer, points_in, wait_until

from penstock.shipper import report as report_module
from penstock.shipper import sender as sender_module
from penstock.shipper.cuts import CutLog
from penstock.shipper.sender import SpoolSender
from penstock.spool.progress import Progress, load_progress, store_progress
from penstock.spool.writer import Writer

BATCHES = 6


@pytest.fixture(autouse=True)
def own_login_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sender_module, "DISK_RETRY_S", 0.02)
    monkeypatch.setattr(report_module, "PROGRESS_INTERVAL_S", 0.0)


def log_batch(writer: Writer, sender: SpoolSender) -> None:
    """Three rows that are one batch, queued."""
    cut = sender.progress.cut
    for _ in range(3):
        writer.log({"a": writer.step * 0.5, "b": writer.step})
    drive(sender, lambda: sender.progress.queued > cut)


def logged(steps: int) -> dict[tuple[str, int], float]:
    return {(key, s): v for s in range(steps) for key, v in (("a", s * 0.5), ("b", float(s)))}


@pytest.fixture
def spool(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> Path:
    """Six batches are cut and queued; the server has committed none of them, and lost its queue."""
    ledger.commits = False
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    folder = sender.folder
    for _ in range(BATCHES):
        log_batch(writer, sender)
    writer.append_record({"t": "state", "state": "finished", "exit_code": 0})
    writer.close()
    drive(sender, lambda: sender.progress.ended and sender.progress.queued == BATCHES + 1)
    sender.close()
    ledger.lose_queue()
    ledger.arrivals.clear()
    ledger.commits = True
    return folder


def send(ledger: Ledger, sender: SpoolSender) -> None:
    """Until all is committed; then everything is there and the run is finished, not crashed."""
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == logged(3 * BATCHES)
    assert ledger.records("state")[-1]["state"] == "finished"
    assert sender.progress.rejected == 0


@pytest.mark.parametrize("number", range(1, BATCHES + 2))
@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_damaged_line_of_the_cuts_costs_no_rows(
    spool: Path, ledger: Ledger, sender_of: Senders, number: int, damage: str
) -> None:
    cuts = spool / "cuts"
    lines = cuts.read_bytes().splitlines(keepends=True)
    line = bytearray(lines[number - 1])
    line[len(line) // 2] ^= 1
    lines[number - 1] = bytes(line) if damage == "flipped" else b""
    cuts.write_bytes(b"".join(lines))
    sender = sender_of(spool)
    assert sender.progress.damaged_cuts == 1
    send(ledger, sender)
    # Mended on disk, so that the next shipper builds the same bytes.
    assert CutLog(spool).cuts == {
        seq: cut for seq, cut in sender._spool.cuts.cuts.items() if seq <= sender.progress.cut
    }


def test_all_cuts_damaged_or_gone(spool: Path, ledger: Ledger, sender_of: Senders) -> None:
    (spool / "cuts").write_bytes(b"\xff" * 100 + b"\n")
    send(ledger, sender_of(spool))
    assert sender_of(spool).progress.damaged_cuts == BATCHES + 1


def test_neighbouring_lines_damaged(spool: Path, ledger: Ledger, sender_of: Senders) -> None:
    lines = (spool / "cuts").read_bytes().splitlines(keepends=True)
    lines[2:5] = [b"x" * 40 + b"\n"] * 3
    (spool / "cuts").write_bytes(b"".join(lines))
    send(ledger, sender_of(spool))


def test_every_byte_of_a_line(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A flipped bit never makes another cut of a line."""
    caplog.set_level(logging.CRITICAL)
    whole = (spool / "cuts").read_bytes()
    cuts = CutLog(spool).cuts
    start = whole.index(b"\n") + 1
    for offset in range(start, whole.index(b"\n", start) + 1):
        damaged = bytearray(whole)
        damaged[offset] ^= 4
        (spool / "cuts").write_bytes(damaged)
        found = CutLog(spool)
        assert found.cuts[2].rebuilt, offset
        if whole[offset : offset + 1] == b"\n":  # two lines became one
            assert (found.damaged, found.cuts[3].end) == (2, cuts[3].end)
            continue
        assert found.damaged == 1, offset
        assert (found.cuts[2].start, found.cuts[2].end) == (cuts[2].start, cuts[2].end)
        assert {n: c for n, c in found.cuts.items() if n != 2} == {
            n: c for n, c in cuts.items() if n != 2
        }


def test_lines_without_a_checksum_are_read(spool: Path, ledger: Ledger, sender_of: Senders) -> None:
    lines = [line[:-9] for line in (spool / "cuts").read_text().splitlines()]
    for line in lines:
        json.loads(line)
    (spool / "cuts").write_text("\n".join(lines) + "\n")
    sender = sender_of(spool)
    assert sender.progress.damaged_cuts == 0
    send(ledger, sender)


def test_rows_that_the_server_has_already_are_not_put_aside(
    spool: Path, ledger: Ledger, sender_of: Senders
) -> None:
    """A rebuilt batch may differ in bytes from the one that the server has: it says conflict."""
    (spool / "cuts").write_bytes(b"")
    store_progress(spool, Progress(cut=BATCHES + 1))
    sender = sender_of(spool)
    # The voids of the lost numbers come first.
    ledger.faults += [Fault(409, code="conflict", take=True)] * (BATCHES + 1)
    send(ledger, sender)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"queued":"x"}', None, b"flip"])
def test_damaged_progress_is_rebuilt(
    spool: Path, ledger: Ledger, sender_of: Senders, content: bytes | None
) -> None:
    path = spool / "progress.json"
    if content == b"flip":
        path.write_text(path.read_text().replace('"committed":0', '"committed":6'))
    elif content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert load_progress(spool) == Progress()
    sender = sender_of(spool)
    assert sender.progress.cut == BATCHES + 1
    assert sender.progress.ended
    send(ledger, sender)
    ledger.assert_same_bytes()


def test_progress_keeps_its_checksum(tmp_path: Path) -> None:
    progress = Progress(queued=3, dead=[1, 2], problem="é")
    store_progress(tmp_path, progress)
    assert load_progress(tmp_path) == progress


def test_lost_progress_of_a_spool_that_was_freed_in_part(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "KEEP_S", 0.0)
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    row = {f"k{i}": 1.0 for i in range(1_000)}
    for _ in range(100):
        writer.log(row)
        if writer.step % 10 == 0:
            drive(sender, lambda: sender.progress.committed == sender.progress.cut > 0)
    drive(sender, lambda: sender.progress.released > 0)
    sender.close()
    (folder / "progress.json").unlink()
    writer.close()
    again = sender_of(folder)
    drive(again, lambda: again.progress.done)
    assert len(ledger.points()) == 100_000
    assert again.progress.lost_batches == 0
    assert again.progress.rejected == 0


def test_a_segment_missing_in_the_middle_is_reported_and_the_rest_sent(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    row = {f"k{i}": float(i) for i in range(50)}
    for _ in range(5_000):
        writer.log(row)
    writer.append_record({"t": "state", "state": "finished", "exit_code": 0})
    writer.close()
    assert len(list(folder.glob("*.seg"))) >= 4
    (folder / "00000002.seg").unlink()
    sender = sender_of(folder)
    kept = points_in(folder)
    assert 0 < len(kept) < 250_000
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == kept
    assert sender.progress.missing_segments == 1
    assert ledger.records("state")[-1]["state"] == "finished"


def test_a_segment_lost_after_it_was_cut(spool: Path, ledger: Ledger, sender_of: Senders) -> None:
    """Nothing of it can be sent any more; its numbers are, so that the server waits for none."""
    (spool / "00000001.seg").unlink()
    sender = sender_of(spool)
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.lost_batches == BATCHES + 1
    assert sender.progress.lost_points == 2 * 3 * BATCHES


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


def test_a_full_disk_under_the_shipper_loses_nothing_and_is_said_once(
    disk: Disk, ledger: Ledger, sender_of: Senders, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    writer = new_writer(disk.folder, ledger.url)
    sender = sender_of(writer.spool().folder)
    log_batch(writer, sender)
    disk.fill()
    for _ in range(300):
        writer.log({"a": writer.step * 0.5, "b": writer.step})
    drive(sender, lambda: sender.progress.problem_code == "disk")
    for _ in range(30):
        sender.turn()
    assert sum("No space left" in each.message for each in caplog.records) == 1
    disk.make_room()
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == logged(303)
    assert sender.progress.problem == ""
    ledger.assert_same_bytes()


def test_a_full_disk_under_a_refused_batch(disk: Disk, ledger: Ledger, sender_of: Senders) -> None:
    writer = new_writer(disk.folder, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults.append(Fault(503))
    for _ in range(2_000):
        writer.log({"a": writer.step * 0.5, "b": writer.step})
    drive(sender, lambda: sender.progress.cut > 0)
    ledger.faults += [Fault(400)] * 2
    disk.fill()
    drive(sender, lambda: len(ledger.faults) == 1)
    assert sender.progress.problem_code == "disk"
    assert sender.progress.rejected == 0
    assert not list(folder.glob("rejected/*"))
    disk.make_room()
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.rejected == 1
    assert (folder / "rejected" / "00000001.batch").stat().st_size > 1_000


def test_a_full_disk_under_the_writer_drops_counts_and_goes_on(
    disk: Disk, ledger: Ledger, sender_of: Senders, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = new_writer(disk.folder, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    disk.fill()
    row = {f"k{i}": 1.0 for i in range(1_000)}
    for _ in range(1_000):
        writer.log(row)
    assert 0 < writer.dropped_rows < 1_000
    assert "a logged row was dropped" in capfd.readouterr().err
    dropped = writer.dropped_rows
    disk.make_room()

    def logs_again() -> bool:
        before = writer.dropped_rows
        writer.log(row)
        return writer.dropped_rows == before

    wait_until(logs_again)
    assert writer.dropped_rows >= dropped
    kept = writer.step
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert len(ledger.points()) == 1_000 * kept
    assert sender.progress.dropped == writer.dropped_rows


def test_writers_leave_the_shipper_room_to_make_room(
    disk: Disk, ledger: Ledger, sender_of: Senders
) -> None:
    """Filled by the spool alone, the disk still takes the cuts; sending then frees the spool."""
    writer = new_writer(disk.folder, ledger.url)
    sender = sender_of(writer.spool().folder)
    row = {f"k{i}": 1.0 for i in range(1_000)}
    while not writer.dropped_rows:
        writer.log(row)
    kept = writer.step
    drive(sender, lambda: len(ledger.points()) == 1_000 * kept)
    for _ in range(3):
        sender.turn(tight=True)

    def logs_again() -> bool:
        before = writer.dropped_rows
        writer.log(row)
        return writer.dropped_rows == before

    wait_until(logs_again)
    writer.close()
