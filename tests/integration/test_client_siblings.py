"""A forked child goes on in the spool that another child of the same parent left, and nothing is lost
or replaced by that: whether the one before ended or was killed, and whatever the shipper does."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.ledger import Ledger
from support.marks import first_of
from support.scripts import Scripts
from support.spools import UNLIMITED, Senders, drive, new_writer, rows_in, wait_until

from penstock.shipper import daemon as daemon_module
from penstock.shipper.daemon import Daemon
from penstock.shipper.gather import gather
from penstock.shipper.reader import SpoolReader
from penstock.shipper.sender import SpoolSender
from penstock.spool import keeper
from penstock.spool.record import FIRST_OFFSET, PAYLOAD_HEAD, RECORD_HEAD, PayloadKind, segment_name
from penstock.spool.root import spools_in
from penstock.spool.siblings import hold_left
from penstock.spool.writer import Writer

PARENT = "f" * 32


def child(root: Path, ledger: Ledger, parent: str = PARENT) -> Writer:
    return new_writer(root, ledger.url, parent=parent, primary=False)


def die(writer: Writer) -> None:
    """Let go of the spool as a process does that is killed: no END, nothing trimmed."""
    spool = writer.spool()
    spool._closed = True
    keeper.remove(spool)
    with spool._making:  # what the keeper has begun
        pass
    writer.forget_after_fork()


def send_all(sender: SpoolSender) -> None:
    drive(sender, lambda: sender.progress.done)


@pytest.mark.heavy
@pytest.mark.smoke
def test_epochs_of_data_loader_workers_share_lanes(scripts: Scripts, ledger: Ledger) -> None:
    """As torch's loader works: new workers for every epoch, two at a time, ended by `os._exit`."""
    scripts.run("""
import multiprocessing, os, penstock
fork = multiprocessing.get_context("fork")
run = penstock.init(project="p")

def work(epoch, worker, ready):
    for row in range(50):
        penstock.log({f"worker{worker}": epoch * 1000.0 + row})
    ready.wait(20)  # both log at once
    if epoch % 3 == 2:
        os.kill(os.getpid(), 9)

for epoch in range(8):
    run.log({"loss": 1.0 / (epoch + 1)})
    ready = fork.Barrier(2)
    workers = [fork.Process(target=work, args=(epoch, n, ready)) for n in range(2)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
run.finish()
""")
    wait_until(lambda: len(ledger.points()) == 8 + 8 * 2 * 50)
    assert len(ledger.committed) == 3
    for worker in range(2):
        logged = [
            value for (key, _), value in sorted(ledger.points().items()) if key[-1:] == str(worker)
        ]
        assert sorted(logged) == [epoch * 1000.0 + row for epoch in range(8) for row in range(50)]
    assert [r["state"] for r in ledger.records("state")] == ["running", "finished"]
    ledger.assert_same_bytes()


