"""Settings: a setting that was renamed still takes its old name, with a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import Rejected
from penstock_common.process.settings import WorkerSettings, load


def test_an_old_name_works_and_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = {"PENSTOCK_SWEEP_UNTIL_S": "7"}
    assert load(WorkerSettings, environ=old).purge_until_s == 7
    assert "PENSTOCK_SWEEP_UNTIL_S new=PENSTOCK_PURGE_UNTIL_S" in caplog.text
    caplog.clear()
    file = tmp_path / "penstock.toml"
    file.write_text("sweep_until_s = 8.0\n")
    assert load(WorkerSettings, environ={}, file=file).purge_until_s == 8
    assert "sweep_until_s new=purge_until_s" in caplog.text


def test_the_new_name_wins_over_the_old_one(caplog: pytest.LogCaptureFixture) -> None:
    both = {"PENSTOCK_SWEEP_UNTIL_S": "7", "PENSTOCK_PURGE_UNTIL_S": "9"}
    assert load(WorkerSettings, environ=both).purge_until_s == 9
    assert not caplog.text


def test_an_unknown_setting_in_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text("sweep_until = 8.0\n")
    with pytest.raises(Rejected, match="unknown settings: sweep_until"):
        load(WorkerSettings, environ={}, file=file)
