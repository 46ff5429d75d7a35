"""What counts as proof that processes belong to one launch, and the notes of what was launched."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from penstock.runs import launcher
from penstock.runs.launcher import launched
from penstock.settings import Settings

JOB = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(
            ("SLURM_", "OMPI_", "PMI", "TORCHELASTIC_", "RANK", "WORLD_SIZE", "KUBERNETES_")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setattr(launcher, "_begun", {})
    monkeypatch.setattr(launcher, "_begun_in", 0)


def run_of(root: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> str | None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(launcher, "_begun", {})  # as in another process
    found = launched(Settings(dir=str(root), project="p"))
    return None if found is None else found.run


@pytest.mark.parametrize("step", ["4294967291", "4294967290", "", "batch"])
def test_a_jobs_script_and_its_shells_are_no_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    as_script = run_of(tmp_path / "a", monkeypatch, **JOB)
    assert as_script == run_of(tmp_path / "b", monkeypatch, **JOB, SLURM_STEP_ID=step)
    assert as_script != run_of(tmp_path / "c", monkeypatch, **JOB, SLURM_STEP_ID="0")


def test_project_and_number_of_the_init_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    settings = [Settings(dir=str(tmp_path), project=name) for name in ("p", "q", "p")]
    found = [launched(each) for each in settings]
    assert len({each.run for each in found if each is not None}) == 3


@pytest.mark.parametrize(
    ("arguments", "is_same"),
    [
        (["train.py", "--local_rank=1", "--lr", "2"], True),
        (["train.py", "--local-rank", "1", "--lr", "2"], True),
        (["train.py", "--lr", "2", "--local_ranks=1"], False),
        (["train.py", "--lr", "3"], False),
        (["other.py", "--lr", "2"], False),
    ],
)
def test_program_and_arguments_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], *, is_same: bool
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", "--lr", "2"])
    plain = run_of(tmp_path / "a", monkeypatch, **JOB)
    monkeypatch.setattr(sys, "orig_argv", ["python3.11", *arguments])
    assert (plain == run_of(tmp_path / "b", monkeypatch, **JOB)) == is_same


def test_old_notes_go_when_there_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_MANY_NOTES", 5)
    first = run_of(tmp_path, monkeypatch, **JOB)
    notes = tmp_path / "launched"
    for number in range(10):
        (notes / f"old-{number}").symlink_to("a process")
        os.utime(notes / f"old-{number}", (1, 1), follow_symlinks=False)
    run_of(tmp_path, monkeypatch, **JOB, SLURM_RESTART_COUNT="1")
    assert not [*notes.glob("old-*")]
    assert first == run_of(tmp_path / "b", monkeypatch, **JOB)


def test_nothing_that_goes_wrong_stops_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "file"
    place.write_text("")
    assert run_of(place, monkeypatch, **JOB) is None
    monkeypatch.setattr(launcher, "_process", lambda pid: 1 / 0)
    assert run_of(tmp_path / "other", monkeypatch, **JOB) is None
