"""What a commit leaves in Redis, and how much is read at once."""

from __future__ import annotations

from typing import Any

import pytest
import zstandard
from redis.asyncio import Redis

from penstock_common.queue.entries import Entry, encode
from penstock_common.queue.redis_keys import RedisKeys
from penstock_common.queue.scripts import ADVANCE, REPLAY
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.queue import (
    Acknowledgement,
    Budget,
    CommittedPosition,
    Queue,
    Selection,
)

KEYS = RedisKeys()
WRITER = "e/p/r/w"
OWNER = "me:7"


async def add(redis: Redis, queue: Queue, first: int, count: int) -> list[Entry]:
    """Put so many batches into the stream and read them."""
    for seq in range(first, first + count):
        await redis.xadd(KEYS.stream(0), encode(Entry(0, b"", WRITER, seq, b"raw", 5), layout=1))
    return await queue.read([Selection(0)], Budget(count, 2**20, 2**20, 2**20))


async def acknowledge(
    queue: Queue, entries: list[Entry], *, reason: str = "", dead: tuple[int, ...] = ()
) -> None:
    position = CommittedPosition(entries[-1].seq, dead, {each.seq: each.seq for each in entries})
    letters = [(each, reason) for each in entries] if reason else []
    acknowledgement = Acknowledgement({WRITER: position}, entries, letters)
    assert await queue.acknowledge({0: (OWNER, acknowledgement)}) == set()


