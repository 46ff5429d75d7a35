"""The gateway's own connection to Redis: order, errors, a Redis that dies or falls silent."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from hiredis import ReplyError
from redis.exceptions import ConnectionError, TimeoutError
from support.redis import running_redis

from penstock_ingest.pipe import Pipe


async def test_replies_come_in_the_order_of_commands(tmp_path: Path) -> None:
    async with running_redis(tmp_path) as redis:
        pipe = Pipe(redis.url, timeout_s=5)
        replies = await asyncio.gather(*(pipe.execute(("ECHO", f"n{i}")) for i in range(500)))
        assert replies == [f"n{i}".encode() for i in range(500)]
        wrong, right = await asyncio.gather(
            pipe.execute(("NONSENSE",)), pipe.execute(("ECHO", "after"))
        )
        assert isinstance(wrong, ReplyError)
        assert right == b"after"
        pipe.close()


async def test_a_cancelled_command_does_not_shift_the_replies(tmp_path: Path) -> None:
    async with running_redis(tmp_path) as redis:
        pipe = Pipe(redis.url, timeout_s=5)
        await pipe.execute(("ECHO", "connected"))
        left = asyncio.ensure_future(pipe.execute(("ECHO", "left")))
        await asyncio.sleep(0)
        left.cancel()
        assert await pipe.execute(("ECHO", "kept")) == b"kept"
        pipe.close()


async def test_when_redis_dies_all_that_waits_fails_and_the_next_command_connects(
    tmp_path: Path,
) -> None:
    async with running_redis(tmp_path) as redis:
        pipe = Pipe(redis.url, timeout_s=5)
        await pipe.execute(("SET", "k", "v"))
        blocked = [asyncio.ensure_future(pipe.execute(("BLPOP", "empty", 0))) for _ in range(3)]
        await asyncio.sleep(0.05)
        await redis.stop(signal.SIGKILL)
        results = await asyncio.gather(*blocked, return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionError] * 3
        with pytest.raises(ConnectionError):
            await pipe.execute(("GET", "k"))
        await redis.start()
        assert await pipe.execute(("GET", "k")) == b"v"
        pipe.close()


async def test_a_silent_redis_is_given_up_in_time(tmp_path: Path) -> None:
    async with running_redis(tmp_path) as redis:
        pipe = Pipe(redis.url, timeout_s=0.3)
        await pipe.execute(("SET", "k", "v"))
        os.kill(redis.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await pipe.execute(("GET", "k"))
        finally:
            os.kill(redis.pid, signal.SIGCONT)
        assert await pipe.execute(("GET", "k")) == b"v"
        pipe.close()
