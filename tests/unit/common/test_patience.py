"""Waiting for what a process needs, until it is there or the process has to stop."""

from __future__ import annotations

import asyncio

import pytest

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Transient
from penstock_common.process.patience import ToldToStop, patiently


async def test_a_step_is_retried_until_it_succeeds() -> None:
    failures = [
        OSError("refused"),
        TimeoutError(),
        Transient("not yet", code=ErrorCode.UNAVAILABLE),
    ]

    async def step() -> None:
        if failures:
            raise failures.pop()

    await patiently(step, asyncio.Event())
    assert not failures


async def test_a_step_that_cannot_succeed_is_not_retried() -> None:
    async def step() -> None:
        raise Broken("another version")

    with pytest.raises(Broken):
        await patiently(step, asyncio.Event())


async def test_a_process_that_has_to_stop_gives_up_a_step_that_waits() -> None:
    stop, has_begun, is_given_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_given_up.set()

    waiting = asyncio.create_task(patiently(step, stop))
    await has_begun.wait()
    stop.set()
    with pytest.raises(ToldToStop):
        await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(is_given_up.wait(), 10)


async def test_a_process_that_has_to_stop_begins_nothing() -> None:
    stop = asyncio.Event()
    stop.set()

    async def step() -> None:
        raise AssertionError

    with pytest.raises(ToldToStop):
        await patiently(step, stop)
