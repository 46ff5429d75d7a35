"""`wandb verify`, the official client's own check of a server."""

from __future__ import annotations

import pytest
from support.up import Up
from support.wandb_scripts import run_wandb_command


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_the_client_finds_nothing_wrong(up: Up) -> None:
    shown = run_wandb_command(up, "verify", "--host", up.url, timeout_s=250).check()
    marks = [line for line in shown.stdout.splitlines() if line.startswith("Checking")]
    assert len(marks) == 10, shown.stdout
    # Only that loopback is not https is complained of.
    wrong = [line for line in marks if "✅" not in line]
    assert all("base url" in line or "signed URLs" in line for line in wrong), shown.stdout
