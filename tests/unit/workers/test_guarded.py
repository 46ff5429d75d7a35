"""A failed task ends its process at once, whatever the others do."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from penstock_workers.guarded import FAILED, run_guarded

_SCRIPT = """
import asyncio, logging
from penstock_workers.guarded import run_guarded

logging.basicConfig()

async def deaf():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def fails():
    await asyncio.sleep(0)
    raise ValueError("operands could not be broadcast together")

async def ends():
    await asyncio.sleep(0)

asyncio.run(run_guarded({main}(), {{"deaf": deaf(), "beside": {beside}()}}))
"""


@pytest.mark.parametrize(
    ("main", "beside", "said"),
    [
        ("deaf", "fails", "ValueError: operands"),
        ("fails", "deaf", "ValueError: operands"),
        ("deaf", "ends", "task_failed task=beside"),
    ],
)
def test_a_task_that_fails_ends_the_process(main: str, beside: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(main=main, beside=beside)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == FAILED
    assert said in done.stderr


async def test_the_background_ends_with_the_main_loop() -> None:
    heard: list[str] = []

    async def beside() -> None:
        for _ in range(2):  # the first cancellation gets lost
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                heard.append("cancelled")
        raise OSError("on its way out")

    async def main() -> None:
        await asyncio.sleep(0)

    await run_guarded(main(), {"beside": beside()})
    assert heard == ["cancelled"] * 2
