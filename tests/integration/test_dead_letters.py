"""G8: a batch that cannot be processed is tried five times and put aside; what is behind it passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from benchmarks import ledger
from benchmarks.generate import Shape, WriterPlan, batch_bytes, plans
from support.letters import dead, dead_seqs, poison
from support.stack import Stack, running_stack
from support.workers import kept_worker, metrics_of

from penstock.wire import batch_digest
from penstock_common.queue.entries import Entry, encode
from penstock_common.queue.redis_keys import RedisKeys, run_path, shard_of, writer_key

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

KEYS = RedisKeys()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), workers=0) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def new_queue(stack: Stack) -> None:
    redis = stack.redis.client()
    await redis.flushall()
    await redis.aclose()


async def send(stack: Stack, shape: Shape, project: str, batches: int) -> None:
    for plan in plans(shape):
        raws = [batch_bytes(shape, plan, seq, project=project) for seq in range(1, batches + 1)]
        status, reply = await stack.post(*raws)
        assert status == 202, reply


async def check(stack: Stack, shape: Shape, project: str, batches: int) -> ledger.Ledger:
    sent = dict.fromkeys(plans(shape), batches)
    return await ledger.check(stack.store.url, stack.store.token, shape, sent, project)


@pytest.mark.heavy
async def test_one_in_a_hundred_is_put_aside_and_can_be_replayed(
    stack: Stack, faults: Path
) -> None:
    shape, project = Shape(runs=4, keys=3, rows=10, awkward=False), "hundred"
    poisoned = poison(faults, "error no good for run00001 20", "error worse for run00003 33")
    await send(stack, shape, project, 50)
    worker = await stack.start_worker(failpoints=faults)
    await stack.drained()
    found = await check(stack, shape, project, 50)
    assert found.missing == 2 * shape.points
    assert (found.duplicate, found.altered, found.phantom) == (0, 0, 0)
    writers = [f"local/{project}/run00001/writer0", f"local/{project}/run00003/writer0"]
    assert await dead_seqs(stack) == dict(zip(writers, ["20", "33"], strict=True))
    url = f"{stack.urls[0]}/v1/writers/-/{project}/run00001/writer0"
    async with stack.session.get(url) as reply:
        mark = await reply.json()
    assert (mark["committed"], mark["dead"]) == (50, [20])

    lines = sorted(await dead(stack, "list"), key=lambda line: "worse" in line)
    assert [("#20" in line, "OSError: no good" in line) for line in lines] == [
        (True, True),
        (False, False),
    ]
    first, second = (line.split()[0] for line in lines)
    shown = "\n".join(await dead(stack, "show", first))
    assert "run00001" in shown
    assert "points    30" in shown
    assert "steps 190 to 199" in shown

    poisoned.unlink()
    assert await dead(stack, "replay", first) == ["1 are in the queue again."]
    await stack.drained()
    assert await dead_seqs(stack) == {writers[1]: "33"}
    assert (await check(stack, shape, project, 50)).missing == shape.points
    assert await dead(stack, "replay", "--all") == ["1 are in the queue again."]
    await stack.drained()
    found = await check(stack, shape, project, 50)
    assert found.is_clean, str(found)
    assert await dead_seqs(stack) == {}
    rows = await stack.points.query("SELECT dead FROM penstock.applied FINAL WHERE dead != []")
    assert not len(rows["dead"])
    assert second
    assert await worker.stop() == 0


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_letter_can_be_dropped(stack: Stack, faults: Path) -> None:
    shape, project = Shape(runs=1, keys=1, rows=5, awkward=False), "dropped"
    poison(faults, "error no for run00000 2")
    await send(stack, shape, project, 3)
    worker = await stack.start_worker(failpoints=faults)
    await stack.drained()
    (line,) = await dead(stack, "list")
    assert await dead(stack, "drop", line.split()[0]) == [f"{line.split()[0]} was deleted."]
    assert await dead(stack, "list") == ["No dead letters or parked writers."]
    # Its number stays dead: a repeat is not tried again, and what came later is stored.
    status, _ = await stack.post(batch_bytes(shape, WriterPlan(0, 0), 2, project=project))
    assert status == 202
    await stack.drained()
    found = await check(stack, shape, project, 3)
    assert (found.missing, found.phantom, found.altered) == (shape.points, 0, 0)
    assert await worker.stop() == 0


@pytest.mark.heavy
@pytest.mark.timeout(320)
@pytest.mark.parametrize("fault", ["exit 139", "sleep 600"])
async def test_a_batch_that_ends_or_holds_up_its_worker_is_put_aside(
    stack: Stack, faults: Path, fault: str
) -> None:
    shape, project = Shape(runs=6, keys=3, rows=10, awkward=False), fault.replace(" ", "-")
    poisoned = poison(faults, f"{fault} for run00002 7")
    await send(stack, shape, project, 12)
    async with kept_worker(stack, failpoints=faults, batch_timeout_s=0.5) as kept:
        await stack.drained(200)  # five tries, each of which has to hang first
        codes = list(kept.codes)
        found = await check(stack, shape, project, 12)
        assert (found.missing, found.phantom, found.altered) == (shape.points, 0, 0)
        writer = writer_key(run_path("local", project, "run00002"), "writer0")
        assert await dead_seqs(stack) == {writer: "7"}
        (line,) = await dead(stack, "list")
        assert "died or hung 5 times" in line
        # Twice before the shard was suspected, once in a part with others, five times alone at most.
        assert 6 <= len(codes) <= 9
        assert set(codes) == {139 if fault == "exit 139" else 1}
        poisoned.unlink()
        await dead(stack, "replay", "--all")
        await stack.drained()
        found = await check(stack, shape, project, 12)
        assert found.is_clean, str(found)


@pytest.mark.heavy
async def test_another_content_under_a_stored_number_is_put_aside(
    stack: Stack, faults: Path
) -> None:
    shape, project = Shape(runs=1, keys=2, rows=5), "conflict"
    plan = WriterPlan(0, 0)
    first = batch_bytes(shape, plan, 1, project=project)
    other = batch_bytes(Shape(runs=1, keys=2, rows=5, seed=2), plan, 1, project=project)
    socket = faults / "metrics"
    worker = await stack.start_worker(metrics_socket=socket)
    assert (await stack.post(first))[0] == 202
    await stack.drained()
    shard = shard_of(run_path("local", project, plan.run_name))
    redis = stack.redis.client()
    writer = writer_key(run_path("local", project, plan.run_name), plan.name)
    kept = await redis.hget(KEYS.digests(shard), writer)
    assert kept == f"1={batch_digest(first)[:16]}".encode()
    # A queue that lost its marks lets both through: the worker compares them with the store.
    await redis.delete(KEYS.committed(shard), KEYS.digests(shard))
    await redis.aclose()
    assert (await stack.post(other))[0] == 202
    await stack.drained()
    assert (await stack.post(first))[0] == 202
    (line,) = await dead(stack, "list")
    assert line.endswith("conflict")
    assert await dead_seqs(stack) == {}
    found = await metrics_of(socket)
    assert found["penstock_worker_batches_total", "conflict"] == 1
    checked = await ledger.check(stack.store.url, stack.store.token, shape, {plan: 1}, project)
    assert checked.is_clean, str(checked)
    # A replay meets the same content in the store.
    await dead(stack, "replay", "--all")
    await stack.drained()
    assert len(await dead(stack, "list")) == 1
    assert await worker.stop() == 0


@pytest.mark.heavy
@pytest.mark.smoke
async def test_all_letters_are_dropped_only_if_somebody_says_so(stack: Stack) -> None:
    redis = stack.redis.client()
    for shard in (0, 3):
        letter = Entry(shard, b"", "local/p/r/w", 1, b"x", 5, reason="old")
        await redis.xadd(KEYS.dead(shard), encode(letter, layout=1))
    await redis.aclose()
    said = "\n".join(await dead(stack, "drop", "--all", answer="n", status=1))
    assert "`rejected/`" in said
    assert "Nothing was dropped." in said
    assert len(await dead(stack, "list")) == 2
    await dead(stack, "drop", "--all", "--yes")
    assert await dead(stack, "list") == ["No dead letters or parked writers."]