def test_finish_of_a_child_waits_for_its_own_rows(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run("""
import os, penstock
run = penstock.init(project="p")
for epoch in range(4):
    pid = os.fork()
    if pid == 0:
        run.log({"child": float(epoch)})
        run.finish()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
run.finish()
""")
    assert said.count("is stored") == 5
    assert sorted(ledger.points().values()) == [0.0, 1.0, 2.0, 3.0]
    assert len(ledger.committed) == 2


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.parametrize("killed", [False, True])
def test_a_child_goes_on_where_the_one_before_ended(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, killed: bool
) -> None:
    first = child(tmp_path, ledger)
    folder = first.spool().folder
    first.log({"a": 1.0}, step=4)
    die(first) if killed else first.close()
    sender = sender_of(folder)
    send_all(sender)
    second = child(tmp_path, ledger)
    assert second.spool().folder == folder
    second.log({"a": 2.0})
    drive(sender, lambda: ("a", 5) in ledger.points())
    assert not sender.progress.done
    second.log({"b": 3.0}, step=7)
    second.close()
    # Another shipper takes over amid this.
    sender.keep_progress()
    after = sender_of(folder)
    send_all(after)
    assert ledger.points() == {("a", 4): 1.0, ("a", 5): 2.0, ("b", 7): 3.0}
    assert after.progress.end_segment == 2
    assert (after.progress.damaged_bytes, after.progress.missing_segments) == (0, 0)
    assert after.progress.state == ""  # a child says nothing of the run's


def test_values_that_are_not_plain_count_on_as_well(tmp_path: Path, ledger: Ledger) -> None:
    first = child(tmp_path, ledger)
    first.log({"a": 1.0}, step=10)
    first.close()
    second = child(tmp_path, ledger)
    die(second)  # the next row finds a spool again, as the first of a forked child does
    second.step = 0
    second.log({"a": {"nested": 1.0}})
    assert read_steps(second.spool().folder) == {10, 11}


def read_steps(folder: Path) -> set[int]:
    return {step for step, _ in rows_in(folder)}


@pytest.mark.parametrize(
    "other",
    [
        {"parent": "e" * 32},
        {"run": "another"},
        {"api_key": "other"},
        {"rank": 1},
        {"entity": "team"},
        {"offline": True},
        {"base_url": "http://127.0.0.1:8"},
    ],
)
def test_only_a_sibling_of_the_same_run_and_account_is_followed(
    tmp_path: Path, ledger: Ledger, other: dict[str, Any]
) -> None:
    first = child(tmp_path, ledger)
    first.close()
    fields: dict[str, Any] = {"base_url": ledger.url, "parent": PARENT, **other}
    second = new_writer(tmp_path, primary=False, **fields)
    assert len(list(spools_in(tmp_path))) == 2
    second.close()


def test_no_spool_is_followed_that_is_not_a_childs(tmp_path: Path, ledger: Ledger) -> None:
    metas: list[dict[str, Any]] = [{}, {"parent": PARENT, "primary": True}]
    for meta in metas:
        new_writer(tmp_path, ledger.url, **meta).close()
        new_writer(tmp_path, ledger.url, **meta).close()
    assert len(list(spools_in(tmp_path))) == 4


def test_children_at_once_have_a_spool_each(tmp_path: Path, ledger: Ledger) -> None:
    writers = [child(tmp_path, ledger) for _ in range(5)]
    assert len(list(spools_in(tmp_path))) == 5
    for writer in writers:
        writer.close()
    again = [child(tmp_path, ledger) for _ in range(6)]
    assert len(list(spools_in(tmp_path))) == 6
    for writer in again:
        writer.close()


def test_a_row_in_the_making_of_the_next_child_is_no_damage(tmp_path: Path, ledger: Ledger) -> None:
    """The shipper saw the first child gone; before it reads, another begins to write."""
    first = child(tmp_path, ledger)
    folder = first.spool().folder
    first.log({"a": 1.0}, step=0)
    die(first)
    second = child(tmp_path, ledger)
    second.log({"a": 2.0}, step=1)
    at = second._segment.position
    with (folder / segment_name(2)).open("r+b") as file:  # the checksum is still to come
        file.seek(at)
        file.write(
            RECORD_HEAD.pack(PAYLOAD_HEAD.size, 0) + PAYLOAD_HEAD.pack(PayloadKind.ROW, 1, 2, 3)
        )
    reader = SpoolReader(folder)
    found = gather(reader, reader.first(), UNLIMITED, complete_to=1)
    assert found.columns.points == 2
    assert reader.damaged_bytes == 0
    assert found.end.segment == 2
    assert found.end.offset == at > FIRST_OFFSET
    reader.close()


@pytest.mark.parametrize("seed", first_of(*range(6)))
def test_any_order_of_children_deaths_and_shippers(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, seed: int
) -> None:
    """Up to three children at a time; senders come and go; the queue or the store is lost."""
    chance = random.Random(seed)
    living: list[Writer] = []
    senders: dict[Path, SpoolSender] = {}
    wanted: dict[tuple[str, int], float] = {}
    number = 0
    for _ in range(250):
        match chance.randrange(8):
            case 0 if len(living) < 3:
                living.append(child(tmp_path, ledger))
            case 1 if living:
                living.pop(chance.randrange(len(living))).close()
            case 2 if living:
                die(living.pop(chance.randrange(len(living))))
            case 3 if living:
                writer = chance.choice(living)
                for _ in range(chance.choice([1, 3, 400])):
                    key = f"k{number}"
                    number += 1
                    step = writer.step
                    writer.log({key: float(number)})
                    wanted[key, step] = float(number)
            case 4 if senders:
                gone = chance.choice(sorted(senders))
                if chance.random() < 0.5:
                    senders[gone].keep_progress()
                del senders[gone]
            case 5 if chance.random() < 0.1:
                ledger.lose_queue()
            case _:
                for folder in spools_in(tmp_path):
                    if folder not in senders:
                        senders[folder] = sender_of(folder)
                    for _ in range(chance.randrange(4)):
                        senders[folder].turn()
    for writer in living:
        writer.close()
    folders = list(spools_in(tmp_path))
    assert len(folders) <= 3
    for last in map(sender_of, folders):
        send_all(last)
        assert (last.progress.damaged_bytes, last.progress.missing_segments) == (0, 0)
    assert ledger.points() == wanted
    ledger.assert_same_bytes()


def test_a_spool_is_kept_while_the_parent_may_fork_another(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "KEEP_S", 0.0)
    parent = new_writer(tmp_path, ledger.url)
    first = child(tmp_path, ledger, parent=parent.id)
    folder = first.spool().folder
    first.log({"a": 1.0}, step=0)
    first.close()
    daemon = Daemon(tmp_path)

    def look(until: Callable[[], bool]) -> None:
        for _ in range(2_000):
            daemon._scan()
            if until():
                return
            for each in daemon._senders.values():
                each.turn()
            time.sleep(0.002)
        raise AssertionError(daemon._senders[folder].progress)

    look(lambda: daemon._senders[folder].progress.done)
    daemon._scan()
    assert folder.is_dir()
    second = child(tmp_path, ledger, parent=parent.id)
    assert second.spool().folder == folder
    parent.close()
    daemon._scan()
    assert folder.is_dir()  # a writer holds it, though the shipper has not looked since
    second.log({"a": 2.0}, step=1)
    second.close()
    daemon._scan()
    assert folder.is_dir()  # what came meanwhile is not sent
    look(lambda: not folder.exists())
    daemon.leave()
    daemon.run()
    assert ledger.points() == {("a", 0): 1.0, ("a", 1): 2.0}


def test_what_a_shipper_deletes_is_not_followed(tmp_path: Path, ledger: Ledger) -> None:
    first = child(tmp_path, ledger)
    folder = first.spool().folder
    first.close()
    lock_fd = hold_left(folder)
    assert lock_fd is not None
    second = child(tmp_path, ledger)  # while it is being deleted
    assert second.spool().folder != folder
    os.close(lock_fd)
    second.close()
    for segment in folder.glob("*.seg"):  # what was refused is kept, the rest is gone
        segment.unlink()
    third = child(tmp_path, ledger)
    assert third.spool().folder == second_folder(tmp_path, folder)
    third.close()


def second_folder(root: Path, first: Path) -> Path:
    return next(folder for folder in spools_in(root) if folder != first)
