"""The load of a noisy neighbour, briefly: nothing that either project was told is stored is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.heavy
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["honest", "hostile"])
def test_a_flood_and_its_neighbour_lose_nothing(kind: str) -> None:
    command = [
        sys.executable,
        "-m",
        "loadtests.neighbour",
        "--kinds",
        kind,
        "--pairs",
        "1",
        "--seconds",
        "4",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("0 missing, 0 duplicate, 0 altered, 0 phantom") == 2
    assert " 0 answers refused" not in done.stdout
