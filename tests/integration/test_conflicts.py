"""One number, two batches: the first stays. And what was put aside shows in every mark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest
import pytest_asyncio
import zstandard
from redis.asyncio import Redis
from support.stack import Stack, running_stack

from penstock.wire import Batch, batch_digest, encode_batch
from penstock_common.queue.redis_keys import RedisKeys, run_path, shard_of, writer_key

KEYS = RedisKeys()
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("conflicts"), workers=0) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def redis(stack: Stack) -> AsyncIterator[Redis]:
    client = stack.redis.client()
    yield client
    await client.aclose()


def batch(run: str, seq: int, text: str, *, compress: bool = False, level: int = 1) -> bytes:
    raw = encode_batch(
        Batch(
            project="conflicts",
            run=run,
            writer="w",
            seq=seq,
            records=[{"t": "run", "notes": text * 50}],
        )
    )
    return zstandard.ZstdCompressor(level=level).compress(raw) if compress else raw


def place(run: str, writer: str = "w") -> tuple[int, str]:
    path = run_path("local", "conflicts", run)
    return shard_of(path), writer_key(path, writer)


async def queued(redis: Redis, run: str) -> list[bytes]:
    shard, writer = place(run)
    entries: list[Any] = await redis.xrange(KEYS.stream(shard)) or []
    return [fields[b"b"] for _, fields in entries if fields[b"w"] == writer.encode()]


async def metric(stack: Stack, name: str) -> float:
    async with stack.session.get(f"{stack.urls[0]}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    return next(float(line.split(" ")[-1]) for line in lines if line.startswith(f"{name} "))


async def test_a_queued_number_keeps_its_first_batch(stack: Stack, redis: Redis) -> None:
    first = batch("queued", 1, "first")
    assert (await stack.post(first))[0] == 202
    name = 'penstock_ingest_batches_total{outcome="conflict"}'
    before = await metric(stack, name)
    status, answer = await stack.post(batch("queued", 1, "second"))
    assert (status, answer["error"]["code"]) == (409, "conflict")
    assert "'w' has the number 1" in answer["error"]["message"]
    assert await metric(stack, name) == before + 1
    assert await metric(stack, 'penstock_ingest_rejections_total{reason="conflict"}') == before + 1
    assert await queued(redis, "queued") == [first]
    assert (await stack.post(first))[0] == 202
    assert await queued(redis, "queued") == [first]


async def test_how_a_repeat_is_compressed_does_not_matter(stack: Stack, redis: Redis) -> None:
    forms = [
        batch("compressed", 1, "same", compress=True),
        batch("compressed", 1, "same"),
        batch("compressed", 1, "same", compress=True, level=19),
    ]
    assert len(set(forms)) == 3
    for raw in forms:
        status, answer = await stack.post(raw)
        assert (status, answer.get("queued")) == (202, 1), answer
    assert await queued(redis, "compressed") == forms[:1]


async def test_a_committed_number_keeps_its_first_batch(stack: Stack, redis: Redis) -> None:
    first = batch("committed", 7, "first")
    shard, writer = place("committed")
    digests = f"6={'0' * 16};7={batch_digest(first)[:16]};8={'f' * 16}"
    await redis.hset(KEYS.committed(shard), writer, 8)
    await redis.hset(KEYS.digests(shard), writer, digests)
    for form in (first, batch("committed", 7, "first", compress=True)):
        status, answer = await stack.post(form)
        assert (status, answer.get("committed")) == (202, 8), answer
    for seq in (6, 7):
        status, answer = await stack.post(batch("committed", seq, "second"))
        assert (status, answer["error"]["code"]) == (409, "conflict")
    # Of what is too long ago nothing can be said: the worker looks again.
    assert (await stack.post(batch("committed", 5, "second")))[0] == 202
    assert await queued(redis, "committed") == []


async def test_a_committed_number_without_digests_is_a_repeat(stack: Stack, redis: Redis) -> None:
    shard, writer = place("old")
    await redis.hset(KEYS.committed(shard), writer, 3)
    assert (await stack.post(batch("old", 2, "any")))[0] == 202
    assert await queued(redis, "old") == []


async def test_in_a_body_of_several_the_others_are_queued_and_counted(
    stack: Stack, redis: Redis
) -> None:
    assert (await stack.post(batch("several", 2, "first")))[0] == 202
    name = 'penstock_ingest_batches_total{outcome="queued"}'
    before = await metric(stack, name)
    body = [
        batch("several", 1, "x"),
        batch("several", 2, "second"),
        batch("several", 3, "x"),
    ]
    status, answer = await stack.post(*body)
    assert (status, answer["error"]["code"]) == (409, "conflict")
    assert await metric(stack, name) == before + 2
    assert sorted(await queued(redis, "several")) == sorted(
        [batch("several", 2, "first"), body[0], body[2]]
    )


async def test_dead_numbers_are_in_every_mark(stack: Stack, redis: Redis) -> None:
    shard, writer = place("dead")
    await redis.hset(KEYS.dead_seqs(shard), writer, "12,3,7")
    status, answer = await stack.post(batch("dead", 13, "x"))
    assert status == 202
    assert answer["dead"] == [3, 7, 12]
    assert set(answer["marks"][0]) == {
        "entity", "project", "run", "writer", "queued", "committed", "queue", "dead",
    }  # fmt: skip
    assert answer["marks"][0]["entity"] == "local"
    assert answer["marks"][0]["dead"] == [3, 7, 12]
    url = f"{stack.urls[0]}/v1/writers/-/conflicts/dead/w"
    async with stack.session.get(url) as reply:
        asked: dict[str, Any] = await reply.json()
    assert asked["dead"] == asked["marks"][0]["dead"] == [3, 7, 12]
    assert asked["committed"] is None


async def test_a_writer_without_dead_numbers_has_an_empty_list(stack: Stack) -> None:
    _, answer = await stack.post(batch("alive", 1, "x"))
    assert answer["dead"] == answer["marks"][0]["dead"] == []


async def test_rows_have_dead_numbers_too(stack: Stack, redis: Redis) -> None:
    body = b'{"project": "conflicts", "run": "rows", "rows": [{"step": 1, "a": 1}]}'
    headers = {"Idempotency-Key": "k1"}
    _, answer = await stack.post_raw(body, content_type="application/json", headers=headers)
    shard, writer = place("rows", answer["marks"][0]["writer"])
    await redis.hset(KEYS.dead_seqs(shard), writer, "1")
    status, again = await stack.post_raw(body, content_type="application/json", headers=headers)
    assert (status, again["dead"], again["queued"]) == (202, [1], 1)


async def test_an_unknown_version_is_told_the_known_ones(stack: Stack) -> None:
    raw = msgpack.packb({**msgpack.unpackb(batch("version", 1, "x")), "v": 2})
    status, answer = await stack.post(raw)
    assert status == 415
    assert answer["error"]["supported"] == [1]
    assert "[1]" in answer["error"]["hint"]
