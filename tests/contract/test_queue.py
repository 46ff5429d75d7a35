"""What a commit leaves in Redis: marks, digests, dead letters, and when they are a storm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis
from support.redis import running_redis

from penstock_common.keys import Keys
from penstock_common.scripts import ADVANCE, REPLAY
from penstock_workers.leases import Leases
from penstock_workers.queue import CONFLICT, Entry, Queue, Settled, WriterMark

KEYS = Keys()
WRITER = "e/p/r/w"
OWNER = "me:7"


@pytest_asyncio.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    async with running_redis(tmp_path) as handle:
        client = handle.client()
        await client.set(KEYS.lease(0), OWNER)
        yield client
        await client.aclose()


async def add(redis: Redis, queue: Queue, first: int, count: int) -> list[Entry]:
    """Put so many batches into the stream and read them."""
    for seq in range(first, first + count):
        await redis.xadd(KEYS.stream(0), {"w": WRITER, "s": str(seq), "b": b"raw", "t": "5"})
    return await queue.read([0], limit_bytes=2**20, limit=count)


async def settle(
    queue: Queue, entries: list[Entry], *, reason: str = "", dead: tuple[int, ...] = ()
) -> None:
    mark = WriterMark(entries[-1].seq, dead, {each.seq: each.seq for each in entries})
    letters = [(each, reason) for each in entries] if reason else []
    settled = Settled({WRITER: mark}, entries, letters)
    assert await queue.settle({0: (OWNER, settled)}) == set()


async def test_the_digests_of_the_last_64_are_kept(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    for first, count in ((1, 1), (2, 50), (52, 80), (132, 3)):
        await settle(queue, await add(redis, queue, first, count))
        kept = await redis.hget(KEYS.digests(0), WRITER)
        last = first + count - 1
        want = [f"{seq}={seq:016x}" for seq in range(max(1, last - 63), last + 1)]
        assert kept == ";".join(want).encode()
    assert await redis.xlen(KEYS.stream(0)) == 0


async def test_dead_numbers_are_told_until_they_are_replayed(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    entries = await add(redis, queue, 1, 2)
    await settle(queue, entries[:1], reason="no good", dead=(1,))
    assert await redis.hget(KEYS.dead_marks(0), WRITER) == b"1"
    letters: Any = await redis.xrange(KEYS.dead(0))
    ((letter, fields),) = letters
    assert fields[b"reason"] == b"no good"
    again = await redis.eval(REPLAY, 2, KEYS.dead(0), KEYS.stream(0), letter)
    assert again is not None
    assert await redis.eval(REPLAY, 2, KEYS.dead(0), KEYS.stream(0), letter) is None
    assert await redis.xlen(KEYS.dead(0)) == 0
    (replayed,) = await queue.read([0], limit_bytes=100, limit=10)
    assert (replayed.seq, replayed.raw, replayed.is_replay) == (1, b"raw", True)
    await settle(queue, [replayed])
    assert not await redis.exists(KEYS.dead_marks(0))


async def test_twenty_letters_in_a_row_are_a_storm(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    await settle(queue, await add(redis, queue, 1, 5))
    for seq in range(10, 29):
        await settle(queue, await add(redis, queue, seq, 1), reason="bad")
    await settle(queue, await add(redis, queue, 30, 1))
    for seq in range(40, 60):
        assert not await queue.is_in_storm(0)
        await settle(queue, await add(redis, queue, seq, 1), reason="bad")
    assert await queue.is_in_storm(0)
    # Known to whoever comes next, and over with the first batch that is stored.
    assert await Queue(redis, KEYS).is_in_storm(0)
    await settle(queue, await add(redis, queue, 70, 1))
    assert not await queue.is_in_storm(0)


async def test_more_than_a_twentieth_is_a_storm(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    for good, is_storm in ((19, False), (18, True)):
        await settle(queue, await add(redis, queue, 1, 1_000))
        for first in range(1, 2_000, good + 1):
            await settle(queue, await add(redis, queue, first, good))
            await settle(queue, await add(redis, queue, first + good, 1), reason="bad")
        assert await queue.is_in_storm(0) == is_storm


async def test_conflicts_are_letters_but_no_storm(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    await settle(queue, await add(redis, queue, 1, 30), reason=CONFLICT)
    assert await redis.xlen(KEYS.dead(0)) == 30
    assert not await queue.is_in_storm(0)


async def test_owners_that_died_without_a_commit_are_counted(redis: Redis) -> None:
    await redis.delete(KEYS.lease(0))

    async def take(name: str) -> tuple[Leases, bool]:
        leases = Leases(redis, KEYS, lease_s=60, worker=name)
        await redis.delete(KEYS.workers())
        await leases.tend()
        assert set(leases.epochs) == set(range(16))
        return leases, bool(leases.suspects)

    async def dies() -> None:
        await redis.delete(*(KEYS.lease(shard) for shard in range(16)))

    assert not (await take("a"))[1]
    await dies()
    assert (await take("b"))[1]
    await dies()
    leases, is_suspect = await take("c")
    assert is_suspect
    # It gives its shards up properly, so nothing is held against them.
    await leases.leave()
    leases, is_suspect = await take("d")
    assert not is_suspect
    queue = Queue(redis, KEYS)
    entries = await add(redis, queue, 1, 1)
    mark = Settled({WRITER: WriterMark(1)}, entries)
    assert await queue.settle({0: (leases.owner(leases.epochs[0]), mark)}) == set()
    await dies()
    last = (await take("e"))[0]
    assert 0 not in last.suspects
    assert 1 in last.suspects


async def test_a_zombie_settles_nothing(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    entries = await add(redis, queue, 1, 1)
    mark = Settled({WRITER: WriterMark(1)}, entries)
    assert await queue.settle({0: ("other:6", mark)}) == {0}
    assert await redis.xlen(KEYS.stream(0)) == 1
    assert not await redis.exists(KEYS.committed(0), KEYS.settled(0))


async def test_the_clock_only_goes_forward(redis: Redis) -> None:
    for at, known in ((5, b"5"), (1_764_000_000_000_000, b"1764000000000000")) * 2:
        await redis.eval(ADVANCE, 1, KEYS.clock(), str(at))
        if at > 5:
            assert await redis.get(KEYS.clock()) == known
