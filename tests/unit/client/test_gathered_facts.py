"""Facts of a run's surroundings: git, packages, launcher, the script; each bounded and without secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.capture.facts import gather, packages_in
from penstock.capture.git import MAX_DIFF_BYTES, git_facts
from penstock.capture.launchers import launcher_facts
from penstock.capture.secrets import REDACTED, Redactor
from penstock.spool.files import MAX_FILE_BYTES, add_file, files_in, read_file


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--initial-branch", "trunk")
    (folder / "train.py").write_text("lr = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--message", "first")
    return folder


def test_a_clean_repository(repository: Path) -> None:
    found = git_facts(repository, str)
    assert found is not None
    assert found.facts == {
        "commit": git(repository, "rev-parse", "HEAD"), "branch": "trunk", "dirty": False,
    }  # fmt: skip
    assert found.diff == b""


def test_what_differs_from_the_commit(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://me:word@example.org/r.git")
    (repository / "train.py").write_text('lr = 2\nHF_TOKEN="abcdefghijklmnop"\n')
    below = repository / "below"
    below.mkdir()
    found = git_facts(below, Redactor())
    assert found is not None
    assert found.facts["remote"] == "https://example.org/r.git"
    assert found.facts["dirty"] is True
    assert b"-lr = 1\n+lr = 2\n" in found.diff
    assert f'+HF_TOKEN="{REDACTED}"'.encode() in found.diff


def test_a_large_diff_is_cut(repository: Path) -> None:
    (repository / "train.py").write_text("x" * 99 + "\n" + "y = 1\n" * (MAX_DIFF_BYTES // 4))
    found = git_facts(repository, str)
    assert found is not None
    assert found.facts["dirty"] is True
    assert MAX_DIFF_BYTES - 200 < len(found.diff) < MAX_DIFF_BYTES + 200
    assert found.diff.endswith(b"(cut after 4 MiB)\n")


def test_nothing_of_a_repository_is_run(repository: Path, tmp_path: Path) -> None:
    trap, sprung = tmp_path / "trap", tmp_path / "sprung"
    trap.write_text(f"#!/bin/sh\ntouch {sprung}\n")
    trap.chmod(0o755)
    (repository / ".gitattributes").write_text("*.py diff=evil\n")
    for setting in ("core.fsmonitor", "diff.external", "diff.evil.command", "diff.evil.textconv"):
        git(repository, "config", setting, str(trap))
    (repository / "train.py").write_text("lr = 2\n")
    sprung.unlink(missing_ok=True)
    found = git_facts(repository, str)
    assert found is not None
    assert b"+lr = 2" in found.diff
    assert not sprung.exists()


def test_no_repository_and_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_facts(tmp_path, str) is None
    git(tmp_path, "init")
    assert git_facts(tmp_path, str) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_facts(tmp_path, str) is None


def test_packages(tmp_path: Path) -> None:
    for name in (
        "b_c-2.0.dist-info",
        "A-1.0rc1.dist-info",
        "old-0.1-py3.11.egg-info",
        "no.dist-info",
        "x",
    ):
        (tmp_path / "first" / name).mkdir(parents=True)
    (tmp_path / "second" / "B.C-1.0.dist-info").mkdir(parents=True)
    path = [str(tmp_path / each) for each in ("first", "second", "missing")]
    assert packages_in(path) == ["A==1.0rc1", "b_c==2.0", "old==0.1"]
    assert any(line.startswith("pytest==") for line in packages_in(sys.path))


def test_launchers() -> None:
    environment = {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "a", "SLURM_JWT": "secret", "RANK": "1", "HOME": "/",
        "TORCHELASTIC_RUN_ID": "x", "AWS_SECRET_ACCESS_KEY": "y",
    }  # fmt: skip
    assert launcher_facts(environment, str) == {
        "kind": "slurm+torchrun", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "a", "RANK": "1",
        "TORCHELASTIC_RUN_ID": "x",
    }  # fmt: skip
    assert launcher_facts({"RANK": "1"}, str) == {}


def gathered(tmp_path: Path, *wants: str, **process: Any) -> dict[str, Any]:
    about = {
        "command": ["python", "train.py", "--api-key", "abc"], "executable": sys.executable,
        "cwd": str(tmp_path), "script": "", "module": "", "sys_path": sys.path,
    }  # fmt: skip
    found: dict[str, Any] = {"facts": {}, "files": {}}
    for said in gather({"process": {**about, **process}, "wants": wants}, "a-secret-api-key"):
        for kind, entries in said.items():
            found[kind] |= entries
    return found


def test_the_machine(tmp_path: Path) -> None:
    facts = gathered(tmp_path, "machine")["facts"]
    assert facts["command"] == f"python train.py --api-key '{REDACTED}'"
    assert facts["cwd"] == str(tmp_path)
    assert facts["cpus"] >= 1
    assert facts["memory_gib"] > 0
    assert "git" not in facts


def test_the_script(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "train.py").write_text("x = 1\n")
    assert gathered(tmp_path, "code", script="sub/train.py")["files"] == {
        "code/sub/train.py": b"x = 1\n"
    }
    elsewhere = str(tmp_path / "sub" / "train.py")
    assert gathered(tmp_path / "other", "code", script=elsewhere)["files"] == {
        "code/train.py": b"x = 1\n"
    }
    assert gathered(tmp_path, "code", script="missing.py")["files"] == {}
    assert gathered(tmp_path, "packages")["files"].keys() == {"requirements.txt"}


def test_a_spooled_file_says_its_name(tmp_path: Path) -> None:
    add_file(tmp_path, 'code/ä "b".py', b"\n\x00content\n")
    (found,) = files_in(tmp_path)
    assert read_file(found) == ('code/ä "b".py', b"\n\x00content\n")
    found.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="name"):
        read_file(found)
    with pytest.raises(ValueError, match="at most"):
        add_file(tmp_path, "large", b"x" * (MAX_FILE_BYTES + 1))
    assert [*files_in(tmp_path)] == [found]
    assert [*files_in(tmp_path / "missing")] == []
