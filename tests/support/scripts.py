"""Whole scripts and commands, as a user runs them, with a folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from support.spools import wait_until

from penstock.runs.launch import is_shipper_running

__all__ = ["Scripts"]

_NOT_INHERITED = ("WANDB_", "PENSTOCK_", "PYTHONUNBUFFERED", "COLUMNS", "LINES")
"""Buffers change the order in which Python and C print; a size in variables hides that of the terminal."""


class Scripts:
    """Runs scripts with a root of their own, and ends the shipper they started."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)},
            "PENSTOCK_CONSOLE": "off",
            "PENSTOCK_FACTS": "off",
            "PENSTOCK_DIR": str(root),
            "PENSTOCK_BASE_URL": url,
            "PENSTOCK_API_KEY": "good",
            "PENSTOCK_SYSTEM_METRICS": "off",
            "XDG_CONFIG_HOME": str(root / "config"),
        }

    def run(self, code: str, status: int = 0, **variables: str) -> str:
        """The script's standard error."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def penstock(self, *arguments: str, status: int = 0, given: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "penstock.cli", *arguments],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def end_shipper(self) -> None:
        if not (self.root / "shipper.err").exists():  # none was ever started
            return
        # The last one started may not hold the lock yet.
        lock = self.root / "shipper.lock"
        wait_until(lambda: is_shipper_running(self.root) and lock.read_text() != "")
        os.kill(int(lock.read_text().split()[0]), signal.SIGTERM)
        # One that lost the election may take over within a second: leave it nothing to do.
        shutil.rmtree(self.root, ignore_errors=True)
