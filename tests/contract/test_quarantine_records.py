"""What Redis keeps of batches that fail: parked writers, tries, and whose lease it takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from penstock_common.queue.entries import Entry, encode
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.redis_keys import RedisKeys
from penstock_workers.quarantine.quarantine_records import QuarantineRecords
from penstock_workers.shards.flight_recorder import Death
from penstock_workers.shards.queue import Budget, Queue, Selection

KEYS = RedisKeys()
BUDGET = Budget(1_000, 2**20, 2**20, 2**20)
ODD = ("e/p/r/w", "e/p/r/w*", "e/p/r/[w]?", "e/p/r\\*/w", "e/p/*/w")


@pytest.fixture
def records(redis: Redis) -> QuarantineRecords:
    leases = SimpleNamespace(epochs={0: 7}, owner=lambda epoch: f"me:{epoch}")
    return QuarantineRecords(redis, KEYS, cast("Any", leases), Problems(redis, KEYS))


async def add(redis: Redis, writer: str, *seqs: int) -> None:
    for seq in seqs:
        entry = Entry(0, b"", writer, seq, b"raw", 5, decoded=3, elements=1)
        entry_id = await redis.xadd(KEYS.stream(0), encode(entry))
        await redis.hset(KEYS.pending(0), f"{seq}/{writer}", entry_id)


async def queued(redis: Redis) -> list[Entry]:
    return await Queue(redis, KEYS).read([Selection(0)], BUDGET)


async def test_a_writer_is_parked_alone_and_comes_back_in_order(
    redis: Redis, records: QuarantineRecords
) -> None:
    """Names are no patterns."""
    for writer in ODD:
        await add(redis, writer, 3, 1, 2)
    for writer in ODD:
        await records.park(0, writer, "no good")
        left = await queued(redis)
        assert writer not in {each.writer for each in left}
        assert len(left) == 3 * (len(ODD) - 1)
        assert (await records.load(0)).parked == {writer}
        assert await redis.hget(KEYS.parked_bytes(0), "") == str(3 * 259).encode()
        await records.probe(0, [writer])
        assert [each.seq for each in await queued(redis) if each.writer == writer] == [1]
        await records.unpark(0, writer)
        mine = [each.seq for each in await queued(redis) if each.writer == writer]
        assert mine == [1, 2, 3]
        assert await redis.xlen(KEYS.parked(0)) == 0
        assert (await records.load(0)).parked == set()
        assert await redis.hget(KEYS.parked_bytes(0), "") == b"0"
        assert not await redis.exists(KEYS.parked_why(0))
    places = await redis.hgetall(KEYS.pending(0))
    assert {each.id for each in await queued(redis)} == set(places.values())


async def test_a_parked_writer_without_batches_is_let_go_by_the_next_look(
    redis: Redis, records: QuarantineRecords
) -> None:
    await records.park(0, ODD[0], "no good")
    assert (await records.load(0)).parked == {ODD[0]}
    await records.probe(0, [ODD[0]])
    assert (await records.load(0)).parked == set()


async def test_nothing_is_parked_without_the_lease(
    redis: Redis, records: QuarantineRecords
) -> None:
    await add(redis, ODD[0], 1)
    await redis.set(KEYS.lease(0), "other:8")
    await records.park(0, ODD[0], "no good")
    assert len(await queued(redis)) == 1
    assert (await records.load(0)).parked == set()


async def test_a_replayed_letter_is_parked_though_nothing_points_to_it(
    redis: Redis, records: QuarantineRecords
) -> None:
    await add(redis, ODD[0], 1)
    await redis.delete(KEYS.pending(0))
    (entry,) = await queued(redis)
    await records.park(0, ODD[0], "no good", [entry.id.decode()])
    assert await queued(redis) == []
    await records.unpark(0, ODD[0])
    assert [each.seq for each in await queued(redis)] == [1]


async def test_tries_that_did_not_end_are_told_apart(
    redis: Redis, records: QuarantineRecords
) -> None:
    await add(redis, ODD[0], 1, 2, 3)
    first, second, third = await queued(redis)
    for count in (1, 2, 3):
        await records.begin([first], is_searching=True)
        await records.begin([second], is_searching=True)
        assert await records.tries([first, second]) == [(count, count), (count, 1)]
        assert await records.fail(second, was_begun=True) == count
    assert await records.fail(third, was_begun=False) == 1
    assert await records.tries([first]) == [(3, 3)]
    known = await records.load(0)
    assert [(each.id, each.tries) for each in known.tried] == [
        (first.id.decode(), 3),
        (second.id.decode(), 3),
    ]
    assert known.was_begun


async def test_an_entry_that_ended_its_worker_is_blamed_once(
    redis: Redis, records: QuarantineRecords
) -> None:
    await add(redis, ODD[0], 1, 2, 3)
    first, second, third = await queued(redis)
    await records.begin([first, second], is_searching=True)
    await records.begin([third], is_searching=True)
    known = await records.load(0)
    assert [each.id for each in known.tried] == [third.id.decode()], "it was tried alone"
    assert known.was_begun
    assert not known.is_explained, "there may be others"
    assert await records.tries([third]) == [(2, 1)]
    await records.begin([third], is_searching=False)
    assert (await records.load(0)).is_explained
    assert not (await records.load(0)).is_explained, "that is not why the next one died"
    # A try that has ended explains nothing.
    await records.begin([third], is_searching=False)
    await records.fail(third, was_begun=True)
    assert not (await records.load(0)).is_explained
    # Nor does that of an entry which was stored.
    await records.begin([third], is_searching=False)
    await redis.hdel(KEYS.failures(0), third.id)
    assert not (await records.load(0)).is_explained


async def test_an_entry_is_blamed_for_the_end_of_a_worker(
    redis: Redis, records: QuarantineRecords
) -> None:
    await add(redis, ODD[0], 1, 2)
    first, second = await queued(redis)
    await records.blame(Death(0, first.id.decode(), frozenset(), 1))
    known = await records.load(0)
    assert [(each.id, each.tries) for each in known.tried] == [(first.id.decode(), 2)]
    assert (known.was_begun, known.is_explained, known.was_read_with) == (False, True, 0)
    # Tried alone, it is counted once; and one that was stored is not to blame.
    await records.begin([second], is_searching=True)
    await records.blame(Death(0, second.id.decode(), frozenset(), 1))
    assert await records.tries([second]) == [(1, 1)]
    assert (await records.load(0)).is_explained
    assert await records.tries([second]) == [(2, 1)]
    await records.blame(Death(0, "1-1", frozenset(), 1))
    assert await redis.hlen(KEYS.failures(0)) == 2


async def test_what_was_tried_together_with_the_one_to_blame_is_not_searched(
    redis: Redis, records: QuarantineRecords
) -> None:
    await add(redis, ODD[0], *range(1, 251))
    first, second, *others = await queued(redis)
    await records.begin([first], is_searching=True)
    await records.begin([first], is_searching=True)
    await records.fail(second, was_begun=False)
    await records.begin(others, is_searching=True)
    await records.blame(Death(0, others[7].id.decode(), frozenset({0, 3}), 248))
    assert await records.tries([first, second, others[7], others[0]]) == [
        (2, 2),
        (1, 0),
        (1, 1),
        (0, 0),
    ]
    known = await records.load(0)
    assert [each.id for each in known.tried] == [each.id.decode() for each in (first, others[7])]
    assert (known.is_explained, known.was_read_with) == (True, 247)
