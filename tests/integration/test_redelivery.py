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


async def wrong_tiers(stack: Stack) -> tuple[dict[int, int], int]:
    """(tier rows by shift, those that differ from a rebuild), where rows may be trusted."""
    found = await stack.points.query(
        "WITH rebuilt AS (SELECT key, run, lane, arrayJoin([8, 11, 14, 17]) AS shift, "
        "bitShiftRight(step, shift) AS bucket, "
        "minIf(v, isFinite(v)) AS lo, maxIf(v, isFinite(v)) AS hi, countIf(isFinite(v)) AS n, "
        "sumIf(v, isFinite(v)) AS total, "
        "countIf(not isFinite(v)) AS bad, min(step) AS a, max(step) AS z, "
        "argMin(v, step) AS oldest, argMax(v, step) AS newest "
        "FROM penstock.points FINAL GROUP BY key, run, lane, shift, bucket), "
        "marks AS (SELECT run, key, lane, max(tiered) AS below FROM penstock.series "
        "GROUP BY run, key, lane) "
        "SELECT toUInt8(b.shift) AS shift, count() AS tiers, countIf("
        "t.ver = 0 OR t.min != lo OR t.max != hi OR t.count != n OR abs(t.sum - total) > 1e-6 OR "
        "t.non_finite != bad OR first_step != a OR last_step != z OR "
        "reinterpretAsInt64(t.first) != reinterpretAsInt64(oldest) OR "
        "reinterpretAsInt64(t.last) != reinterpretAsInt64(newest)) AS wrong "
        "FROM rebuilt AS b JOIN marks AS m "
        "ON m.run = b.run AND m.key = b.key AND m.lane = b.lane "
        "LEFT JOIN (SELECT * FROM penstock.tiers FINAL) AS t ON b.key = t.key AND b.run = t.run "
        "AND b.lane = t.lane AND b.bucket = t.bucket AND b.shift = t.shift "
        "WHERE bitShiftLeft(b.bucket + 1, b.shift) <= m.below GROUP BY shift"
    )
    shifts, tiers = (list(map(int, found[name])) for name in ("shift", "tiers"))
    return dict(zip(shifts, tiers, strict=True)), int(np.sum(found["wrong"]))


async def tiers_settled(stack: Stack) -> None:
    """Wait until every series has tiers to its end and no bucket is dirty."""

    async def settled() -> bool:
        found = await stack.points.query(
            "SELECT (SELECT count() FROM penstock.dirty FINAL WHERE dirty = 1) AS dirty, "
            "(SELECT countIf(t <= z) FROM (SELECT max(tiered) AS t, max(last_step) AS z "
            "FROM penstock.series GROUP BY run, key, lane)) AS short"
        )
        return not np.asarray(found["dirty"])[0] and not np.asarray(found["short"])[0]

    async with asyncio.timeout(60):
        while not await settled():
            await asyncio.sleep(0.1)


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
        await tiers_settled(stack)
        tiers, wrong = await wrong_tiers(stack)
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
