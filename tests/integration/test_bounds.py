"""A run, project or entity at its bound stops nobody else; what is beyond is refused at the
door within seconds, and what came before that is a dead letter, or counted on its run.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from support.letters import dead, letters
from support.stack import Stack, eventually, running_stack

from penstock.wire import DEFAULT_LIMITS, Batch, Frame, decode_batch, encode_batch
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.redis_keys import SHARDS, RedisKeys, run_path, shard_of
from penstock_storage.contracts.interface import RunRef

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

BOUNDS: dict[str, Any] = {
    "runs_per_project": 4,
    "writers_per_run": 3,
    "keys_per_run": 5,
    "keys_per_project": 12,
}
KEYS = RedisKeys()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), workers=0, **BOUNDS) as running:
        await running.start_worker(**BOUNDS)
        yield running


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def no_letters(stack: Stack) -> None:
    redis = stack.redis.client()
    await redis.delete(*map(KEYS.dead, range(SHARDS)))
    await redis.aclose()


@pytest.fixture(scope="module")
def new_name() -> Callable[[], str]:
    """A project or run that no other test has."""
    numbers = count()
    return lambda: f"n{next(numbers)}"


def batch(
    project: str, run: str, writer: str = "w", seq: int = 1, keys: tuple[str, ...] = ("loss",),
    rows: int = 2, **more: Any,
) -> Batch:  # fmt: skip
    steps = struct.pack(f"<{rows}q", *range(rows * (seq - 1), rows * seq))
    values = struct.pack(f"<{rows * len(keys)}d", *(float(n) for n in range(rows * len(keys))))
    frame = Frame(list(keys), steps, steps, values, bytes(n % 2 for n in range(len(keys))))
    return Batch(project, run, writer, seq, writer_started=1, frames=[frame], **more)


def beside(project: str, run: str, other: str) -> str:
    """A run of another project on the shard of this one."""
    shard = shard_of(run_path("local", project, run))
    names = (f"beside{n}" for n in count())
    return next(name for name in names if shard_of(run_path("local", other, name)) == shard)


async def send(stack: Stack, *batches: Batch) -> tuple[int, dict[str, Any]]:
    return await stack.post(*map(encode_batch, batches))


async def stored(stack: Stack, project: str, run: str) -> dict[str, int]:
    """How many points each key of a run has in the store."""
    row = await stack.catalog.run(RunRef("local", project, run))
    assert row is not None
    found = await stack.points.query(
        "SELECT key, count() AS n FROM penstock.points FINAL WHERE run = {run:UInt32} GROUP BY key",
        {"run": row.number},
    )
    names = await stack.catalog.key_names([int(key) for key in found["key"]])
    return {names[int(key)]: int(n) for key, n in zip(found["key"], found["n"], strict=True)}


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_full_run_is_refused_its_writers_and_nobody_else(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    project, run = new_name(), new_name()
    for n in range(6):
        status, _ = await send(stack, batch(project, run, f"w{n}"))
        assert status == 202
    other = beside(project, run, new_project := new_name())
    assert (await send(stack, batch(new_project, other)))[0] == 202
    await stack.drained()
    # 202 and not stored: each is a dead letter that says why, and its sender is told its number.
    lines = await dead(stack, "list")
    assert len(lines) == 3
    assert all("no room: too many writers" in line for line in lines)
    assert await stored(stack, project, run) == {"loss": 6}
    assert await stored(stack, new_project, other) == {"loss": 2}
    url = f"{stack.urls[0]}/v1/writers/-/{project}/{run}"
    marks = []
    for n in range(6):
        async with stack.session.get(f"{url}/w{n}") as answer:
            mark: dict[str, Any] = await answer.json()
        marks.append((mark["committed"], mark["dead"]))
    assert sorted(marks) == [(1, [])] * 3 + [(1, [1])] * 3

    async def is_refused() -> bool:
        status, reply = await send(stack, batch(project, run, new_name()))
        assert status in (202, 422), reply
        return status == 422

    await eventually(is_refused)
    status, reply = await send(stack, batch(project, run, new_name()))
    assert (status, reply["error"]["code"]) == (422, "too_many_writers")
    assert "PENSTOCK_WRITERS_PER_RUN" in reply["error"]["hint"]
    redis = stack.redis.client()
    told = {(each.code, each.text) for each in await Problems(redis, KEYS).all()}
    await redis.aclose()
    text = f"run local/{project}/{run} has as many writers as it may have"
    assert ("bound_reached", text) in told
    # JSON rows of the run would be one more writer.
    body = f'{{"project":"{project}","run":"{run}","rows":[{{"step":0,"loss":1}}]}}'.encode()
    status, reply = await stack.post_raw(body, content_type="application/json")
    assert (status, reply["error"]["code"]) == (422, "too_many_writers")
    # Those that it has go on, and so does everybody else.
    writers = [each.writer for each in await lanes(stack, project, run)]
    assert (await send(stack, batch(project, run, writers[0], 2)))[0] == 202
    assert (await send(stack, batch(new_project, other, "another")))[0] == 202
    await stack.drained()
    assert await stored(stack, project, run) == {"loss": 8}


async def lanes(stack: Stack, project: str, run: str) -> list[Any]:
    row = await stack.catalog.run(RunRef("local", project, run))
    assert row is not None
    return await stack.catalog.lanes([row.number])


@pytest.mark.smoke
@pytest.mark.heavy
async def test_a_full_project_takes_new_runs_again_when_there_is_room(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    project = new_name()
    assert (await send(stack, *(batch(project, f"r{n}") for n in range(6))))[0] == 202
    await stack.drained()
    assert (
        sorted(line.split("no room: ")[1] for line in await dead(stack, "list"))
        == ["too many runs"] * 2
    )
    (row,) = [each for each in await stack.catalog.projects() if each.project == project]
    assert row.runs == 4
    last = {"code": ""}

    async def is_refused() -> bool:
        status, reply = await send(stack, batch(project, new_name()))
        last.update(reply.get("error", {}))
        return status == 422

    await eventually(is_refused)
    assert last["code"] == "too_many_runs"
    url = f"{stack.urls[0]}/v1/runs"
    async with stack.session.post(url, json={"project": project, "run": "one-more"}) as reply:
        told: dict[str, Any] = await reply.json()
        assert (reply.status, told["error"]["code"]) == (422, "too_many_runs")
    kept = [name for name in ("r0", "r1", "r2", "r3", "r4", "r5")
            if await stack.catalog.run(RunRef("local", project, name))]  # fmt: skip
    assert (await send(stack, batch(project, kept[0], "another")))[0] == 202
    await stack.drained()
    gone = await stack.catalog.run(RunRef("local", project, kept[1]))
    assert gone is not None
    await stack.catalog.delete_runs([gone.number], 1)

    async def is_taken() -> bool:
        return (await send(stack, batch(project, "late", seq=7, acked=6)))[0] == 202

    await eventually(is_taken, 20)
    await stack.drained()
    assert await stored(stack, project, "late") == {"loss": 2}


@pytest.mark.heavy
@pytest.mark.smoke
async def test_what_was_refused_can_be_replayed_once_there_is_room(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    """Also after later batches of its writer, which passed its number, were stored."""
    project = new_name()
    assert (await send(stack, *(batch(project, f"r{n}") for n in range(4))))[0] == 202
    await stack.drained()
    late = batch(project, "late")
    assert (await send(stack, late, replace(late, seq=2)))[0] == 202
    await stack.drained()
    assert len(await dead(stack, "list")) == 2
    row = await stack.catalog.run(RunRef("local", project, "r0"))
    assert row is not None
    await stack.catalog.delete_runs([row.number], 1)
    later = batch(project, "late", seq=3, acked=2)

    async def is_taken() -> bool:
        return (await send(stack, later))[0] == 202

    await eventually(is_taken, 20)
    await stack.drained()
    assert await stored(stack, project, "late") == {"loss": 2}
    assert await dead(stack, "replay", "--all") == ["2 are in the queue again."]
    await stack.drained()
    # Steps 0 and 1 of both letters, 4 and 5 of what came later.
    assert await stored(stack, project, "late") == {"loss": 4}
    assert await letters(stack) == 0
    assert (await send(stack, late))[0] == 202
    await stack.drained()
    assert await letters(stack) == 0


async def test_keys_beyond_a_runs_bound_are_left_out_and_counted(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    project, run = new_name(), new_name()
    names = tuple(f"k{n}" for n in range(8))
    values = [
        {"t": "value", "key": key, "step": 0, "time": 0, "kind": "string", "json": '"x"'}
        for key in ("k0", "text")
    ]
    first = batch(project, run, keys=names, rows=3, records=values)
    other = beside(project, run, elsewhere := new_name())
    assert (await send(stack, first, batch(elsewhere, other, keys=names[:5])))[0] == 202
    await stack.drained()
    assert await stored(stack, project, run) == dict.fromkeys(names[:5], 3)
    assert await stored(stack, elsewhere, other) == dict.fromkeys(names[:5], 2)
    row = await stack.catalog.run(RunRef("local", project, run))
    assert row is not None
    assert row.info["left_out"] == {"values": 10, "keys": ["k5", "k6", "k7", "text"]}
    # The values are those of the keys that were kept.
    found = await stack.points.query(
        "SELECT key, v FROM penstock.points FINAL WHERE run = {run:UInt32} AND step = 1",
        {"run": row.number},
    )
    numbers: dict[int, str] = {
        number: name for name, number in (await stack.catalog.keys(row.project_number)).items()
    }
    assert {numbers[int(k)]: float(v) for k, v in zip(found["key"], found["v"], strict=True)} == {
        f"k{n}": 3 * n + 1 for n in range(5)
    }
    # What the store says that it has of a batch is what it has: else it would be taken for damaged.
    taken = await stack.points.query(
        "SELECT points FROM penstock.batches FINAL WHERE run = {run:UInt32}", {"run": row.number}
    )
    assert [int(n) for n in taken["points"]] == [15]
    # A frame of which nothing is kept, and a repeat, which counts nothing.
    assert (await send(stack, batch(project, run, seq=2, keys=("z",)), first))[0] == 202
    await stack.drained()
    row = await stack.catalog.run(RunRef("local", project, run))
    assert row is not None
    assert row.info["left_out"] == {"values": 12, "keys": ["z"]}
    assert await letters(stack) == 0


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_worker_that_was_started_again_counts_on(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    project, run = new_name(), new_name()
    assert (await send(stack, batch(project, run, keys=("a", "b", "c", "d"))))[0] == 202
    await stack.drained()
    await stack.workers[-1].stop()
    await stack.start_worker(**BOUNDS)
    assert (await send(stack, batch(project, run, seq=2, keys=("e", "f", "a", "g"))))[0] == 202
    await stack.drained()
    assert await stored(stack, project, run) == {"a": 4, "b": 2, "c": 2, "d": 2, "e": 2}


@pytest.mark.heavy
@pytest.mark.smoke
async def test_numbers_set_aside_are_remembered_by_the_next_worker(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    project, run = new_name(), new_name()
    for n in range(3):
        assert (await send(stack, batch(project, run, f"w{n}")))[0] == 202
    await stack.drained()
    for seq in (1, 2):
        await stack.workers[-1].stop()
        redis = stack.redis.client()
        await redis.delete(KEYS.at_bound())
        await redis.aclose()

        async def is_taken(seq: int = seq) -> bool:
            return (await send(stack, batch(project, run, "beyond", seq)))[0] == 202

        await eventually(is_taken)
        await stack.start_worker(**BOUNDS)
        await stack.drained()
    url = f"{stack.urls[0]}/v1/writers/-/{project}/{run}/beyond"
    async with stack.session.get(url) as answer:
        assert (await answer.json())["dead"] == [1, 2]


async def test_a_full_project_leaves_out_new_keys_of_its_runs_only(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    project = new_name()
    for n in range(4):
        keys = tuple(f"r{n}k{m}" for m in range(4))
        assert (await send(stack, batch(project, f"r{n}", keys=("loss", *keys))))[0] == 202
        await stack.drained()
    row = await stack.catalog.run(RunRef("local", project, "r3"))
    assert row is not None
    assert len(await stack.catalog.keys(row.project_number)) == 12
    assert await stored(stack, project, "r3") == {"loss": 2}
    assert row.info["left_out"]["values"] == 8
    other = new_name()
    assert (await send(stack, batch(other, "r", keys=("a", "b"))))[0] == 202
    await stack.drained()
    assert await stored(stack, other, "r") == {"a": 2, "b": 2}


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_raised_bound_is_heard_of_by_itself(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    """The worker that said so is gone: what it said passes within a minute. Here it is let pass."""
    project = new_name()
    assert (await send(stack, *(batch(project, f"r{n}") for n in range(5))))[0] == 202
    await stack.drained()
    await stack.workers[-1].stop()
    raised = {**BOUNDS, "runs_per_project": 5}
    await stack.start_worker(**raised)
    redis = stack.redis.client()
    try:
        assert await redis.zscore(KEYS.at_bound(), f"runs local/{project}") is not None
        await redis.zadd(KEYS.at_bound(), {f"runs local/{project}": 1})
    finally:
        await redis.aclose()

    async def is_taken() -> bool:
        return (await send(stack, batch(project, "r9")))[0] == 202

    await eventually(is_taken)
    await stack.drained()
    assert await stored(stack, project, "r9") == {"loss": 2}
    await stack.workers[-1].stop()
    await stack.start_worker(**BOUNDS)


@pytest.mark.heavy
async def test_every_accepted_batch_is_stored_counted_or_a_dead_letter(
    stack: Stack, new_name: Callable[[], str]
) -> None:
    """More runs, writers and keys than there is room for, in any order, two projects at once."""
    random = Random(7)
    projects = [new_name(), new_name()]
    seqs: Counter[tuple[str, str, str]] = Counter()
    accepted, points = 0, 0
    for _ in range(40):
        batches = []
        for _ in range(random.randrange(1, 12)):
            name = (random.choice(projects), f"r{random.randrange(6)}", f"w{random.randrange(5)}")
            seqs[name] += 1
            keys = tuple(random.sample([f"k{n}" for n in range(16)], random.randrange(1, 8)))
            batches.append(batch(*name, seqs[name], keys, rows=3))
        status, _ = await send(stack, *batches)
        if status == 202:
            accepted += len(batches)
            points += sum(each.points for each in batches)
    assert accepted > 100
    await stack.drained()
    numbers, left_out = [], 0
    for project in projects:
        row = next(each for each in await stack.catalog.projects() if each.project == project)
        assert row.runs == 4
        for run in (f"r{n}" for n in range(6)):
            found = await stack.catalog.run(RunRef("local", project, run))
            if found is not None:
                numbers.append(found.number)
                left_out += found.info.get("left_out", {}).get("values", 0)
                assert len(await stack.catalog.lanes([found.number])) <= 3
                assert len(await stored(stack, project, run)) <= 5
    taken = await stack.points.query(
        "SELECT count() AS n FROM penstock.batches FINAL WHERE run IN {runs:Array(UInt32)}",
        {"runs": numbers},
    )
    assert int(taken["n"][0]) + await letters(stack) == accepted
    kept = await stack.points.query(
        "SELECT count() AS n FROM penstock.points FINAL WHERE run IN {runs:Array(UInt32)}",
        {"runs": numbers},
    )
    redis = stack.redis.client()
    dead_points = 0
    for shard in range(SHARDS):
        entries: Any = await redis.xrange(KEYS.dead(shard))
        for _, fields in entries:
            dead_points += decode_batch(fields[b"b"], DEFAULT_LIMITS).points
    await redis.aclose()
    assert int(kept["n"][0]) + left_out + dead_points == points
