"""Logging in with the official client: the key is checked, kept, used; wrong ones fail at once."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from support.logged import Logged, logged_runs
from support.up import Up, wait_until
from support.wandb_scripts import (
    run_wandb,
    run_wandb_command,
    script_environ,
    script_folder,
)

LOG = """
import wandb
with wandb.init(project="login", id="{run}") as run:
    run.log({{"loss": 0.5}})
"""
WRONG = "penstock_user_" + "a" * 60


@pytest.mark.parametrize("extra", [[], ["--verify"], ["--relogin"]])
def test_login_keeps_the_key_and_scripts_use_it(up: Up, extra: list[str]) -> None:
    folder = script_folder(up)
    login = ["login", "--host", up.url, *extra, up.api_key]
    shown = run_wandb_command(
        up, *login, folder=folder, WANDB_API_KEY="", WANDB_BASE_URL=""
    ).check()
    assert f"Currently logged in as: local to {up.url}" in shown.stderr
    assert up.api_key in (folder / ".netrc").read_text()
    name = "after" + "".join(extra).strip("-")
    run_wandb(up, LOG.format(run=name), folder=folder, WANDB_API_KEY="", WANDB_BASE_URL="").check()
    assert Logged(up, "login", name).column("loss") == [0.5]


def test_a_further_key_works_as_well(up: Up) -> None:
    made = up.post("/v1/api-keys", {"label": "a machine"})["api_key"]
    run_wandb(up, LOG.format(run="further"), WANDB_API_KEY=made).check()
    assert Logged(up, "login", "further").column("loss") == [0.5]


@pytest.mark.parametrize(
    ("key", "reason"),
    [(WRONG, "not a Penstock API key"), ("too-short", "40+ characters")],
    ids=["wrong", "short"],
)
def test_login_with_a_key_that_is_none(up: Up, key: str, reason: str) -> None:
    folder = script_folder(up)
    shown = run_wandb_command(
        up, "login", "--host", up.url, key, folder=folder, WANDB_API_KEY="", WANDB_BASE_URL=""
    )
    assert shown.code == 1
    assert reason in shown.stderr
    assert not (folder / ".netrc").exists()


def test_a_script_with_a_wrong_key_fails_and_says_why(up: Up) -> None:
    ended = run_wandb(up, LOG.format(run="wrong"), WANDB_API_KEY=WRONG, WANDB_SILENT="")
    assert ended.code == 1
    assert "not a Penstock API key" in ended.stderr
    assert "wrong" not in {run["run"] for run in logged_runs(up, "login")}


def test_a_script_may_not_write_to_another_entity(up: Up) -> None:
    """The first key is an administrator's; one made from it is not."""
    made = up.post("/v1/api-keys", {})["api_key"]
    code = 'import wandb\nwandb.init(project="login", entity="strangers")'
    ended = run_wandb(up, code, WANDB_API_KEY=made, WANDB_SILENT="")
    assert ended.code == 1
    assert "may not write to the entity 'strangers'" in ended.stderr


def test_the_question_for_a_key_names_the_page(up: Up) -> None:
    """Without a key, a terminal is asked for one: its user is sent to a page that is there."""
    folder = script_folder(up)
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wandb", "login", "--host", up.url],
        env=script_environ(
            up, folder, WANDB_API_KEY="", WANDB_BASE_URL="", WANDB_SILENT="", TERM="xterm"
        ),
        cwd=folder,
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    )
    os.close(other)
    try:
        shown = read_until(terminal, "hit enter:")
        assert f"{up.url}/authorize" in shown
        with urlopen(f"{up.url}/authorize", timeout=10) as page:
            assert page.status == 200
        os.write(terminal, f"{up.api_key}\n".encode())
        shown += read_until(terminal, "Currently logged in as")
        wait_until(lambda: read_some(terminal) == "" and process.poll() is not None)
        assert process.returncode == 0, shown
    finally:
        process.kill()
        process.wait(10)
        os.close(terminal)
    assert up.api_key not in shown
    assert up.api_key in (folder / ".netrc").read_text()


def read_some(terminal: int) -> str:
    if not select.select([terminal], [], [], 0.1)[0]:
        return ""
    try:
        return os.read(terminal, 65_536).decode(errors="replace")
    except OSError:  # the other side is closed
        return ""


def read_until(terminal: int, text: str, timeout_s: float = 20.0) -> str:
    """What the terminal shows, up to this text."""
    shown, deadline = "", time.monotonic() + timeout_s
    while text not in shown:
        assert time.monotonic() < deadline, shown
        shown += read_some(terminal)
    return shown


def test_addresses_that_a_script_prints_are_there(up: Up, tmp_path: Path) -> None:
    code = """
import json, wandb
run = wandb.init(project="my project", id="printed")
print(json.dumps([run.url, run.project_url]))
run.finish()
"""
    ended = run_wandb(up, code).check()
    addresses = json.loads(ended.stdout.splitlines()[-1])
    assert len(addresses) == 2
    for address in addresses:
        with urlopen(Request(address, headers={"Accept": "text/html"}), timeout=10) as reply:
            assert reply.status == 200
            assert "project=local/my%20project" in reply.url
