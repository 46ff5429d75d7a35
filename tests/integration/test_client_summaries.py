"""`define_metric(summary=…)`: the run's summary is right, whoever sends and whatever is restarted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.ledger import Fault, Ledger
from support.spools import Senders, drive, new_writer

from penstock.shipper.cuts import CutLog
from penstock.writer import Writer


def defined(writer: Writer, name: str, **options: Any) -> None:
    writer.append_record({"t": "define_metric", "name": name, **options})


def summary(ledger: Ledger) -> dict[str, Any]:
    return {
        key: value
        for record in ledger.records("summary")
        for key, value in record["update"].items()
    }


def test_the_shipper_goes_on_after_a_restart(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    defined(writer, "acc", summary="max,mean")
    sender = sender_of(folder)
    for step in range(100):
        writer.log({"acc": float(step), "loss": 1.0}, step=step)
    drive(sender, lambda: sender.progress.committed == sender.progress.cut > 0)
    sender.close()
    for step in range(100, 200):
        writer.log({"acc": -1.0}, step=step)
    writer.close()
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done)
    assert summary(ledger) == {"acc": {"max": 99.0, "mean": (sum(range(100)) - 100) / 200}}


def test_what_is_sent_again_has_the_same_bytes(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    defined(writer, "val/*", summary="best", goal="maximize")
    ledger.faults += [Fault(drop=True, take=True)]
    writer.log({"val/acc": 0.3}, step=1)
    drive(sender, lambda: sender.progress.cut == 1)
    sender.close()
    writer.log({"val/acc": 0.1}, step=2)
    writer.close()
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done)
    ledger.assert_same_bytes()
    assert summary(ledger) == {"val/acc": {"best": 0.3}}


def test_cuts_of_runs_without_such_rules_are_as_older_versions_know_them(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    defined(writer, "acc", step_metric="epoch")
    writer.log({"acc": 1.0})
    writer.close()
    drive(sender, lambda: sender.progress.done)
    assert "fold" not in (sender.folder / "cuts").read_text()
    assert not CutLog(sender.folder).fold
    assert summary(ledger) == {}
