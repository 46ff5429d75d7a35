"""`log_code` keeps source files in the spool, bounded, and never raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.runs import code
from penstock.runs.code import log_code
from penstock.runs.run import Run
from penstock.spool.files import files_in, read_file


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PENSTOCK_DIR", str(tmp_path / "spool"))
    run = penstock.init(project="p", mode="offline", reinit="create_new")
    yield run
    run.finish()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    root = tmp_path / "sources"
    for name in (
        "a.py",
        "sub/b.py",
        "data.bin",
        ".hidden/c.py",
        "env/pyvenv.cfg",
        "env/lib/d.py",
        "requirements.txt",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def kept(run: Run) -> dict[str, str]:
    found = map(read_file, files_in(run._writer.spool().folder))
    return {file.name: file.content.decode() for file in found}


def test_code_and_no_more(run: Run, sources: Path) -> None:
    assert log_code(run, sources) == 3
    assert kept(run) == {
        "code/a.py": "a.py", "code/sub/b.py": "sub/b.py", "code/requirements.txt": "requirements.txt",
    }  # fmt: skip


def test_functions_of_the_users(run: Run, sources: Path) -> None:
    count = log_code(
        run,
        str(sources),
        include_fn=lambda path: path.endswith((".bin", ".py")),
        exclude_fn=lambda path, root: Path(path).relative_to(root).parts[0] in ("env", ".hidden"),
    )
    assert count == 3
    assert kept(run).keys() == {"code/a.py", "code/sub/b.py", "code/data.bin"}


def test_bounds(
    run: Run, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(code, "MOST_FILES", 2)
    assert log_code(run, sources) == 2
    assert "log_code: 1 files below" in capsys.readouterr().err
    (sources / "large.py").write_bytes(b"x" * (code.MOST_FILE_BYTES + 1))
    monkeypatch.setattr(code, "MOST_FILES", 100)
    assert log_code(run, sources) == 3


def test_it_never_raises(run: Run, sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert log_code(run, sources, include_fn=lambda path: bool(1 / 0)) == 0
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert log_code(run, sources / "missing") == 0
    run.finish()
    assert log_code(run, sources) == 0
