"""The wheel, as a stranger installs it: into an empty environment, without the project's constraints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.up import running_up

ROOT = Path(__file__).parents[2]

SCRIPT = """
import penstock as wandb
with wandb.init(project="wheel", id="first") as run:
    for i in range(100):
        run.log({"loss": 1 / (i + 1)})
rows = list(wandb.Api().run("wheel/first").scan_history(keys=["loss"]))
assert len(rows) == 100, rows
print("stored", len(rows))
"""

pytestmark = [pytest.mark.heavy, pytest.mark.smoke, pytest.mark.timeout(600)]


def pip(python: Path | str, *arguments: str) -> None:
    """Run pip. Fails with what it printed."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of an empty environment."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    return folder / "bin" / "python"


def test_the_server_of_the_wheel_starts_and_stores_a_run(
    wheel: Path, python: Path, tmp_path: Path
) -> None:
    pip(python, "install", f"{wheel}[server]")
    with running_up(tmp_path, python=python) as up:
        done = up.run_python(SCRIPT)
        assert "stored 100" in done.stdout, done.stdout + done.stderr
