"""A spool at rest costs a glance instead of a turn, and whatever happens in it is noticed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from support.ledger import Ledger
from support.spools import Senders, drive, new_writer, wait_until

from penstock.shipper import polls
from penstock.shipper.rejects import Rejects
from penstock.shipper.sender import SpoolSender
from penstock.spool.writer import Writer

LONG_S = 1e9


def is_resting(sender: SpoolSender) -> bool:
    return sender.is_resting(time.monotonic(), LONG_S)


@pytest.fixture
def writer(tmp_path: Path, ledger: Ledger) -> Writer:
    return new_writer(tmp_path, ledger.url)


@pytest.fixture
def resting(
    writer: Writer, ledger: Ledger, sender_of: Senders, monkeypatch: pytest.MonkeyPatch
) -> SpoolSender:
    """A sender that has sent one row and has nothing more to do."""
    monkeypatch.setattr(polls, "POLL_S", 0.05)
    sender = sender_of(writer.spool().folder)
    assert not is_resting(sender)
    writer.log({"loss": 1.0}, step=0)
    drive(sender, lambda: bool(ledger.points()))
    drive(sender, lambda: is_resting(sender))
    return sender


def test_what_is_logged_ends_the_rest(resting: SpoolSender, writer: Writer, ledger: Ledger) -> None:
    writer.log({"loss": 2.0}, step=1)
    assert not is_resting(resting)
    drive(resting, lambda: len(ledger.points()) == 2)
    drive(resting, lambda: is_resting(resting))
    writer.append_record({"t": "state", "state": "finished"})
    assert not is_resting(resting)
    writer.close()
    drive(resting, lambda: resting.progress.done)
    drive(resting, lambda: is_resting(resting))  # until it is deleted


def test_a_record_that_is_being_written_is_not_taken_for_nothing(
    resting: SpoolSender, writer: Writer
) -> None:
    writer.log({"loss": 2.0}, step=1)
    segment = max(writer.spool().folder.glob("*.seg"))
    content = segment.read_bytes()
    at = content.rstrip(b"\0")[-1:]
    assert at  # the last byte of the new row: without it, its checksum is wrong
    with segment.open("r+b") as file:
        file.seek(len(content.rstrip(b"\0")) - 1)
        file.write(b"\0")
        file.flush()
        for _ in range(20):
            resting.hurry()
            resting.turn()
            assert not is_resting(resting)
        file.seek(len(content.rstrip(b"\0")) - 1)
        file.write(at)


def test_files_that_come_and_go_end_it(resting: SpoolSender, writer: Writer) -> None:
    (writer.spool().folder / "00000009.seg").write_bytes(b"")
    assert not is_resting(resting)


def test_whoever_waits_ends_it(resting: SpoolSender) -> None:
    resting.hurry()
    assert not is_resting(resting)


def test_a_turn_comes_now_and_then(resting: SpoolSender) -> None:
    now = time.monotonic()
    assert resting.is_resting(now, 60.0)
    assert not resting.is_resting(now + 60.0, 60.0)
    assert not resting.is_resting(now, 0.0)


def test_a_heartbeat_that_says_something_else_ends_it(
    resting: SpoolSender, writer: Writer, ledger: Ledger
) -> None:
    same = {"store": "s", "writer": resting.meta.writer, "queued": 1, "committed": 1}
    resting.acknowledge(resting.reply_count, same)
    assert not is_resting(resting)
    drive(resting, lambda: is_resting(resting))
    resting.acknowledge(resting.reply_count, dict(same))
    assert is_resting(resting)
    resting.acknowledge(resting.reply_count, {**same, "store": "another"})
    assert not is_resting(resting)


def test_without_room_there_is_no_rest(resting: SpoolSender) -> None:
    for _ in range(20):
        resting.hurry()
        resting.turn(tight=True)
        assert not is_resting(resting)


def test_a_writer_that_died_is_noticed_by_a_turn(
    resting: SpoolSender, writer: Writer, ledger: Ledger
) -> None:
    os.close(writer.spool()._lock_fd)  # as if the process had died
    writer.spool()._lock_fd = os.open(os.devnull, os.O_RDONLY)
    drive(resting, lambda: resting.progress.done)
    assert [each["state"] for each in ledger.records("state")] == ["crashed"]


def test_what_a_user_retries_is_noticed_by_a_turn(
    resting: SpoolSender, writer: Writer, ledger: Ledger
) -> None:
    rejects = Rejects(writer.spool().folder)
    [[raw, *_], *_] = ledger.arrivals.values()
    rejects.keep(1, raw)
    assert rejects.ask_again() == 1
    resting.hurry()
    wait_until(lambda: (resting.turn(), not rejects.asked_for())[1])
