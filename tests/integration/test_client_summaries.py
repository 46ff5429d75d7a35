"""`define_metric(summary=…)`: the run's summary is right, whoever sends and whatever is restarted."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.ledger import Fault, Ledger
from support.spools import Senders, drive, new_writer

from penstock.shipper.cuts import CutLog
from penstock.spool.writer import Writer


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


KINDS = ["min", "max", "mean", "best", "first", "last", "none", "max,mean", "copy", ""]


@pytest.mark.parametrize("seed", range(8))
def test_a_script_sees_what_the_server_is_told(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, seed: int
) -> None:
    rng = random.Random(seed)
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    names = ["a", "b", "val/x", "val/y"]
    for name in [*names, "val/*"]:
        goal = rng.choice(["maximize", "minimize"])
        record = {"t": "define_metric", "name": name, "summary": rng.choice(KINDS), "goal": goal}
        writer.append_record(record)
        writer.learn(record)
    figures: list[Any] = [1, 2.5, -3.0, float("inf"), float("-inf"), 2**60, True, "text", None]
    logged: dict[str, Any] = {}
    for _ in range(rng.randrange(1, 40)):
        row = {name: rng.choice(figures) for name in rng.sample(names, rng.randrange(1, 5))}
        logged |= row
        writer.log(row)
    seen = writer.summary()
    writer.close()
    drive(sender, lambda: sender.progress.done)
    told = summary(ledger)
    expected = {
        k: v for k, v in (logged | told).items() if not writer._shapes._summaries.rules.hides(k)
    }
    assert repr(sorted(seen.items())) == repr(sorted(expected.items()))


def test_until_a_metric_is_logged_again_its_last_value_stands(
    tmp_path: Path, ledger: Ledger
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    writer.log({"acc": 5.0})
    assert writer.summary() == {"acc": 5.0}
    record = {"t": "define_metric", "name": "acc", "summary": "max"}
    writer.learn(record)
    assert writer.summary() == {"acc": 5.0}
    for value in (2.0, 3.0, 1.0):
        writer.log({"acc": value})
    assert writer.summary() == {"acc": {"max": 3.0}}
    writer.close()
