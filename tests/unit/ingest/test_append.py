"""What appending a batch answers, over a queue in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError
from support.memory_worker import KEYS, Bench, MemoryPipe, running_bench

from penstock.errors import Rejected, Transient
from penstock.wire import Batch, encode_batch
from penstock_common.queue.redis_keys import shard_of

SHARD = shard_of("e/p/r")


@pytest.fixture
async def bench(catalog_url: str) -> AsyncIterator[Bench]:
    async with running_bench(catalog_url) as running:
        yield running


def named(name: str) -> list[dict[str, Any]]:
    return [{"t": "run", "name": name}]


async def test_a_repeat_is_queued_once(bench: Bench) -> None:
    first = await bench.append(1, records=named("a"))
    again = await bench.append(1, records=named("a"))
    assert (first.is_new, again.is_new) == (True, False)
    assert first.position == again.position
    assert (first.position.queued, first.position.committed) == (1, None)
    assert await bench.queued() == 1


async def test_another_content_under_a_queued_number_is_refused(bench: Bench) -> None:
    await bench.append(1, records=named("a"))
    with pytest.raises(Rejected) as refused:
        await bench.append(1, records=named("b"))
    assert (refused.value.status, refused.value.code) == (409, "conflict")
    assert await bench.queued() == 1


async def test_what_is_committed_is_not_queued_again(bench: Bench) -> None:
    await bench.append(1, records=named("a"))
    await (await bench.new_worker()).commit()
    again = await bench.append(1, records=named("a"))
    assert (again.is_new, again.position.committed) == (False, 1)
    with pytest.raises(Rejected, match="number 1 already"):
        await bench.append(1, records=named("b"))
    assert await bench.queued() == 0


async def test_a_queue_that_was_wiped_has_another_name(bench: Bench) -> None:
    first = await bench.append(1, records=named("a"))
    assert (await bench.append(2, records=named("b"))).position.queue == first.position.queue
    await bench.redis.flushall()
    again = await bench.append(1, records=named("a"))
    assert again.is_new
    assert again.position.queue != first.position.queue


async def test_rows_are_numbered_by_the_queue_and_a_key_is_used_once(bench: Bench) -> None:
    raw = encode_batch(Batch(project="p", run="r", writer="", seq=0, records=named("a")))

    async def rows(key: str, digest: str) -> tuple[int, bool]:
        found = await bench.appender.append_rows("e", "p", "r", raw, key=key, digest=digest)
        return found.position.queued, found.is_new

    assert await rows("", "") == (1, True)
    assert await rows("k", "d1") == (2, True)
    assert await rows("k", "d1") == (2, False)
    with pytest.raises(Rejected) as refused:
        await rows("k", "d2")
    assert refused.value.code == "idempotency_conflict"
    assert await rows("", "") == (3, True)
    assert await bench.queued() == 3


async def test_a_parked_writer_has_only_so_much_room(bench: Bench) -> None:
    await bench.redis.hset(KEYS.parked_bytes(SHARD), mapping={"e/p/r/w": 1, "": 2**40})
    with pytest.raises(Transient) as away:
        await bench.append(1, records=named("a"))
    assert (away.value.code, away.value.retry_after_s) == ("parked", 60)
    assert (await bench.append(1, writer="other", records=named("a"))).is_new
    assert await bench.queued() == 1


async def test_a_queue_that_does_not_answer_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(MemoryPipe, "execute", broken)
    with pytest.raises(Transient, match="cannot take batches now"):
        await bench.append(1, records=named("a"))
