"""A training wakes its shipper, so that a run that ends is not kept waiting for the next look."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support.ledger import Ledger
from support.spools import new_writer, wait_until

from penstock.shipper import daemon as daemon_module
from penstock.shipper.daemon import Daemon
from penstock.spool.bell import ring
from penstock.spool.progress import load_progress


@pytest.mark.parametrize("has_pipe", [True, False])
def test_the_bell_wakes_a_shipper_that_sleeps(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, has_pipe: bool
) -> None:
    if not has_pipe:  # as on a file system that has none: then it looks by itself, as before
        (tmp_path / "shipper.bell").mkdir()
    monkeypatch.setattr(daemon_module, "_SCAN_S", 300.0 if has_pipe else 0.1)
    daemon = Daemon(tmp_path, idle_exit_s=600.0)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        for run in ("one", "two"):
            writer = new_writer(tmp_path, ledger.url, run=run)
            writer.log({"loss": 0.5})
            folder = writer.spool().folder
            writer.close()
            ring(tmp_path)
            wait_until(lambda folder=folder: load_progress(folder).done)  # type: ignore[misc]
        assert {batch.run for batch in ledger.batches()} == {"one", "two"}
    finally:
        daemon.leave()
        thread.join(20)
    assert not thread.is_alive()
