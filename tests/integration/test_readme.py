"""README's snippets do what they say when a new user pastes them one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.up import Up, running_up

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]

README = (Path(__file__).parents[2] / "README.md").read_text()
SWEEP = """
program: train.py
method: grid
project: gpt-3
parameters: {lr: {values: [0.1, 0.01]}}
"""
TRAIN = """
import penstock
with penstock.init() as run: run.log({"train/loss": run.config.lr})
"""


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("readme")) as up:
        yield up


@pytest.fixture
def new_user(up: Up) -> dict[str, str]:
    """The one who started the server: nothing but the login file says where it is."""
    said = ("PENSTOCK_BASE_URL", "PENSTOCK_API_KEY")
    environment = {name: value for name, value in up.environ.items() if name not in said}
    commands = Path(sys.executable).parent
    return {**environment, "PATH": f"{commands}{os.pathsep}{environment['PATH']}"}


def paste(command: list[str], text: str, environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, input=text, env=environment, cwd=folder, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    return done.stdout + done.stderr


def test_pasted_in_their_order(up: Up, new_user: dict[str, str], tmp_path: Path) -> None:
    python = snippets("python")
    assert len(python) == 2
    said = paste([sys.executable, "-i", "-q"], "\n".join(python), new_user, tmp_path)
    assert f"{up.url}/?project=" in said
    assert "is stored" in said
    (run,) = up.get("/v1/projects/local/gpt-3/runs")["runs"]
    assert re.search(rf"{run['run']} 0.001 0\.0\d+", said)
    assert (run["state"], run["last_step"]) == ("finished", 999)

    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "train.py").write_text(TRAIN)
    lines = [line for block in snippets("sh") for line in block.splitlines()]
    ours = re.compile(r"penstock (?:agent|verify|export|status)\b")
    commands = [line.split("#")[0].strip() for line in lines if ours.match(line)]
    assert len(commands) == 4
    for command in commands:
        said = paste(["sh", "-e"], command.replace("RUN", run["run"]), new_user, tmp_path)
        assert said
    assert len(up.get("/v1/projects/local/gpt-3/runs")["runs"]) == 3
    assert list((tmp_path / "gpt-3").rglob("*.parquet"))


def test_every_command_exists(new_user: dict[str, str], tmp_path: Path) -> None:
    text = "\n".join(snippets("sh"))
    used = set(re.findall(r"(?:^|&& |; |\(|and: )penstock ([a-z]+)", text, flags=re.MULTILINE))
    assert {"demo", "login", "status", "up"} <= used
    helped = paste([sys.executable, "-m", "penstock", "--help"], "", new_user, tmp_path)
    assert {command for command in used if f"    {command} " not in helped} == set()


def test_the_demo(up: Up, new_user: dict[str, str], tmp_path: Path) -> None:
    command = "penstock demo --runs 1 --steps 20 --seconds 1"
    said = paste(["sh", "-e"], command, new_user, tmp_path)
    assert up.url in said
    assert len(up.get("/v1/projects/local/demo/runs")["runs"]) == 1
