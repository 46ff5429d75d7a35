"""Docs that cannot rot: every setting is in the manual, and the examples of docs/api.md run."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from support.up import running_up, wait_until

from penstock_common.settings import GatewaySettings, WorkerSettings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("kind", [GatewaySettings, WorkerSettings])
def test_every_setting_is_in_the_manual(kind: type) -> None:
    text = (DOCS / "configuration.md").read_text()
    for each in fields(kind):
        assert f"`PENSTOCK_{each.name.upper()}`" in text, each.name
        assert each.metadata["help"] in text, each.name


def commands(page: str) -> list[str]:
    """The curl commands of a page, as they stand."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [block for block in blocks if block.lstrip().startswith("curl")]


@pytest.mark.timeout(120)
def test_the_curl_examples_work_as_written(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:

        def run(command: str) -> str:
            done = subprocess.run(
                ["bash", "-c", command], env=up.environ, capture_output=True, text=True, timeout=20
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        write, chart = commands("api.md")
        assert '"queued":1' in run(write)
        wait_until(lambda: '"last":[0.9,0.5]' in run(chart))
