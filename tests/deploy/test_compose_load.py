"""`python -m loadtests.compose`: a burst through the compose file's proxy, from two locust workers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.compose.project import why_no_compose

WHY_NOT = why_no_compose()
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(600),
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
]


def test_a_burst_arrives_whole() -> None:
    command = [sys.executable, "-m", "loadtests.compose", "--shape", "burst", "--seconds", "6"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=500
    )
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    points = re.search(r"ledger, burst: ([\d,]+) points: 0 missing, 0 duplicate", done.stdout)
    assert points is not None
    assert int(points[1].replace(",", "")) > 0  # how many depends on the machine
    assert "sent by 2 locust workers" in done.stdout
