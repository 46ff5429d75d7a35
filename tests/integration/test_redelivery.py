"""G5 and G6: any permutation with any repetition of deliveries gives the same store.

Every batch is delivered one to four times, shuffled, over three gateways, while two workers are
killed with -9 again and again; the export must equal a single delivery in order, and the tiers must
equal a rebuild from the points.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest
from benchmarks import ledger
from benchmarks.generate import Shape, WriterPlan, batch_bytes, plans
from support.stack import Stack, running_stack
from support.tiers import tiers_settled, wrong_tiers

SHAPE = Shape(runs=6, keys=12, rows=350, writers=2, seed=7)
BATCHES = 48  # 16,800 steps per writer: long enough for tiers of three widths
PROJECT = "redelivery"


async def deliver(stack: Stack, rng: random.Random) -> None:
    """Every batch one to four times, shuffled, over all gateways; refused ones again."""
    deliveries = [
        (plan, seq)
        for plan in plans(SHAPE)
        for seq in range(1, BATCHES + 1)
        for _ in range(rng.randint(1, 4))
    ]
    rng.shuffle(deliveries)

    async def send(number: int) -> None:
        for plan, seq in deliveries[number::6]:
            raw = batch_bytes(SHAPE, plan, seq, project=PROJECT)
            status, reply = await stack.post(raw, gateway=rng.randrange(len(stack.urls)))
            assert status == 202, reply

    await asyncio.gather(*(send(number) for number in range(6)))


async def kill_workers(stack: Stack, rng: random.Random, kills: int) -> None:
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.2, 0.6))
        victim = rng.choice([w for w in stack.workers if w.process.returncode is None])
        await victim.kill()
        await stack.start_worker(lease_s=1.0)


async def export(stack: Stack) -> dict[tuple[str, str, str], tuple[bytes, bytes]]:
    """(key, run, writer) -> (steps, values), byte for byte: numbers differ from store to store."""
    names = await stack.points.query(
        "SELECT toString(kind) AS k, id, name FROM penstock.names FINAL"
    )
    name_of = dict(
        zip(zip(names["k"], map(int, names["id"]), strict=True), names["name"], strict=True)
    )
    lanes = await stack.points.query("SELECT run, lane, writer FROM penstock.applied FINAL")
    writer_of = {
        (int(run), int(lane)): writer
        for run, lane, writer in zip(lanes["run"], lanes["lane"], lanes["writer"], strict=True)
    }
    found = await stack.points.query(
        "SELECT key, run, lane, step, v FROM penstock.points FINAL ORDER BY key, run, lane, step"
    )
    key, run, lane, step, v = (np.asarray(found[c]) for c in ("key", "run", "lane", "step", "v"))
    change = (key[1:] != key[:-1]) | (run[1:] != run[:-1]) | (lane[1:] != lane[:-1])
    heads = np.flatnonzero(np.append(True, change)).tolist()
    return {
        (
            name_of["key", int(key[a])],
            name_of["run", int(run[a])],
            writer_of[int(run[a]), int(lane[a])],
        ): (step[a:b].tobytes(), v[a:b].tobytes())
        for a, b in zip(heads, [*heads[1:], len(key)], strict=True)
    }


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(180)
async def test_redelivery_with_workers_killed_changes_nothing(tmp_path: Path) -> None:
    rng = random.Random(3)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with running_stack(tmp_path / "a", gateways=3, workers=0) as stack:
        for _ in range(2):
            await stack.start_worker(lease_s=1.0)
        await asyncio.gather(deliver(stack, rng), kill_workers(stack, rng, kills=6))
        await stack.drained(60)
        shuffled = await export(stack)
        await tiers_settled(stack.points)
        tiers, wrong = await wrong_tiers(stack.points)
        sent = dict.fromkeys(plans(SHAPE), BATCHES)
        found = await ledger.check(stack.store.url, stack.store.token, SHAPE, sent, PROJECT)
    assert found.is_clean, str(found)
    series, steps = len(plans(SHAPE)) * SHAPE.keys, BATCHES * SHAPE.rows
    assert tiers == {8: series * -(-steps // 2**8), 11: series * (steps >> 11), 14: series}
    assert wrong == 0

    async with running_stack(tmp_path / "b") as stack:
        for plan in plans(SHAPE):
            await stack.post(
                *(batch_bytes(SHAPE, plan, seq, project=PROJECT) for seq in range(1, BATCHES + 1))
            )
        await stack.drained(60)
        in_order = await export(stack)
    assert len(in_order) == len(plans(SHAPE)) * SHAPE.keys
    assert shuffled == in_order


@pytest.mark.smoke
@pytest.mark.heavy
async def test_a_wiped_queue_forgets_nothing_that_was_committed(tmp_path: Path) -> None:
    shape = Shape(runs=1, keys=3, rows=20)
    plan = WriterPlan(0, 0)
    async with running_stack(tmp_path) as stack:
        status, first = await stack.post(batch_bytes(shape, plan, 1, project=PROJECT))
        assert status == 202
        await stack.drained()
        redis = stack.redis.client()
        await redis.flushall()
        await redis.aclose()
        # The same batch again: the queue has forgotten it, the store has not.
        status, again = await stack.post(batch_bytes(shape, plan, 1, project=PROJECT))
        assert status == 202
        assert again["queue"] != first["queue"]
        await stack.drained()
        url = f"{stack.urls[0]}/v1/writers/-/{PROJECT}/{plan.run_name}/{plan.name}"
        async with stack.session.get(url) as reply:
            mark = await reply.json()
        assert mark["committed"] == 1
        found = await ledger.check(stack.store.url, stack.store.token, shape, {plan: 1}, PROJECT)
        assert found.is_clean, str(found)
