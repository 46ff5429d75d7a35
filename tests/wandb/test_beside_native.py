"""A framework that brings the official client into a run of ours: it is said, and they can be joined."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.up import Up, running_up, wait_until

pytestmark = pytest.mark.heavy

WITH_FRAMEWORK = """
import os, sys
import penstock as wandb
run = wandb.init(project="native", id="ours")
run.log({"ours": 1.0})
import importlib.util
assert importlib.util.find_spec("wandb") and "wandb" not in sys.modules  # only looked for
print("BEFORE", file=sys.stderr)
def trainer():
    import wandb
    with wandb.init(settings=wandb.Settings(silent=True)) as theirs: theirs.log({"theirs": 2.0})
trainer()
run.finish()
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("beside")) as up:
        yield up


def test_it_is_said_and_both_can_be_joined(up: Up, tmp_path: Path) -> None:
    offline = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "PENSTOCK_MODE": "online"}
    said = up.run_python(WITH_FRAMEWORK, **offline).stderr
    before, _, after = said.partition("BEFORE")
    assert "official wandb client" not in before
    assert after.count("official wandb client") == 1
    assert up.api_key not in said
    line = next(text for text in after.splitlines() if "official wandb client" in text)
    variables = dict(re.findall(r"(WANDB_[A-Z_]+)=(\S+)", line))
    assert variables["WANDB_RUN_ID"] == "ours"
    variables["WANDB_API_KEY"] = up.api_key
    joined = up.run_python(WITH_FRAMEWORK, **variables)
    assert joined.returncode == 0, joined.stderr
    wait_until(lambda: {"ours", "theirs"} <= keys(up), 40)


def keys(up: Up) -> set[str]:
    return {each["key"] for each in up.get("/v1/runs/local/native/ours/keys")["keys"]}


@pytest.mark.parametrize(
    ("code", "is_said"),
    [
        ("import wandb\nimport penstock\nrun = penstock.init(project='p')", True),
        ("import penstock\nrun = penstock.init(project='p')\nimport wandb.sdk", True),
        ("import penstock as wandb\nrun = wandb.init(project='p')", False),
        (
            "import sys, penstock\nsys.modules['wandb'] = penstock\nimport wandb\n"
            "run = wandb.init(project='p')",
            False,
        ),
        ("import penstock\nrun = penstock.init(project='p')\nrun.finish()\nimport wandb", False),
        ("import wandb, penstock\nrun = penstock.init(mode='disabled')", False),
        (
            "import sys, penstock\nrun = penstock.init(project='p')\n"
            "try: import wandb_that_is_not_there\nexcept ImportError: pass\n"
            "try: import wandb.no_such_part\nexcept ImportError: print('ImportError')",
            True,
        ),
    ],
)
def test_when_it_is_said(tmp_path: Path, code: str, is_said: bool, up: Up) -> None:
    environment = {"PENSTOCK_MODE": "offline", "PENSTOCK_DIR": str(tmp_path)}
    done = up.run_python(code, **environment, HOME=os.environ.get("HOME", str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert ("official wandb client" in done.stderr) == is_said
