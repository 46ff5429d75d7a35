"""`penstock up` as process 1: zombies that it inherits are reaped, and its own children keep their status."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The process inherits orphans as process 1 does (PR_SET_CHILD_SUBREAPER is 36), and waits for a child itself.
CODE = """
import asyncio, ctypes, sys, psutil
from penstock_server.orphans import reaping_orphans

async def main(is_heir):
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    with reaping_orphans(is_heir=is_heir, pause_s=0.05):
        leaver = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.1 & exit 3")
        assert await leaver.wait() == 3
        own = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.5; exit 7")
        assert await own.wait() == 7
        for _ in range(100 if is_heir else 10):
            await asyncio.sleep(0.05)
            left = psutil.Process().children()
            if not left:
                break
        print("left", len(left))

asyncio.run(main(sys.argv[1] == "heir"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="subreapers are Linux's")
@pytest.mark.parametrize(("role", "left"), [("heir", 0), ("other", 1)])
def test_orphans_are_reaped_where_they_are_inherited(role: str, left: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, role],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == f"left {left}\n", done.stderr
