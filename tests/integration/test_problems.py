"""Stated problems in a real Redis: told, refreshed, cleared, and gone when nobody tells them again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from support.redis import running_redis

from penstock_common.queue.problem_list import Problems
from penstock_common.queue.problems import PROBLEMS, Problem
from penstock_common.queue.redis_keys import RedisKeys

KEYS = RedisKeys("p")


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    async with running_redis(tmp_path) as handle:
        client = handle.client()
        yield client
        await client.aclose()


async def test_told_kept_and_cleared(redis: Redis) -> None:
    problems = Problems(redis, KEYS)
    await problems.tell("disk_low", "1 GiB is left.", subject="/data")
    await problems.tell("disk_low", "2 GiB are left.", subject="/blobs")
    await problems.tell("worker_at_fault", "Five runs failed in w-0.")
    first = await problems.all()
    assert [(each.code, each.subject) for each in first] == [
        ("worker_at_fault", ""), ("disk_low", "/blobs"), ("disk_low", "/data"),
    ]  # fmt: skip
    await problems.tell("disk_low", "Half a GiB is left.", subject="/data")
    again = {each.subject: each for each in await problems.all()}["/data"]
    assert again.text == "Half a GiB is left."
    assert again.since == first[2].since
    await problems.clear("disk_low", subject="/data")
    await problems.clear("worker_at_fault")
    assert [each.subject for each in await problems.all()] == ["/blobs"]
    assert PROBLEMS["disk_low"].hint == again.to_json()["hint"]


async def test_what_nobody_tells_again_is_gone(redis: Redis) -> None:
    problems = Problems(redis, KEYS)
    await problems.tell("disk_low", "gone before it is read", ttl_s=0)
    await problems.tell("disk_full", "stays")
    assert [each.text for each in await problems.all()] == ["stays"]


async def test_there_is_an_end_to_them(redis: Redis) -> None:
    problems = Problems(redis, KEYS)
    await problems.tell("disk_low", "old", subject="old", ttl_s=0)
    for number in range(250):
        await problems.tell("bound_reached", "x" * 5_000, subject=f"run {number}")
    found = await problems.all()
    assert len(found) == 200
    assert {len(each.text) for each in found} == {500}


async def test_odd_texts_and_fields_do_no_harm(redis: Redis) -> None:
    problems = Problems(redis, KEYS)
    await problems.tell("bound_reached", 'Zahl „ü"\n\0', subject="a/b/ü")
    await redis.hset(KEYS.problems(), "of_another_release/", b'[0, 1e12, "x", ""]')
    await redis.hset(KEYS.problems(), "disk_low/", b"not JSON")
    (only,) = await problems.all()
    assert only == Problem("bound_reached", 'Zahl „ü"\n\0', "a/b/ü", only.since)
    await problems.tell("disk_low", "told over what was not JSON")
    assert len(await problems.all()) == 2
    with pytest.raises(ValueError, match="not a kind"):
        await problems.tell("typo", "")


async def test_telling_fails_nobody(tmp_path: Path) -> None:
    async with running_redis(tmp_path) as handle:
        client = handle.client(timeout_s=1)
        await handle.stop()
        await Problems(client, KEYS).tell("disk_low", "")
        await Problems(client, KEYS).clear("disk_low")
        await client.aclose()


async def test_what_belongs_to_an_entity_is_not_said_to_strangers(redis: Redis) -> None:
    problems = Problems(redis, KEYS)
    text, subject = "run acme/secret/r has as many writers as it may have", "writers acme/secret/r"
    await problems.tell("bound_reached", text, subject=subject, entity="acme")
    (known,) = await problems.all()
    assert (known.entity, known.text, known.subject) == ("acme", text, subject)
    said = str(known.redacted().to_json())
    assert "acme" not in said
    assert "secret" not in said
    assert "acme" not in known.to_json()
