"""Pauses that are short while there are requests."""

from __future__ import annotations

import asyncio

import pytest

from penstock_common.process.activity import Activity


async def test_a_pause_ends_soon_while_there_are_requests() -> None:
    activity = Activity()
    pause = asyncio.create_task(activity.pause(0.01, 60.0))
    await asyncio.sleep(0)
    activity.begin()
    await asyncio.wait_for(pause, 10)


async def test_a_rest_ends_with_the_first_request() -> None:
    activity = Activity()
    activity.begin()  # one that was answered before the pause does not count
    activity.end()
    pauses = [asyncio.create_task(activity.pause(0.0, 60.0)) for _ in range(3)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(pauses[0]), 0.05)
    activity.begin()
    await asyncio.wait_for(asyncio.gather(*pauses), 10)


async def test_nothing_rests_while_a_request_is_open() -> None:
    activity = Activity()
    activity.begin()
    await asyncio.wait_for(activity.pause(0.0, 60.0), 10)


async def test_a_rest_goes_on_while_there_are_few_requests() -> None:
    activity = Activity()
    pause = asyncio.create_task(activity.pause(1.0, 60.0))
    await asyncio.sleep(0)
    activity.begin()
    activity.end()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(pause), 1.2)
    for _ in range(100):
        activity.begin()
        activity.end()
    await asyncio.wait_for(pause, 10)


async def test_a_rest_ends_by_itself() -> None:
    await asyncio.wait_for(Activity().pause(0.0, 0.01), 10)
