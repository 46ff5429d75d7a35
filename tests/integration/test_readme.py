"""README's snippets do what they say when a new user pastes them one after another."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gateways import free_port
from support.up import Up, end_shipper, running_up

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]

README = (Path(__file__).parents[2] / "README.md").read_text()
SWEEP = """
program: train.py
method: grid
project: gpt-3
parameters: {lr: {values: [0.1, 0.01]}}
"""
TRAIN = """
import os
if "WANDB_API_KEY" in os.environ:
    import wandb
    run = wandb.init(project="official", config={"lr": 1.0})
else:
    import penstock
    run = penstock.init()
run.log({"train/loss": run.config["lr"]})
run.finish()
"""
RUN_ID = """
import penstock
(run,) = penstock.Api().runs("gpt-3", filters={"config.lr": 1e-3})
print(run.id)
"""
# The words of README that the reader replaces, or that would take too long or go too far here, and what
# stands in for them.
STAND_INS = {
    "git clone <this repository> penstock && cd": "mkdir penstock && cp *.* penstock && cd",
    "make up": "ln -s ENVIRONMENT .venv && .venv/bin/penstock up --port PORT_1 --data data --detach",
    "penstock demo": "penstock demo --runs 1 --steps 20 --seconds 1",
    "http://127.0.0.1:8080": "http://127.0.0.1:PORT_1",
    "penstock_…": "$(cat data/api_key)",
    "gpt-3/RUN": "gpt-3/$(python run_id.py)",
    "/backups/penstock": "backups",
    "--port 8081 --data /srv/penstock --detach": "--port PORT_2 --data second --detach",
    "# and: penstock down --data /srv/penstock": "&& penstock down --data second",
    "--host 0.0.0.0": "--host 0.0.0.0 --port PORT_2 --data open --detach",
    "--gateways 2 --workers 2": "--gateways 2 --workers 2 --port PORT_3 --data proxied --detach",
    # tests/deploy tries the files that these name.
    "docker compose -f": ": docker compose -f",
    "helm install": ": helm install",
    "login --host http://tracker:8080": "login --key - --host http://127.0.0.1:PORT_2 <open/api_key",
}  # fmt: skip


def snippets(language: str = r"\w+") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def script(ports: list[int]) -> str:
    """All snippets in their order, for one shell; those in Python go to an interpreter in it."""
    text = ""
    for language, snippet in re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL):
        assert language in ("sh", "python")
        text += snippet if language == "sh" else f"python -q -i <<'END'\n{snippet}\nEND\n"
    for words, stand_in in STAND_INS.items():
        assert words in text, words
        text = text.replace(words, stand_in)
    text = text.replace("ENVIRONMENT", shlex.quote(sys.prefix))
    for number, port in enumerate(ports, 1):
        text = text.replace(f"PORT_{number}", str(port))
    return text


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


def paste(
    command: list[str], text: str, environment: dict[str, str], folder: Path, timeout_s: float = 120
) -> str:
    done = subprocess.run(
        command, input=text, env=environment, cwd=folder, capture_output=True, text=True,
        timeout=timeout_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(400)
def test_all_in_their_order_in_one_shell(tmp_path: Path) -> None:
    for name, content in {"sweep.yaml": SWEEP, "train.py": TRAIN, "run_id.py": RUN_ID}.items():
        (tmp_path / name).write_text(content)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "WANDB_"))}
    environment = {
        **inherited,
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PENSTOCK_DIR": str(tmp_path / "spool"),
    }
    pasted = tmp_path / "pasted.sh"
    pasted.write_text("set -e -o pipefail\n" + script([free_port() for _ in range(3)]))
    folder = tmp_path / "penstock"
    try:
        said = paste(["bash", str(pasted)], "", environment, tmp_path, timeout_s=300)
        assert said.count("is stored") >= 1
        assert "0 missing, 0 duplicate, 0 altered, 0 phantom" in said
        assert "logged in to http://127.0.0.1:" in said
        assert list((folder / "gpt-3").rglob("*.parquet"))
        assert list((folder / "backups").glob("*/manifest.json"))
    finally:
        for data in ("data", "open", "proxied", "second"):
            if (folder / data).exists():
                down = [sys.executable, "-m", "penstock", "down", "--data", str(folder / data)]
                subprocess.run(down, env=environment, check=False, capture_output=True)
        end_shipper(tmp_path)


def test_what_they_leave_behind(up: Up, new_user: dict[str, str], tmp_path: Path) -> None:
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
