"""What a run recorded by itself, on its page: console lines, facts, files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.sweep import Open
from playwright.sync_api import expect
from support.up import Up, running_up, wait_until

pytestmark = pytest.mark.heavy

TRAIN = """
import os, sys, time, penstock
run = penstock.init(project="p", id="r", name="recorded")
print("\\x1b[32mloaded\\x1b[0m 4 shards")
for step in range(1, 101):
    run.log({"loss": 1 / step})
    print(f"\\rstep {step}/100", end="", file=sys.stderr, flush=True)
print(file=sys.stderr)
os.system("echo from a child")
raise ValueError("the loss is not a number")
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("recorded")
    with running_up(folder) as up:
        script = folder / "train.py"
        script.write_text(TRAIN)
        recorded = {
            "PENSTOCK_CONSOLE": "auto", "PENSTOCK_FACTS": "machine,packages,git", "PENSTOCK_SAVE_CODE": "1",
            "SLURM_JOB_ID": "4711",
        }  # fmt: skip
        subprocess.run(
            [sys.executable, "train.py", "--lr", "0.1"], cwd=folder, env=up.environ | recorded,
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        wait_until(lambda: len(up.get("/v1/runs/local/p/r/files")["files"]) >= 2, 30)
        wait_until(lambda: up.get("/v1/runs/local/p/r/console")["total"] >= 8, 30)
        yield up


def test_the_console(up: Up, open_page: Open, tmp_path: Path) -> None:
    page = open_page(f"{up.url}/?project=local/p&run=r&tab=logs")
    lines = page.locator(".log-line")
    expect(lines.filter(has_text="from a child")).to_have_count(1)
    bar = lines.filter(has_text="step 100/100")
    expect(bar).to_have_count(1)
    expect(bar).to_have_class("log-line is-error")
    expect(lines.filter(has_text="step 99/100")).to_have_count(0)
    expect(lines.filter(has_text="loaded").locator(".ansi-green")).to_have_text("loaded")
    expect(lines.filter(has_text="ValueError: the loss is not a number")).to_have_count(1)
    page.screenshot(path=tmp_path / "logs.png")


def test_facts_and_files(up: Up, open_page: Open, tmp_path: Path) -> None:
    page = open_page(f"{up.url}/?project=local/p&run=r&tab=files")
    facts = page.locator("dl.facts")
    for name, text in {
        "Command": "train.py --lr 0.1",
        "Machine": "CPU",
        "Launcher": "slurm",
        "SLURM_JOB_ID": "4711",
        "Exit code": "1",
        "Exit reason": "ValueError: the loss is not a number",
    }.items():
        row = facts.locator("div", has=page.locator("dt", has_text=name)).first
        expect(row.locator("dd")).to_contain_text(text)
    expect(page.get_by_text("requirements.txt").first).to_be_visible()
    expect(page.get_by_text("code").first).to_be_visible()
    page.screenshot(path=tmp_path / "files.png")
