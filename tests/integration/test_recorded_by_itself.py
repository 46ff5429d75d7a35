"""What a run records by itself, in a real installation: console of ranks and attempts, facts, files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from support.logged import Logged
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]

FACTS = {"PENSTOCK_CONSOLE": "auto", "PENSTOCK_FACTS": "machine,packages,git"}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as up:
        yield up


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A script in a repository, changed since its commit."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "--initial-branch", "trunk"], ["add", "."], ["commit", "-m", "a"]):
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)
        (tmp_path / "train.py").write_text("lr = 1\n")
    return tmp_path


def train(up: Up, folder: Path, code: str, *arguments: str, **variables: str) -> None:
    (folder / "train.py").write_text(code)
    subprocess.run(
        [sys.executable, "train.py", *arguments], cwd=folder, check=True, timeout=60,
        env={**up.environ, **FACTS, **variables}, capture_output=True,
    )  # fmt: skip


def penstock(up: Up, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "penstock.cli", *arguments], env=up.environ, check=True, timeout=60,
        capture_output=True,
    )  # fmt: skip


def console(up: Up, run: str) -> list[tuple[int, int, str]]:
    """(rank, line, text) as the page has them, without Penstock's own."""
    found = up.get(f"/v1/runs/local/p/{run}/console?limit=10000")
    ranks = {lane["lane"]: lane["rank"] for lane in found["lanes"]}
    return [
        (ranks[line["lane"]], line["line"], line["text"])
        for line in found["lines"]
        if not line["text"].startswith("penstock: ")
    ]


def wait_for_line(up: Up, run: str, text: str) -> None:
    wait_until(lambda: text in {each for _, _, each in console(up, run)}, 20)


def files(up: Up, run: str) -> dict[str, bytes]:
    found = {}
    for file in up.get(f"/v1/runs/local/p/{run}/files")["files"]:
        request = Request(f"{up.url}/v1/runs/local/p/{run}/files/{file['name']}")
        request.add_header("Authorization", f"Bearer {up.api_key}")
        with urlopen(request, timeout=10) as reply:
            found[file["name"]] = reply.read()
    return found


def info(up: Up, run: str) -> dict[str, Any]:
    found: dict[str, Any] = Logged(up, "p", run).fields()["info"]
    return found


def test_facts_and_files(up: Up, repository: Path) -> None:
    code = 'import penstock\nrun = penstock.init(project="p", id="facts")\nrun.log({"a": 1})\nprint("x")\n'
    train(
        up, repository, code, "--lr", "0.1", "--hf-token", "abc", PENSTOCK_SAVE_CODE="true",
        SLURM_JOB_ID="7", SLURM_JWT="no",
    )  # fmt: skip
    wait_until(
        lambda: {*files(up, "facts")} == {"code/train.py", "diff.patch", "requirements.txt"}, 20
    )
    wait_until(lambda: "git" in info(up, "facts"), 20)
    known = info(up, "facts")
    assert known["command"].endswith("train.py --lr 0.1 --hf-token '[redacted]'")
    assert known["cwd"] == str(repository)
    assert known["cpus"] == len(os.sched_getaffinity(0))
    assert known["launcher"] == {"kind": "slurm", "SLURM_JOB_ID": "7"}
    assert known["git"]["branch"] == "trunk"
    assert known["git"]["dirty"] is True
    kept = files(up, "facts")
    assert kept["code/train.py"].decode() == code
    assert b'+run = penstock.init(project="p", id="facts")' in kept["diff.patch"]
    assert b"\nnumpy==" in kept["requirements.txt"]
    assert [text for _, _, text in console(up, "facts")] == ["x"]
    # Its lane is none of the history's.
    assert Logged(up, "p", "facts").history() == [{"_step": 0, "a": 1}]
    penstock(up, "verify", "p/facts")


def test_a_resumed_run_goes_on_with_its_lines(up: Up, tmp_path: Path) -> None:
    code = """
import sys, penstock
run = penstock.init(project="p", id="resumed", resume="allow")
for i in range(3):
    print(sys.argv[1], i)
    run.log({"a": i})
"""
    for attempt in ("first", "second", "third"):
        train(up, tmp_path, code, attempt)
        wait_for_line(up, "resumed", f"{attempt} 2")
    lines = console(up, "resumed")
    assert [text for _, _, text in lines] == [
        f"{attempt} {i}" for attempt in ("first", "second", "third") for i in range(3)
    ]
    numbers = [number for _, number, _ in lines]
    assert numbers == sorted(set(numbers))


def test_ranks_are_told_apart(up: Up, tmp_path: Path) -> None:
    code = """
import penstock
run = penstock.init(project="p", id="ranks", mode="shared")
print("rank", run.settings.rank)
"""
    for rank in range(3):
        train(up, tmp_path, code, RANK=str(rank))
    wait_until(lambda: len(console(up, "ranks")) == 3, 20)
    assert sorted(console(up, "ranks")) == [
        (rank, number, f"rank {rank}") for rank, number, _ in sorted(console(up, "ranks"))
    ]
    assert {rank for rank, _, _ in console(up, "ranks")} == {0, 1, 2}


def test_files_survive_kill_9_and_an_outage(up: Up, repository: Path) -> None:
    code = """
import os, penstock
run = penstock.init(project="p", id="killed")
print("the last line", flush=True)
os.kill(os.getpid(), 9)
"""
    (repository / "train.py").write_text(code)
    environ = {**up.environ, **FACTS, "PENSTOCK_MODE": "offline"}
    ended = subprocess.run(
        [sys.executable, "train.py"], cwd=repository, env=environ, capture_output=True, timeout=60
    )
    assert ended.returncode == -9
    wait_until(lambda: len([*Path(environ["PENSTOCK_DIR"]).glob("*/*.file")]) >= 2, 20)
    penstock(up, "sync")
    assert {*files(up, "killed")} == {"diff.patch", "requirements.txt"}
    assert [text for _, _, text in console(up, "killed")] == ["the last line"]
    assert Logged(up, "p", "killed").state() == "crashed"
