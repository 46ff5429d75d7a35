"""Turns of projects: bounded, in order, never lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from penstock_ingest.turns import ProjectTurns

NOISY, QUIET = ("team", "noisy"), ("team", "quiet")


async def test_a_project_waits_for_its_own_turns_and_others_do_not() -> None:
    turns = ProjectTurns(2)
    assert [turns.take(NOISY) for _ in range(3)] == [True, True, False]
    assert turns.take(QUIET)
    order: list[int] = []

    async def work(number: int) -> None:
        await turns.wait(NOISY)
        order.append(number)

    waiting = [asyncio.create_task(work(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert not turns.take(NOISY)
    for done in range(1, 4):
        turns.end(NOISY)
        assert not turns.take(NOISY)  # who comes later does not overtake
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == list(range(done))
    await asyncio.gather(*waiting)
    turns.end(NOISY)
    assert turns.take(NOISY)


async def test_whoever_gives_up_takes_no_turn_with_it() -> None:
    turns = ProjectTurns(1)
    assert turns.take(NOISY)
    first, second = (asyncio.create_task(turns.wait(NOISY)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    turns.end(NOISY)
    await asyncio.wait_for(second, 5)
    third = asyncio.create_task(turns.wait(NOISY))
    await asyncio.sleep(0)
    turns.end(NOISY)  # handed over …
    third.cancel()  # … and given up in the same moment
    with pytest.raises(asyncio.CancelledError):
        await third
    assert turns.take(NOISY)
    turns.end(NOISY)
    assert not turns._taken
    assert not turns._waiting


async def test_never_more_than_its_turns_and_nothing_is_left_over() -> None:
    turns, dice = ProjectTurns(3), random.Random(7)
    projects = [("team", str(number)) for number in range(4)]
    now = dict.fromkeys(projects, 0)
    most = 0

    async def work(project: tuple[str, str], pauses: int) -> None:
        nonlocal most
        if not turns.take(project):
            await turns.wait(project)
        now[project] += 1
        most = max(most, now[project])
        try:
            for _ in range(pauses):
                await asyncio.sleep(0)
        finally:
            now[project] -= 1
            turns.end(project)

    tasks = [
        asyncio.create_task(work(dice.choice(projects), dice.randrange(6))) for _ in range(500)
    ]
    for _ in range(50):
        await asyncio.sleep(0)
        dice.choice(tasks).cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    assert not turns._taken
    assert not turns._waiting
