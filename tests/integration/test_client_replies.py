"""What the shipper makes of the server's answers: marks that fall, dead letters, quotas, pages of
proxies and versions that do not match. Data is only put aside when Penstock itself refuses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.ledger import Fault, Ledger
from support.spools import Senders, drive, new_writer

from penstock import wire
from penstock.shipper import daemon as daemon_module
from penstock.shipper import heartbeats as heartbeats_module
from penstock.shipper import outcomes as outcomes_module
from penstock.shipper import polls as polls_module
from penstock.shipper import sender as sender_module
from penstock.shipper.daemon import Daemon
from penstock.shipper.sender import SpoolSender
from penstock.spool.progress import load_progress
from penstock.spool.writer import Writer


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests wait for the commit of one batch after the other."""
    monkeypatch.setattr(polls_module, "POLL_S", 0.03)


def log_batches(
    writer: Writer, sender: SpoolSender, count: int, width: int = 1
) -> dict[tuple[str, int], float]:
    """Rows that go as so many batches, all committed; returns their points."""
    points: dict[tuple[str, int], float] = {}
    for _ in range(count):
        step, cut = writer.step, sender.progress.cut
        row = {f"k{i}": step + i * 0.5 for i in range(width)}
        writer.log(row)
        points |= {(key, step): value for key, value in row.items()}
        drive(sender, lambda cut=cut: sender.progress.committed > cut)  # type: ignore[misc]
    return points


