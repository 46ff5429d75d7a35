"""What the server does not have stands on the run's page: the shipper tells it, once, in a field."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.ledger import Fault, Ledger
from support.spools import Senders, drive, new_writer, wait_until

from penstock.spool.spool_folder import SpoolOptions

pytestmark = pytest.mark.heavy


def told(ledger: Ledger) -> list[str]:
    return [text for record in ledger.records("run") if (text := record.get("notice delivery"))]


def test_a_refused_batch_is_told_with_the_next(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url, host="node-7")
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults.append(Fault(422))
    writer.log({"a": 1.0})
    drive(sender, lambda: sender.progress.rejected == 1)
    writer.log({"a": 2.0})
    drive(sender, lambda: bool(told(ledger)))
    assert told(ledger) == [
        "1 batches were refused (as ordered); for details run penstock status on node-7"
    ]
    writer.log({"a": 3.0})
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert len(told(ledger)) == 1
    ledger.assert_same_bytes()


def test_the_last_batch_too_and_the_next_shipper_does_not_repeat_it(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    writer.log({"a": 1.0})
    writer.close()
    ledger.faults.append(Fault(422))
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done and bool(told(ledger)))
    sender.keep_progress()
    again = sender_of(folder)
    drive(again, lambda: again.progress.done)
    again.turn()
    assert len(told(ledger)) == 1
    ledger.assert_same_bytes()


def test_dead_batches_are_told(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    ledger.dead[folder.name] = [1]
    writer.log({"a": 1.0})
    writer.close()
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done and bool(told(ledger)))
    assert "1 batches could not be processed" in told(ledger)[0]


def test_dropped_rows_are_told(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    writer = new_writer(tmp_path, ledger.url, SpoolOptions(limit_bytes=1 << 20))
    folder = writer.spool().folder
    row = {f"k{number}": float(number) for number in range(1_000)}
    for _ in range(1_000):
        writer.log(row)
    assert writer.dropped_rows
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.acknowledged >= 1)

    def finds_room() -> bool:
        sender.turn(tight=True)
        before = writer.dropped_rows
        writer.log(row)
        return writer.dropped_rows == before

    wait_until(finds_room)
    writer.close()
    drive(sender, lambda: sender.progress.done)
    (text,) = told(ledger)
    assert f"{sender.progress.dropped} rows were dropped" in text


def test_telling_that_is_refused_ends(tmp_path: Path, ledger: Ledger, sender_of: Senders) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    writer.log({"a": 1.0})
    writer.close()
    for _ in range(500):
        ledger.faults.append(Fault(422))
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.rejected > 0)
    for _ in range(300):
        sender.turn()
    assert 400 < len(ledger.faults) < 500
    assert told(ledger) == []
