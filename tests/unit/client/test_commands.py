"""The command line of a trial, and what an agent says to the run that it starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from penstock.errors import Rejected
from penstock.runs.assignment import Assignment
from penstock.sweeps.command import command_line

PARAMETERS = {"lr": 0.1, "fast": True, "slow": False, "net": {"depth": 2}}


def words(command: list[str], folder: Path, program: str = "train.py") -> list[str]:
    return command_line(command, program, PARAMETERS, folder)


def test_the_default_command(tmp_path: Path) -> None:
    assert words([], tmp_path) == [
        "/usr/bin/env", sys.executable, "train.py",
        "--lr=0.1", "--fast=True", "--slow=False", '--net={"depth": 2}',
    ]  # fmt: skip


def test_macros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "x")
    assert words(["${args_no_hyphens}"], tmp_path)[:2] == ["lr=0.1", "fast=True"]
    assert words(["${args_no_boolean_flags}"], tmp_path) == [
        "--lr=0.1", "--fast", '--net={"depth": 2}',
    ]  # fmt: skip
    assert words(["a=${envvar:MODE}", "in/${program}"], tmp_path) == ["a=x", "in/train.py"]
    (text,) = words(["${args_json}"], tmp_path)
    assert json.loads(text) == PARAMETERS
    (path,) = words(["${args_json_file}"], tmp_path)
    assert json.loads(Path(path).read_text()) == PARAMETERS


@pytest.mark.parametrize(
    ("command", "program", "says"),
    [(["${nothing}"], "a.py", "unknown macro '${nothing}'"), ([], "", "has no `program`")],
)
def test_what_cannot_be_run(command: list[str], program: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected) as refused:
        words(command, tmp_path, program)
    assert says in str(refused.value)


def test_an_assignment_goes_through_the_environment() -> None:
    given = Assignment("ana", "mnist", "s1", "s1-0", PARAMETERS)
    assert Assignment.of(given.environment) == given
    assert Assignment.of({"PENSTOCK_RUN_ID": "r", "PENSTOCK_PROJECT": "p"}) is None
    broken = {**given.environment, "PENSTOCK_SWEEP_PARAMETERS": "{"}
    assert Assignment.of(broken) == given._replace(parameters={})