async def test_the_digests_of_the_last_64_are_kept(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    for first, count in ((1, 1), (2, 50), (52, 80), (132, 3)):
        await acknowledge(queue, await add(redis, queue, first, count))
        kept = await redis.hget(KEYS.digests(0), WRITER)
        last = first + count - 1
        want = [f"{seq}={seq:016x}" for seq in range(max(1, last - 63), last + 1)]
        assert kept == ";".join(want).encode()
    assert await redis.xlen(KEYS.stream(0)) == 0


async def test_dead_numbers_are_told_until_they_are_replayed(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    entries = await add(redis, queue, 1, 2)
    await acknowledge(queue, entries[:1], reason="no good", dead=(1,))
    assert await redis.hget(KEYS.dead_seqs(0), WRITER) == b"1"
    letters: Any = await redis.xrange(KEYS.dead(0))
    ((letter, fields),) = letters
    assert fields[b"reason"] == b"no good"
    again = await redis.eval(REPLAY, 2, KEYS.dead(0), KEYS.stream(0), letter)
    assert again is not None
    assert await redis.eval(REPLAY, 2, KEYS.dead(0), KEYS.stream(0), letter) is None
    assert await redis.xlen(KEYS.dead(0)) == 0
    (replayed,) = await queue.read([Selection(0)], Budget(10, 100, 100, 100))
    assert (replayed.seq, replayed.raw, replayed.is_replay) == (1, b"raw", True)
    await acknowledge(queue, [replayed])
    assert not await redis.exists(KEYS.dead_seqs(0))


async def test_owners_that_died_without_a_commit_are_counted(redis: Redis) -> None:
    await redis.delete(KEYS.lease(0))

    async def take(name: str) -> tuple[Leases, bool]:
        leases = Leases(redis, KEYS, lease_s=60, worker=name)
        await redis.delete(KEYS.workers())
        await leases.tend()
        assert set(leases.epochs) == set(range(16))
        return leases, bool(leases.owner_crashed)

    async def dies() -> None:
        await redis.delete(*(KEYS.lease(shard) for shard in range(16)))

    assert not (await take("a"))[1]
    await dies()
    assert (await take("b"))[1]
    await dies()
    leases, owner_crashed = await take("c")
    assert owner_crashed
    # It gives its shards up properly, so nothing is held against them.
    await leases.leave()
    leases, owner_crashed = await take("d")
    assert not owner_crashed
    queue = Queue(redis, KEYS)
    entries = await add(redis, queue, 1, 1)
    acknowledgement = Acknowledgement({WRITER: CommittedPosition(1)}, entries)
    assert await queue.acknowledge({0: (leases.owner(leases.epochs[0]), acknowledgement)}) == set()
    await dies()
    last = (await take("e"))[0]
    assert 0 not in last.owner_crashed
    assert 1 in last.owner_crashed


async def test_a_zombie_acknowledges_nothing(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    entries = await add(redis, queue, 1, 1)
    acknowledgement = Acknowledgement({WRITER: CommittedPosition(1)}, entries)
    assert await queue.acknowledge({0: ("other:6", acknowledgement)}) == {0}
    assert await redis.xlen(KEYS.stream(0)) == 1
    assert not await redis.exists(KEYS.committed(0))


async def test_the_clock_only_goes_forward(redis: Redis) -> None:
    for at, known in ((5, b"5"), (1_764_000_000_000_000, b"1764000000000000")) * 2:
        await redis.eval(ADVANCE, 1, KEYS.clock(), str(at))
        if at > 5:
            assert await redis.get(KEYS.clock()) == known


async def put(redis: Redis, shard: int, *sizes: tuple[int, int, int], writer: str = WRITER) -> None:
    """Entries with these sizes (bytes, decoded bytes, elements), as a gateway queues them."""
    for seq, (size, decoded, elements) in enumerate(sizes, 1):
        entry = Entry(shard, b"", writer, seq, b"x" * size, 5, decoded=decoded, elements=elements)
        await redis.xadd(KEYS.stream(shard), encode(entry))


BUDGET = Budget(1_000, 10_000, 100_000, 1_000)


async def reads(queue: Queue, *selections: Selection, budget: Budget = BUDGET) -> list[list[int]]:
    """The numbers that are read together, until nothing is left."""
    found = []
    while entries := await queue.read(selections, budget):
        found.append([entry.seq for entry in entries])
        assert len(found) < 100
    return found


@pytest.mark.parametrize(
    ("sizes", "together"),
    [
        ([(100, 100, 1)] * 5, [[1, 2, 3, 4, 5]]),
        ([(6_000, 6_000, 1)] * 3, [[1], [2], [3]]),
        ([(10, 60_000, 1)] * 3, [[1], [2], [3]]),
        ([(10, 10, 600)] * 3, [[1], [2], [3]]),
        # What is too large for any budget is read all the same, alone.
        ([(10, 10, 1), (99_999, 10, 1), (10, 999_999, 1), (10, 10, 9_999)], [[1], [2], [3], [4]]),
        ([(10, 999_999, 1), (10, 10, 1), (10, 10, 1)], [[1], [2, 3]]),
    ],
)
async def test_what_is_read_together_fits_the_budget(
    redis: Redis, sizes: list[tuple[int, int, int]], together: list[list[int]]
) -> None:
    await put(redis, 0, *sizes)
    assert await reads(Queue(redis, KEYS), Selection(0)) == together


async def test_shards_share_a_budget_and_each_gets_its_turn(redis: Redis) -> None:
    for shard in range(4):
        await put(redis, shard, *[(10, 90_000, 1)] * 3)
    queue, every = Queue(redis, KEYS), [Selection(shard) for shard in range(4)]
    seen: list[int] = []
    while entries := await queue.read(every, BUDGET):
        assert sum(entry.decoded for entry in entries) <= BUDGET.decoded
        seen += [entry.shard for entry in entries]
    assert sorted(seen) == sorted(list(range(4)) * 3)
    assert set(seen[:4]) == {0, 1, 2, 3}


@pytest.mark.parametrize("counts", [(5, 20, 20, 20), (16, 1, 0, 3), (0, 0, 7, 40), (1, 1, 1, 1)])
@pytest.mark.parametrize("limit", [1, 4, 16, 64])
async def test_a_read_says_whether_it_left_entries_behind(
    redis: Redis, counts: tuple[int, ...], limit: int
) -> None:
    """Quarantine trusts shards again on that ground."""
    for shard, count in enumerate(counts):
        await put(redis, shard, *[(10, 10, 1)] * count)
    queue, every = Queue(redis, KEYS), [Selection(shard) for shard in range(4)]
    left = sum(counts)
    while entries := await queue.read(every, Budget(limit, 10_000, 100_000, 1_000)):
        left -= len(entries)
        assert queue.has_more or not left
    assert left == 0
    assert not queue.has_more


async def test_entries_of_an_older_gateway_are_measured(redis: Redis) -> None:
    """Nobody said what they decode to: 2 KiB may be 64 MiB."""
    declared = zstandard.ZstdCompressor().compress(bytes(50_000))
    streamed = zstandard.ZstdCompressor().compressobj()
    undeclared = streamed.compress(bytes(60_000)) + streamed.flush()
    damaged = undeclared[:12]
    for seq, raw in enumerate([declared, undeclared, damaged, b"plain", b"plain"], 1):
        await redis.xadd(KEYS.stream(0), encode(Entry(0, b"", WRITER, seq, raw, 5), layout=1))
    queue = Queue(redis, KEYS)
    budget = Budget(100, 10_000, 100_000, 10**9)
    assert await reads(queue, Selection(0), budget=budget) == [[1], [2, 3, 4, 5]]
    queue.rewind(0)
    entries = await queue.read([Selection(0)], Budget(100, 10_000, 10**9, 10**9))
    assert [entry.decoded for entry in entries[:2]] == [50_000, 60_000]


async def test_writers_and_entries_are_passed_over_or_read_alone(redis: Redis) -> None:
    for _ in range(3):
        await put(redis, 0, (10, 10, 1), writer="e/p/bad/w")
        await put(redis, 0, (10, 10, 1), writer="e/p/good/w")
    queue = Queue(redis, KEYS)
    entries = await queue.read([Selection(0, passed=frozenset(["e/p/bad/w"]))], BUDGET)
    assert {entry.writer for entry in entries} == {"e/p/good/w"}
    bad = await queue.read([Selection(0, "e/p/bad/w")], BUDGET)
    assert [entry.writer for entry in bad] == ["e/p/bad/w"] * 3
    queue.rewind(0)
    held = frozenset([bad[0].id.decode()])
    rest = await queue.read([Selection(0, "e/p/bad/w", bad[0].id.decode(), held)], BUDGET)
    assert [entry.id for entry in rest] == [entry.id for entry in bad[1:]]
    assert await queue.fetch(0, bad[0].id.decode()) == bad[:1]
    assert await queue.fetch(0, "1-1") == []


async def test_an_unknown_writers_dead_number_moves_no_position(redis: Redis) -> None:
    queue = Queue(redis, KEYS)
    entries = await add(redis, queue, 1, 1)
    acknowledgement = Acknowledgement(
        {WRITER: CommittedPosition(None, (1,))}, entries, [(entries[0], "no good")]
    )
    assert await queue.acknowledge({0: (OWNER, acknowledgement)}) == set()
    assert not await redis.exists(KEYS.committed(0))
    assert await queue.dead_numbers([(0, WRITER), (0, "e/p/r/other")]) == [[1], []]
