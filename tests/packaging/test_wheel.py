"""The wheel, as a stranger installs it: into an empty environment, without the project's constraints."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.chromium import chromium
from support.up import running_up

from penstock.wire import decode_batch

ROOT = Path(__file__).parents[2]

SCRIPT = """
import penstock as wandb
with wandb.init(project="wheel", id={run!r}, name={run!r}) as run:
    for i in range(100):
        run.log({{"loss": 1 / (i + 1)}})
rows = list(wandb.Api().run("wheel/{run}").scan_history(keys=["loss"]))
assert len(rows) == 100, rows
print("stored", len(rows))
"""
MAX_CLIENT_PACKAGES = 4
"""What `pip install penstock` may add to an environment: the package's direct and indirect dependencies."""
MAX_CLIENT_BYTES = 85 * 10**6

COMPRESSED = """
import sys
from penstock.wire import Batch, encode_batch
batch = Batch(project="wheel", run="r", writer="w", seq=1, writer_started=1, rank=0)
batch.records = [{"t": "log", "text": "x" * 10_000}]
sys.stdout.buffer.write(encode_batch(batch, compress=True))
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


def empty_environment(folder: Path) -> Path:
    """The interpreter of a new one."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    return folder / "bin" / "python"


def packages(python: Path) -> set[str]:
    """What is installed beside Penstock and pip."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return {each["name"] for each in json.loads(listed.stdout)} - {"penstock", "pip", "setuptools"}


def size_of(python: Path) -> int:
    """The bytes of everything that is installed there beside pip and setuptools."""
    folders = (python.parents[1] / "lib").glob("python*/site-packages/*")
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
    chosen = [each for each in folders if not each.name.startswith(tools)]
    files = [file for each in chosen for file in (each, *each.rglob("*")) if file.is_file()]
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc")


def test_server_client_and_page_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """The server, the bare client in another environment, and the page."""
    server, client = (empty_environment(tmp_path / name) for name in ("server", "client"))
    pip(server, "install", f"{wheel}[server]")
    pip(client, "install", str(wheel))
    assert len(packages(client)) <= MAX_CLIENT_PACKAGES, packages(client)
    assert size_of(client) <= MAX_CLIENT_BYTES
    raw = subprocess.run([client, "-c", COMPRESSED], capture_output=True, check=True, timeout=60)
    assert decode_batch(raw.stdout).records[0]["text"] == "x" * 10_000
    assert len(raw.stdout) < 1_000
    with running_up(tmp_path, python=server) as up:
        for python, run in ((server, "beside-it"), (client, "elsewhere")):
            done = replace(up, python=python).run_python(SCRIPT.format(run=run))
            assert "stored 100" in done.stdout, done.stdout + done.stderr
        with chromium() as browser:
            page = browser.new_page()
            page.goto(f"{up.url}/?project=local/wheel")
            for run in ("beside-it", "elsewhere"):
                expect(page.get_by_text(run).first).to_be_visible(timeout=20_000)
            expect(page.locator("canvas").first).to_be_visible(timeout=20_000)
