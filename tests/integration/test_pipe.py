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


async def test_one_silent_connection_fails_all_that_wait_for_it_together() -> None:
    connected: list[asyncio.StreamWriter] = []

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        await reader.read()  # until the other side gives up
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pipe = Pipe(f"redis://:secret@127.0.0.1:{port}/0", timeout_s=0.3)
    commands = [asyncio.ensure_future(pipe.execute(("PING",))) for _ in range(100)]
    await asyncio.sleep(0)
    commands[0].cancel()  # one that leaves does not take the attempt with it
    async with asyncio.timeout(10):
        results = await asyncio.gather(*commands, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {type(result) for result in results[1:]} == {TimeoutError}
    assert len(connected) == 1
    pipe.close()
    server.close()
    async with asyncio.timeout(10):  # the attempt was dropped, not left open
        await connected[0].wait_closed()


async def test_a_reply_that_is_overdue_fails_what_was_sent_after_it(tmp_path: Path) -> None:
    async with running_redis(tmp_path) as redis:
        pipe = Pipe(redis.url, timeout_s=0.4)
        assert await pipe.execute(("ECHO", "first")) == b"first"
        waiting = [asyncio.ensure_future(pipe.execute(("BLPOP", "empty", 0)))]
        while not waiting[0].done():  # each of these starts a wait of its own
            waiting.append(asyncio.ensure_future(pipe.execute(("ECHO", "behind"))))
            await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results[:-1]} == {TimeoutError}
        assert await pipe.execute(("ECHO", "again")) == b"again"
        pipe.close()
