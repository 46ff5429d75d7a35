"""Docs that cannot rot: every setting is in the manual, and the examples of docs/api.md run."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from support.up import Up, running_up, wait_until

from penstock_common.process.settings import GatewaySettings, WorkerSettings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("kind", [GatewaySettings, WorkerSettings])
def test_every_setting_is_in_the_manual(kind: type) -> None:
    text = (DOCS / "configuration.md").read_text()
    for each in fields(kind):
        assert f"`PENSTOCK_{each.name.upper()}`" in text, each.name
        assert each.metadata["help"] in text, each.name


def test_what_proves_a_promise_exists() -> None:
    """Every test file that docs/guarantees.md names is there; without a folder it is in tests/faults."""
    named = set(re.findall(r"`((?:tests/)?[\w/]+\.py)`", (DOCS / "guarantees.md").read_text()))
    root = DOCS.parent
    paths = {name if name.startswith("tests/") else f"tests/faults/{name}" for name in named}
    assert len(paths) > 10
    assert not [path for path in sorted(paths) if not (root / path).exists()]


def commands(page: str, program: str) -> list[str]:
    """The commands of a page that start with a program, as they stand."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [block for block in blocks if block.lstrip().startswith(program)]


def run_in(up: Up, folder: Path, command: str) -> str:
    """The output of a command, run by this installation's user in a folder."""
    path = f"{Path(sys.executable).parent}:{up.environ['PATH']}"
    environ = {**up.environ, "PATH": path, "PENSTOCK_DATA": str(up.folder / "data")}
    done = subprocess.run(
        ["bash", "-c", command],
        env=environ, cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_the_curl_examples_work_as_written(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        write, beat, search, fields_, chart, export = commands("api.md", "curl")
        assert '"queued":1' in run_in(up, tmp_path, write)
        assert '"writer":"w1","queued":0,"committed":null' in run_in(up, tmp_path, beat)
        wait_until(lambda: '"last":[0.9,0.5]' in run_in(up, tmp_path, chart))
        assert '"total":1,' in run_in(up, tmp_path, search)
        assert '"path":"summary.loss"' in run_in(up, tmp_path, fields_)
        assert run_in(up, tmp_path, export).startswith('"_step","_timestamp","_runtime","loss"\n0,')


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_the_examples_of_export_and_backup_work_as_written(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        row = {"step": 0, "loss": 0.5}
        up.post("/v1/batches", {"project": "sweep", "run": "a1b2c3d4", "rows": [row]})
        wait_until(lambda: up.get("/v1/projects")["projects"])
        (export,) = commands("export.md", "penstock")
        run_in(up, tmp_path, export.replace("team/", "local/"))
        assert list((tmp_path / "sweep/history/run=a1b2c3d4").glob("*.parquet"))
        backup, restore = commands("backup.md", "penstock")
        run_in(up, tmp_path, backup)
        run_in(up, tmp_path, restore)
        assert (tmp_path / "restored" / "catalog.db").exists()


def glossary() -> list[str]:
    """The terms of docs/glossary.md."""
    return re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)


def test_every_word_of_the_glossary_is_in_use() -> None:
    """In the code, its file names or the other docs; several words may be written as one name."""
    terms = glossary()
    assert len(terms) > 40
    assert len(terms) == len(set(terms))
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.ts", "*.tsx", "*.md"],
        cwd=DOCS.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.splitlines() if not name.startswith("tests/")]
    texts = [
        f"{name}\n{(DOCS.parent / name).read_text()}".lower()
        for name in names
        if name != "docs/glossary.md" and (DOCS.parent / name).exists()
    ]
    for term in terms:
        written = re.compile(r"[ _-]?".join(re.escape(part) for part in term.lower().split()))
        assert any(written.search(text) for text in texts), term


def test_every_link_between_pages_leads_somewhere() -> None:
    root = DOCS.parent
    for page in [*root.glob("*.md"), *DOCS.glob("*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            if "://" in link or path.endswith(".png"):
                continue
            target = (page.parent / path) if path else page
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
                assert anchor in slugs, f"{page.name}: {link}"


def test_every_path_in_contributing_exists() -> None:
    text = (DOCS.parent / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", text)
    assert len(paths) > 20
    assert not [path for path in paths if not (DOCS.parent / path).exists()]
