"""`POST /v1/heartbeats`: who is alive, and where every writer of a host stands."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from support.stack import Stack, eventually, running_stack

from penstock.wire import Batch, encode_batch
from penstock_common.queue.redis_keys import RedisKeys, run_path, shard_of, writer_key

KEYS = RedisKeys()
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("beats")) as running:
        yield running


async def beat(stack: Stack, *writers: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"writers": writers})
    headers = {"Content-Type": "application/json"}
    url = f"{stack.urls[0]}/v1/heartbeats"
    async with stack.session.post(url, data=body, headers=headers) as reply:
        return reply.status, await reply.json()


def writer(run: str, name: str = "w", /, **changes: Any) -> dict[str, Any]:
    return {"project": "beats", "run": run, "writer": name, "alive": True, **changes}


def batch(run: str, seq: int) -> bytes:
    return encode_batch(Batch(project="beats", run=run, writer="w", seq=seq))


async def test_marks_come_in_the_order_asked(stack: Stack) -> None:
    for run in ("a", "b", "c"):
        for seq in (1, 2):
            assert (await stack.post(batch(run, seq)))[0] == 202
    await stack.drained()

    async def is_store_known() -> bool:
        return bool((await beat(stack))[1]["store"])

    await eventually(is_store_known)
    asked = [writer("c"), writer("nobody"), writer("a"), writer("c", "other"), writer("b")]
    asked *= 2  # the same one twice is no harm
    status, answer = await beat(stack, *asked)
    assert status == 200
    assert set(answer) == {"store", "interval_s", "commands", "marks"}
    assert answer["store"]
    assert [(m["run"], m["writer"]) for m in answer["marks"]] == [
        (each["run"], each["writer"]) for each in asked
    ]
    assert [m["committed"] for m in answer["marks"][:5]] == [2, None, 2, None, 2]
    assert {m["entity"] for m in answer["marks"]} == {"local"}
    _, posted = await stack.post(batch("a", 3))
    assert posted["queue"] == answer["marks"][2]["queue"]
    assert posted["store"] == answer["store"]


async def test_dead_numbers_are_told(stack: Stack) -> None:
    path = run_path("local", "beats", "dead")
    redis = stack.redis.client()
    await redis.hset(KEYS.dead_seqs(shard_of(path)), writer_key(path, "w"), "9,4")
    await redis.aclose()
    _, answer = await beat(stack, writer("dead"), writer("dead", "other"))
    assert [mark["dead"] for mark in answer["marks"]] == [[4, 9], []]


async def test_only_those_alive_are_noted_as_such(stack: Stack) -> None:
    before = time.time_ns() // 1000
    await beat(stack, writer("lives"), writer("ended", alive=False), writer("lives", "rank1"))
    redis = stack.redis.client()
    found: dict[str, Any] = {}
    for run in ("lives", "ended"):
        path = run_path("local", "beats", run)
        found[run] = await redis.hget(KEYS.heartbeats(shard_of(path)), path)
    await redis.aclose()
    assert found["ended"] is None
    assert before <= int(found["lives"]) <= time.time_ns() // 1000


async def test_as_many_as_1000_and_no_more(stack: Stack) -> None:
    many = [writer(f"r{number}") for number in range(1_000)]
    status, answer = await beat(stack, *many)
    assert (status, len(answer["marks"])) == (200, 1_000)
    status, answer = await beat(stack, *many, writer("one"))
    assert (status, answer["error"]["code"]) == (400, "bad_field")
    assert (await beat(stack))[1]["marks"] == []


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"entity": "somebody"}, 403, "forbidden"),
        ({"project": "a/b"}, 400, "bad_name"),
        ({"run": ""}, 400, "bad_field"),
        ({"writer": ".."}, 400, "bad_name"),
        ({"alive": "yes"}, 400, "bad_field"),
        ({"more": 1}, 400, "bad_field"),
    ],
)
async def test_what_is_wrong_is_refused(
    stack: Stack, changes: dict[str, Any], status: int, code: str
) -> None:
    got, answer = await beat(stack, writer("a"), writer("b", **changes))
    assert (got, answer["error"]["code"]) == (status, code)


async def test_a_wiped_queue_shows_in_the_marks(stack: Stack) -> None:
    assert (await stack.post(batch("wiped", 1)))[0] == 202
    await stack.drained()
    _, before = await beat(stack, writer("wiped"))
    redis = stack.redis.client()
    await redis.flushall()
    _, after = await beat(stack, writer("wiped"))
    await redis.aclose()
    assert after["marks"][0]["queue"] != before["marks"][0]["queue"]
    assert after["marks"][0]["committed"] is None


async def test_a_full_queue_still_says_where_writers_stand(stack: Stack) -> None:
    redis = stack.redis.client()
    await redis.config_set("maxmemory", 1)
    try:
        status, answer = await beat(stack, writer("a"))
        assert (status, len(answer["marks"])) == (200, 1)
    finally:
        await redis.config_set("maxmemory", 2**30)

    async def is_taken() -> bool:
        return (await stack.post(batch("later", 1)))[0] == 202

    await eventually(is_taken)
    await redis.aclose()