def test_a_store_rolled_back_under_its_id_gets_again_what_it_lost(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    sent = log_batches(writer, sender, 5)
    ledger.roll_back(2)
    writer.log({"k0": -1.0})
    sent["k0", 5] = -1.0
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == sent
    assert sender.progress.lost_batches == 0
    ledger.assert_same_bytes()


@pytest.mark.smoke
@pytest.mark.heavy
def test_what_a_rolled_back_store_lacks_and_is_held_no_more_is_reported(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "KEEP_S", 0.0)
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    log_batches(writer, sender, 80, width=1_000)
    drive(sender, lambda: sender.progress.released > 4)
    released, cut = sender.progress.released, sender.progress.cut
    ledger.roll_back(2)
    log_batches(writer, sender, 1)
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.lost_batches == released - 2
    assert sender.progress.lost_points == (released - 2) * 1_000
    # Told once: one empty batch let the server's mark pass the gap.
    assert sender.progress.cut == cut + 2
    (stored,) = ledger.committed.values()
    assert sorted(stored) == [1, 2, *range(released + 1, sender.progress.cut + 1)]
    assert ledger.mark(next(iter(ledger.committed))) == sender.progress.cut


def test_a_batch_that_the_server_could_not_process_is_kept(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    sent = log_batches(writer, sender, 2)
    ledger.dead[folder.name] = [2]
    sent |= log_batches(writer, sender, 1)
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.dead == [2]
    assert sender.progress.rejected == 0
    kept = wire.decode_batch((folder / "rejected" / "00000002.batch").read_bytes())
    assert (kept.seq, kept.points) == (2, 1)
    # A shipper that takes it up later does not count it again.
    again = sender_of(folder)
    assert (again.progress.dead, again.progress.rejected) == ([2], 0)


def test_a_dead_batch_that_cannot_be_put_aside_now_is_not_freed(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "KEEP_S", 0.0)
    monkeypatch.setattr(sender_module, "DISK_RETRY_S", 0.01)
    ledger.commits = False
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    writer.log({"a": 1.0})
    writer.close()
    drive(sender, lambda: sender.progress.queued == 1)
    obstacle = folder / "rejected"
    obstacle.write_text("")  # a file where the folder should be
    ledger.dead[folder.name] = [1]
    ledger.commits = True
    drive(sender, lambda: sender.progress.problem_code == "disk")
    assert sender.progress.committed == 0
    obstacle.unlink()
    drive(sender, lambda: sender.progress.done)
    assert (folder / "rejected" / "00000001.batch").exists()
    assert sender.progress.problem == ""


def test_a_deleted_run_counts_what_is_set_aside_once(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    log_batches(writer, sender, 1)
    ledger.faults.append(Fault(410, code="deleted"))
    writer.log({"a": 1.0})
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.rejected == 1
    # The queue still knows how far the run was before.
    place = {"store": ledger.store, "queue": ledger.queue}
    sender.acknowledge(sender.reply_count, {"committed": 1, **place})
    for _ in range(3):
        sender.turn()
    assert sender.progress.rejected == 1
    assert sender.progress.done


def test_a_quota_pauses_only_its_project(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    greedy = new_writer(tmp_path, ledger.url, project="greedy")
    modest = new_writer(tmp_path, ledger.url, project="modest")
    slow, other = sender_of(greedy.spool().folder), sender_of(modest.spool().folder)
    for writer in (greedy, modest):
        writer.log({"a": 1.0})
        writer.close()
    ledger.faults.append(Fault(429, {"Retry-After": "600"}, code="quota"))
    drive(slow, lambda: slow.progress.problem_code == "quota")
    drive(other, lambda: other.progress.done)
    before = ledger.requests
    for _ in range(5):
        assert slow.turn() > 1
    assert ledger.requests == before
    assert slow.progress.problem_code == "quota"


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_page_that_is_not_penstocks_condemns_no_data(
    tmp_path: Path, ledger: Ledger, status: int, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults += [Fault(status, page=True), Fault(status, code=f"http_{status}")]
    writer.log({"a": 1.0})
    writer.close()
    drive(sender, lambda: sender.progress.problem_code == "not_penstock")
    assert "does not answer like Penstock" in sender.progress.problem
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == {("a", 0): 1.0}
    assert not ledger.faults
    assert not (folder / "rejected").exists()


def test_a_proxys_413_is_tried_with_smaller_batches_and_never_condemns(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes_module, "REFUSED_RETRY_S", 0.05)
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    for step in range(4):
        writer.log({"a": float(step)})
    writer.close()
    ledger.faults += [Fault(413, page=True)] * 6
    drive(sender, lambda: sender.progress.done)
    assert not ledger.faults
    assert ledger.points() == {("a", step): float(step) for step in range(4)}
    assert sender.progress.rejected == 0


@pytest.mark.parametrize(("spoken", "older"), [([2, 3], "client"), ([0], "server")])
def test_an_unknown_version_waits_for_an_upgrade(
    tmp_path: Path,
    ledger: Ledger,
    spoken: list[int],
    older: str,
    sender_of: Senders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcomes_module, "REFUSED_RETRY_S", 0.1)
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults += [Fault(415, code="unknown_version", supported=spoken)] * 3
    writer.log({"a": 1.0})
    drive(sender, lambda: sender.progress.problem_code == "unknown_version")
    assert f"upgrade the {older}" in sender.progress.problem
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == {("a", 0): 1.0}
    assert not (folder / "rejected").exists()


def test_a_conflict_puts_aside_what_came_second(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults.append(Fault(409, code="conflict", take=True))
    writer.log({"a": 1.0})
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.rejected == 1
    assert (folder / "rejected" / "00000001.batch").exists()


class Daemons:
    """A daemon of this process, driven by a thread of its own."""

    def __init__(self, root: Path) -> None:
        self.daemon = Daemon(root)
        self._thread = threading.Thread(target=self.daemon.run)
        self._thread.start()

    def end(self) -> None:
        self.daemon.leave()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemons]:
    monkeypatch.setattr(heartbeats_module, "INTERVAL_S", 0.1)
    monkeypatch.setattr(daemon_module, "_BEAT_S", 0.02)
    monkeypatch.setattr(sender_module, "MAX_POLL_S", 0.1)
    running = Daemons(tmp_path)
    yield running
    running.end()


def until(check: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_heartbeats_say_which_runs_live(tmp_path: Path, ledger: Ledger, daemon: Daemons) -> None:
    idle, over = new_writer(tmp_path, ledger.url), new_writer(tmp_path, ledger.url, run="over")
    names = [writer.spool().folder.name for writer in (idle, over)]
    over.log({"a": 1.0})
    over.close()

    def alive() -> dict[str, bool]:
        return {each["writer"]: each["alive"] for each in ledger.heartbeats[-1]}

    until(lambda: ledger.heartbeats and alive() == dict(zip(names, (True, False), strict=True)))
    assert {each["project"] for each in ledger.heartbeats[-1]} == {"p"}
    idle.close()
    until(lambda: not any(alive().values()))


def test_a_finished_spool_is_sent_again_when_the_store_is_replaced(
    tmp_path: Path, ledger: Ledger, daemon: Daemons
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    writer.log({"a": 1.0})
    writer.close()
    until(lambda: load_progress(folder).done)
    ledger.lose_store()
    ledger.lose_queue()
    until(lambda: ledger.points() == {("a", 0): 1.0})
    until(lambda: load_progress(folder).done)
    ledger.roll_back(0)
    until(lambda: ledger.points() == {("a", 0): 1.0})
    ledger.assert_same_bytes()


def test_an_older_server_is_not_asked_for_heartbeats_again(
    tmp_path: Path, ledger: Ledger, daemon: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.knows_heartbeats = False
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    writer.log({"a": 1.0})
    until(lambda: ledger.points())
    until(lambda: any(server.due > time.monotonic() + 3_000 for server in servers(daemon)))
    ledger.knows_heartbeats = True
    writer.log({"a": 2.0})
    until(lambda: len(ledger.points()) == 2)
    assert not ledger.heartbeats
    assert load_progress(folder).problem == ""
    writer.close()


def servers(daemon: Daemons) -> list[heartbeats_module._Server]:
    return list(daemon.daemon._heartbeats._servers.values())


def test_a_heartbeats_old_news_is_not_taken_in(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    log_batches(writer, sender, 1)
    reply_count = sender.reply_count
    log_batches(writer, sender, 1)
    before = ledger.requests
    sender.acknowledge(
        reply_count, {"committed": 0, "store": ledger.store, "queue": ledger.queue, "dead": []}
    )
    sender.turn()
    assert sender.progress.committed == 2
    sender.acknowledge(
        sender.reply_count, {"committed": 1, "store": ledger.store, "queue": ledger.queue}
    )
    drive(sender, lambda: ledger.requests > before)
    writer.close()
