"""Faults on order: each once, in one process only, and none without the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock import failpoints


def run(code: str, folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from penstock.failpoints import fail\n{code}"],
        env={**os.environ, "PENSTOCK_FAILPOINTS": folder},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_nothing_fails_unless_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("kill")
    assert run("fail('here'); print('alive')", "").stdout == "alive\n"
    assert run("fail('there'); print('alive')", str(tmp_path)).stdout == "alive\n"
    assert (tmp_path / "here").exists()


@pytest.mark.parametrize(("what", "status"), [("kill", -9), ("exit 139", 139), ("error full", 1)])
def test_a_fault_happens_once(tmp_path: Path, what: str, status: int) -> None:
    (tmp_path / "here").write_text(what)
    first = run("fail('here'); print('alive')", str(tmp_path))
    assert (first.returncode, first.stdout) == (status, "")
    assert run("fail('here'); print('alive')", str(tmp_path)).stdout == "alive\n"


def test_lines_are_done_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_FOLDER", str(tmp_path))
    (tmp_path / "here").write_text("sleep 0\nerror twice")
    failpoints.fail("here")
    with pytest.raises(OSError, match="twice"):
        failpoints.fail("here")
    failpoints.fail("here")


def test_a_fault_that_is_not_known_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_FOLDER", str(tmp_path))
    (tmp_path / "here").write_text("explode")
    with pytest.raises(ValueError, match="explode"):
        failpoints.fail("here")


def test_a_fault_for_something_happens_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_FOLDER", str(tmp_path))
    (tmp_path / "here").write_text("error bad for run1 7\nerror all of it for run2")
    for _ in range(2):
        with pytest.raises(OSError, match="bad"):
            failpoints.fail("here", "run1", 7)
        with pytest.raises(OSError, match="all of it"):
            failpoints.fail("here", "run2", 1)
    failpoints.fail("here", "run1", 77)
    failpoints.fail("here", "run22", 1)
    failpoints.fail("there", "run1", 7)
