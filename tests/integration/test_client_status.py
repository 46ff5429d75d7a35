"""`penstock status`: what it says of live, finished, crashed, offline and damaged spools."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.ledger import Fault, Ledger
from support.marks import first_of
from support.scripts import Scripts
from support.spools import Senders, drive, new_writer

from penstock.commands.status import as_text, status_of
from penstock.runs.launch import is_shipper_running, shipper_of
from penstock.spool.progress import Progress, store_progress

LIMIT = 2 << 30


def spools(scripts: Scripts) -> dict[str, dict[str, Any]]:
    found = json.loads(scripts.penstock("status", "--json"))
    return {each["run"]: each for each in found["spools"]}


def test_states(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("import penstock\nwith penstock.init(id='whole') as run: run.log({'a': 1.0})")
    scripts.run(
        "import penstock\nwith penstock.init(id='kept', mode='offline') as r: r.log({'a': 1})"
    )
    dies = "import os, penstock; penstock.init(id='dead').log({'a': 1}); os.kill(os.getpid(), 9)"
    scripts.run(dies, -signal.SIGKILL)
    live = new_writer(scripts.root, ledger.url, run="live")
    live.log({"a": 1.0})
    found = spools(scripts)
    assert {run: each["state"] for run, each in found.items()} == {
        "whole": "finished", "kept": "offline", "dead": "crashed", "live": "live",
    }  # fmt: skip
    assert found["whole"]["size_bytes"] == found["whole"]["batches"] == 0
    assert found["kept"]["size_bytes"] > 0
    assert 0 <= found["kept"]["lag_s"] < 600
    assert found["whole"]["lag_s"] is None
    live.close()


def test_text_fits_a_terminal(scripts: Scripts, ledger: Ledger) -> None:
    scripts.environment["PENSTOCK_BASE_URL"] = "http://127.0.0.1:9"
    name = "a-project-with-a-rather-long-name-that-goes-on"
    scripts.run(
        f"import penstock\nrun = penstock.init(project={name!r}, id='r1')\n"
        "run.log({'a': 1.0}); run.finish(timeout_s=1)"
    )
    text = scripts.penstock("status")
    assert "cannot reach http://127.0.0.1:9" in text
    assert "finished" in text
    assert f"of {2.0} GiB" in text
    assert "sent by process" in text
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines[1:]), text
    assert any(line.startswith("…") and "/r1 " in line for line in lines)


def test_no_shipper_and_no_data(tmp_path: Path, scripts: Scripts) -> None:
    assert "no data is kept on this machine" in scripts.penstock(
        "status", "--dir", str(tmp_path / "none")
    )
    assert not (tmp_path / "none").exists()
    root = tmp_path / "other"
    root.mkdir()
    writer = new_writer(root, "http://127.0.0.1:9")
    writer.log({"a": 1.0})
    status = status_of(root, LIMIT)
    assert status.shipper is None
    assert "not being sent now" in as_text(status)
    assert not (root / "shipper.lock").exists()
    assert status.used_bytes > 0
    writer.close()


def test_what_was_refused_damaged_and_lost_is_said(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    writer.log({"a": 1.0})
    writer.close()
    progress = Progress(
        rejected=2, dead=[4], dropped=7, damaged_bytes=3_000, missing_segments=1, damaged_cuts=2,
        lost_batches=3, lost_points=90,
    )  # fmt: skip
    store_progress(folder, progress)
    (spool,) = status_of(tmp_path, LIMIT).spools
    assert (spool.rejected, spool.dead, spool.dropped) == (2, [4], 7)
    text = as_text(status_of(tmp_path, LIMIT))
    said = " ".join(text.split())
    for part in (
        "the server refused 2 batches",
        "the server could not process 1 batch",
        "penstock dead replay",
        "dropped 7 rows",
        "2.9 KiB, 1 segment missing",
        "2 lines of",
        "lacks 3 batches with 90 points",
    ):
        assert part in said


@pytest.mark.parametrize("content", first_of(b"", b"{", b'{"run":"r"}', None))
def test_a_spool_whose_meta_is_damaged_is_reported(
    scripts: Scripts, ledger: Ledger, content: bytes | None
) -> None:
    scripts.root.mkdir()
    bad, good = new_writer(scripts.root, ledger.url), new_writer(scripts.root, ledger.url, run="g")
    folder = bad.spool().folder
    for writer in (bad, good):
        writer.log({"a": 1.0})
        writer.close()
    if content is None:
        (folder / "meta.json").unlink()
    else:
        (folder / "meta.json").write_bytes(content)
    text = scripts.penstock("status")
    assert folder.name in text
    assert "unreadable" in text
    # It stops nobody else's data from being sent.
    said = scripts.penstock("sync", status=0 if content is None else 1)
    assert ledger.points() == {("a", 0): 1.0}
    assert ("cannot read" in said) == (content is not None)
    assert (folder / "00000001.seg").exists()


def test_backlog_is_what_is_not_stored(tmp_path: Path, ledger: Ledger) -> None:
    ledger.commits = False
    senders = Senders(ledger)
    writer = new_writer(tmp_path, ledger.url)
    sender = senders(writer.spool().folder)
    writer.log({"a": 1.0})
    drive(sender, lambda: sender.progress.queued == 1)
    sender.keep_progress()
    (spool,) = status_of(tmp_path, LIMIT).spools
    assert spool.batches == 1
    one = spool.size_bytes
    writer.log({"a": 2.0})
    (spool,) = status_of(tmp_path, LIMIT).spools
    assert (spool.batches, spool.size_bytes > one) == (1, True)
    ledger.commits = True
    drive(sender, lambda: sender.progress.committed == 2)
    sender.keep_progress()
    (spool,) = status_of(tmp_path, LIMIT).spools
    assert (spool.batches, spool.size_bytes, spool.lag_s) == (0, 0, None)
    writer.close()
    senders.close()


def test_the_training_is_told_once_of_what_the_server_refused(
    scripts: Scripts, ledger: Ledger
) -> None:
    ledger.faults.append(Fault(422))
    said = scripts.run("import penstock\nwith penstock.init() as run: run.log({'a': 1.0})")
    assert said.count("the server refused 1 batch: as ordered; kept in") == 1
    assert is_shipper_running(scripts.root)
    assert shipper_of(scripts.root)[0] != os.getpid()
