"""Limits of this process's own cgroup, of either version, as far as files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.capture import cgroups
from penstock.capture.cgroups import cpu_limit, memory_limit_bytes, oom_kills


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cgroup of this process; the one above it is its parent."""
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(cgroups, "_folders", lambda controller: iter([own, tmp_path]))
    return own


def test_the_lowest_limit_counts(folder: Path) -> None:
    assert (memory_limit_bytes(), cpu_limit(), oom_kills()) == (None, None, 0)
    (folder / "memory.max").write_text("max\n")
    (folder / "cpu.max").write_text("max 100000\n")
    assert (memory_limit_bytes(), cpu_limit()) == (None, None)
    (folder.parent / "memory.max").write_text("1073741824\n")
    (folder.parent / "cpu.max").write_text("250000 100000\n")
    assert (memory_limit_bytes(), cpu_limit()) == (1 << 30, 2.5)
    (folder / "memory.max").write_text("1048576\n")
    assert memory_limit_bytes() == 1 << 20


def test_version_1(folder: Path) -> None:
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert (memory_limit_bytes(), cpu_limit()) == (None, None)
    (folder / "memory.limit_in_bytes").write_text("1048576\n")
    (folder / "cpu.cfs_quota_us").write_text("50000\n")
    assert (memory_limit_bytes(), cpu_limit()) == (1 << 20, 0.5)
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert oom_kills() == 3


def test_processes_that_were_killed_for_memory(folder: Path) -> None:
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\n")
    assert oom_kills() == 2
    (folder / "memory.events").write_bytes(b"\xff")
    assert oom_kills() == 0


def test_on_this_machine() -> None:
    assert oom_kills() >= 0
    assert (memory_limit_bytes() or 1) > 0
    assert (cpu_limit() or 1) > 0
