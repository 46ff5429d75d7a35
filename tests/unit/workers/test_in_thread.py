"""Work in a thread may take as long as it gets on; one that stands still ends the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WORKS = """
import asyncio, sys, time
from penstock_workers.shards.in_thread import StallLimit, in_thread

steps, told = 0, 0

def work(pauses):
    global steps
    for pause in pauses:
        time.sleep(pause)
        steps += 1
    return steps

def step():
    global told
    told += 1

async def main():
    pauses = list(map(float, sys.argv[2:]))
    limit = StallLimit(float(sys.argv[1]), lambda: steps, step)
    print(await in_thread(limit, work, pauses), told)

asyncio.run(main())
"""


def run(limit_s: float, *pauses_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WORKS, *map(str, (limit_s, *pauses_s))]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.heavy
@pytest.mark.smoke
def test_it_may_take_long_while_it_gets_on() -> None:
    done = run(0.5, *[0.05] * 20)
    assert done.returncode == 0, done.stderr
    steps, told = map(int, done.stdout.split())
    assert steps == 20
    assert told >= 2


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.parametrize("pauses_s", [(20.0,), (0.05, 0.05, 20.0)])
def test_what_stands_still_ends_the_process(pauses_s: tuple[float, ...]) -> None:
    done = run(0.5, *pauses_s)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in work" in done.stderr
