"""What a batch may not hold costs itself alone: cut by value before it is numbered, by rules that the
cut names; what older versions cut otherwise is cut again, what was rejected can be sent again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.ledger import Fault, Ledger
from support.spools import Senders, drive, new_writer

from penstock.cli import main
from penstock.shipper import collector as collector_module
from penstock.shipper.cuts import CutLog
from penstock.shipper.rejects import Rejects
from penstock.spool.writer import Writer
from penstock.wire import RULES, batch_digest

LONG = "y" * 2_000_000


def told(ledger: Ledger) -> dict[str, str]:
    """What the run was told of values that were cut."""
    return {
        name.removeprefix("notice "): reason
        for record in ledger.records("run")
        for name, reason in record.items()
        if name.startswith("notice ")
    }


def merged(ledger: Ledger, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in ledger.records(kind):
        found |= record.get("update", record)
    return found


def end(writer: Writer) -> None:
    writer.append_record({"t": "state", "state": "finished", "exit_code": 0})
    writer.close()


@pytest.mark.heavy
@pytest.mark.smoke
def test_odd_and_large_values_cost_themselves_alone(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    writer.append_record(
        {"t": "run", "name": LONG, "notes": "\udcff", "tags": ["a", LONG, 5], "host": ["h"]}
    )
    update = {"a": 1, "long": LONG, "list": [0] * 100_001, "huge": [0] * 600_000, "deep": deep}
    writer.append_record({"t": "config", "update": {**update, "path": Path("x"), "bytes": b"x"}})
    for step in range(3):
        row = {"loss": 0.5, "text": LONG, "deep": deep, "odd": [{b"k": 1}], "list": [1.5] * 100_001}
        writer.log(row, step=step)
        writer.log({"nested": {"": 1.0, "x\n": 2.0, "k" * 600: 3.0}}, step=step)
    writer.log({"wide": {f"k{i}": float(i) for i in range(50_000)}}, step=9)
    end(writer)
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.rejected == 0
    run, config = merged(ledger, "run"), merged(ledger, "config")
    assert (len(run["name"]), run["notes"], run["tags"][0], run["tags"][2]) == (
        4_096,
        "?",
        "a",
        "5",
    )
    assert config.keys() == {"a", "long", "list", "path"}
    assert len(config["list"]) == 100_001
    points = ledger.points()
    assert [points["loss", step] for step in range(3)] == [0.5] * 3
    assert sum(key.startswith("wide.") for key, _ in points) == 50_000
    assert points["nested.x ", 0] == 2.0
    texts = {record["key"]: json.loads(record["json"]) for record in ledger.records("value")}
    assert texts["text"] == LONG
    assert len(texts["list"]) == 100_001
    assert texts["odd"] == [{"k": 1}]
    assert {"run.name", "config.huge", "config.deep", "config.bytes", "deep"} <= told(ledger).keys()
    assert ledger.records("state")[-1]["state"] == "finished"
    ledger.assert_same_bytes()


def test_honest_data_of_any_ratio_arrives_compressed(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.shipper.batches.is_loopback", lambda url: False)
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    for step in range(1_000):
        writer.log({f"k{j}": 1.0 for j in range(200)}, step=step)
    for step in range(100):
        writer.log({"prompt": "p" * 4_096}, step=step)
    writer.append_record(
        {"t": "console", "line": 1, "stream": "stdout", "time": 0, "text": "=" * 100_000}
    )
    end(writer)
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.rejected == 0
    assert len(ledger.points()) == 200_000
    assert len(ledger.records("value")) == 100
    assert len(ledger.records("console")[0]["text"]) == 100_000
    sizes = [len(raw) for raws in ledger.arrivals.values() for raw in raws]
    assert sum(sizes) < 200_000


def test_rows_too_large_for_any_batch_are_cut_too(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    sender = sender_of(writer.spool().folder)
    writer.log({f"t{i}": "z" * 1_500_000 for i in range(12)} | {"a": 1.0}, step=1)
    writer.log({"one": "z" * 9_000_000, "a": 2.0}, step=2)
    end(writer)
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.rejected == 0
    assert ledger.points() == {("a", 1): 1.0, ("a", 2): 2.0}
    kept = {record["key"] for record in ledger.records("value")}
    assert kept == {f"t{i}" for i in range(12)} | {"one"}
    assert told(ledger) == {"one": "cut to 7,000,000 of 9,000,000 characters"}


def test_what_an_older_version_cut_is_rebuilt_by_its_rules_and_cut_again_once_refused(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    monkeypatch.setattr(collector_module, "RULES", 0)
    sender = sender_of(folder)
    ledger.faults += [Fault(503)] * 3
    writer.append_record({"t": "run", "name": 5, "notes": "n"})
    writer.log({"a": 1.0}, step=1)
    drive(sender, lambda: sender.progress.cut == 1)
    sender.close()
    lines = (folder / "cuts").read_text().splitlines()
    fields = json.loads(lines[0].rpartition(" ")[0])
    assert fields.pop("rules") == fields.pop("source") == 0
    (folder / "cuts").write_text(json.dumps(fields) + "\n")  # as the version before wrote it
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    sender = sender_of(folder)
    raw, digest = sender._spool.builder.built(sender._spool.cuts.cuts[1])
    assert digest == fields["digest"] == batch_digest(raw)
    writer.log({"a": 2.0}, step=2)
    end(writer)
    drive(sender, lambda: sender.progress.done)
    assert sender.progress.rejected == 0
    assert ledger.points() == {("a", 1): 1.0, ("a", 2): 2.0}
    assert merged(ledger, "run")["name"] == "5"
    assert CutLog(folder).cuts[1].kind == "void"
    assert [cut.rules for cut in CutLog(folder).cuts.values() if cut.kind == "rows"] == [
        RULES,
        RULES,
    ]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_rejected_batches_are_sent_again_when_asked_for(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, *, is_restarted: bool
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults.append(Fault(400))
    writer.append_record({"t": "state", "state": "running"})
    writer.append_record({"t": "config", "update": {"lr": 0.1}})
    writer.log({"a": 1.0}, step=1)
    drive(sender, lambda: sender.progress.rejected == 1)
    writer.log({"a": 2.0}, step=2)
    end(writer)
    drive(sender, lambda: sender.progress.done)
    assert ledger.points() == {("a", 2): 2.0}
    if is_restarted:  # long after, when its rows are gone
        sender.keep_progress()
        sender.close()
        for segment in folder.glob("*.seg"):
            segment.unlink()
        sender = sender_of(folder)
    assert Rejects(folder).ask_again() == 1
    drive(sender, lambda: len(ledger.points()) == 2)
    drive(sender, lambda: sender.progress.done)
    assert merged(ledger, "config") == {"lr": 0.1}
    assert [record["state"] for record in ledger.records("state")] == ["finished"]
    assert sender.progress.rejected == 0
    assert not Rejects(folder).asked_for()
    again = sender_of(folder)
    drive(again, lambda: again.progress.done)
    ledger.assert_same_bytes()


def test_a_rejected_batch_that_is_refused_again_stays(
    tmp_path: Path, ledger: Ledger, sender_of: Senders
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults.append(Fault(400))
    writer.log({"a": 1.0}, step=1)
    drive(sender, lambda: sender.progress.rejected == sender.progress.queued == 1)
    (folder / "rejected" / "00000077.batch").write_bytes(b"damaged")
    Rejects(folder).ask_again()
    ledger.faults.append(Fault(400))
    drive(sender, lambda: sender.progress.cut >= 2 and sender.progress.rejected == 2)
    end(writer)
    drive(sender, lambda: sender.progress.done)
    names = sorted(path.name for path in (folder / "rejected").iterdir())
    assert names[-1] == "00000077.batch"
    assert len(names) == 2


@pytest.mark.timeout(60)
def test_the_command_sends_rejected_batches(
    tmp_path: Path, ledger: Ledger, sender_of: Senders, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    writer = new_writer(root, ledger.url)
    folder = writer.spool().folder
    sender = sender_of(folder)
    ledger.faults.append(Fault(422))
    writer.log({"a": 1.0}, step=1)
    drive(sender, lambda: sender.progress.rejected == 1)
    end(writer)
    drive(sender, lambda: sender.progress.done)
    sender.keep_progress()
    sender.close()
    try:
        assert main(["sync", "--rejected", "--dir", os.fspath(root)]) == 0
    finally:
        os.kill(int((root / "shipper.lock").read_text().split()[0]), signal.SIGTERM)
    assert "rejected batches to retry: 1" in capsys.readouterr().out
    assert ledger.points() == {("a", 1): 1.0}
