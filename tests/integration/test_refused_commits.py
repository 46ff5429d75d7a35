"""G8 at commit: one batch's data that a store refuses for good is put aside, as if it could not be
processed; what was to be committed with it, and what lies behind it, is stored."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from benchmarks import ledger
from benchmarks.generate import Shape, batch_bytes, plans
from support.letters import dead, dead_seqs
from support.stack import Stack, eventually, running_stack
from support.workers import metrics_of

from penstock.wire import Batch, Frame, encode_batch
from penstock_common.queue.redis_keys import run_path, writer_key
from penstock_storage.contracts.interface import RunRef

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.timeout(120)
]  # fmt: skip

SHAPE = Shape(runs=4, keys=3, rows=10, awkward=False)
BAD = "unacceptable"
BAD_SEQ, LAST_SEQ = 3, 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), workers=0) as running:
        yield running


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        yield Path(folder) / "metrics"


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def new_queue(stack: Stack) -> None:
    redis = stack.redis.client()
    await redis.flushall()
    await redis.aclose()


def in_catalog(stack: Stack, *statements: str) -> None:
    """As an operator changes a database under its programs."""
    path = stack.settings["catalog_url"].removeprefix("sqlite+aiosqlite:///")
    with closing(sqlite3.connect(path, timeout=30)) as catalog, catalog:
        for statement in statements:
            catalog.execute(statement)


def refusing(event: str, when: str, name: str = "refuse") -> str:
    return (
        f"CREATE TRIGGER {name} BEFORE {event} WHEN {when}"
        " BEGIN SELECT RAISE(ABORT, 'not this'); END"
    )


def own(project: str) -> str:
    """The project of the run that misbehaves: the ledger counts what is in the other."""
    return f"{project}-own"


def own_batch(project: str, seq: int, *, metric: str = "x", **record: Any) -> bytes:
    """Ten points of a run of its own, and perhaps a record."""
    steps = np.arange(10 * seq, 10 * seq + 10, dtype="<i8")
    frame = Frame([metric], steps.tobytes(), steps.tobytes(), steps.astype("<f8").tobytes())
    records = [record] if record else []
    return encode_batch(
        Batch(own(project), "own", "w", seq, writer_started=5, frames=[frame], records=records)
    )


async def send(stack: Stack, project: str, bad: bytes) -> None:
    """Batches of several runs, which will be committed together, and the bad one among them."""
    for seq in range(1, LAST_SEQ + 1):
        raws = [batch_bytes(SHAPE, plan, seq, project=project) for plan in plans(SHAPE)]
        raws.append(bad if seq == BAD_SEQ else own_batch(project, seq))
        status, reply = await stack.post(*raws)
        assert status == 202, reply


async def own_steps(stack: Stack, project: str) -> list[int]:
    row = await stack.catalog.run(RunRef("local", own(project), "own"))
    assert row is not None
    found = await stack.points.query(
        "SELECT DISTINCT step FROM penstock.points WHERE run = {run:UInt32} ORDER BY step",
        {"run": row.number},
    )
    return [int(step) for step in found["step"]]


async def check_refused(stack: Stack, socket: Path, project: str, bad: bytes) -> None:
    """The bad batch alone is put aside."""
    await send(stack, project, bad)
    worker = await stack.start_worker(metrics_socket=socket)
    await stack.drained(60)
    writer = writer_key(run_path("local", own(project), "own"), "w")
    assert await dead_seqs(stack) == {writer: str(BAD_SEQ)}
    (line,) = await dead(stack, "list")
    assert "Broken" in line
    sent = dict.fromkeys(plans(SHAPE), LAST_SEQ)
    store = stack.store
    found = await ledger.check(store.url, store.token, SHAPE, sent, project)
    assert found.is_clean, str(found)
    good = [seq for seq in range(1, LAST_SEQ + 1) if seq != BAD_SEQ]
    steps = await own_steps(stack, project)
    assert {10 * seq + row for seq in good for row in range(10)} <= set(steps)
    assert (await metrics_of(socket))["penstock_worker_batches_total", "dead_lettered"] == 1
    assert await worker.stop() == 0


async def check_replayed(stack: Stack, project: str) -> None:
    """Once the store takes it, all of it is there."""
    worker = await stack.start_worker()
    assert await dead(stack, "replay", "--all") == ["1 are in the queue again."]
    await stack.drained()
    assert await dead_seqs(stack) == {}
    assert await own_steps(stack, project) == list(range(10, 10 * LAST_SEQ + 10))
    assert await worker.stop() == 0


async def test_the_catalog_refuses_what_a_batch_says_of_its_run(stack: Stack, socket: Path) -> None:
    project = "notes"
    in_catalog(stack, refusing("UPDATE ON runs", f"NEW.notes = '{BAD}'"))
    try:
        bad = own_batch(project, BAD_SEQ, t="run", notes=BAD)
        await check_refused(stack, socket, project, bad)
    finally:
        in_catalog(stack, "DROP TRIGGER refuse")
    await check_replayed(stack, project)
    row = await stack.catalog.run(RunRef("local", own(project), "own"))
    assert row is not None
    assert row.notes == BAD


async def test_the_catalog_refuses_a_key(stack: Stack, socket: Path) -> None:
    """Before there is anything to commit: its names cannot be numbered."""
    project = "keys"
    in_catalog(stack, refusing("INSERT ON keys", f"NEW.name = '{BAD}'"))
    try:
        await check_refused(stack, socket, project, own_batch(project, BAD_SEQ, metric=BAD))
        good = [seq for seq in range(1, LAST_SEQ + 1) if seq != BAD_SEQ]
        assert await own_steps(stack, project) == [
            10 * seq + row for seq in good for row in range(10)
        ]
    finally:
        in_catalog(stack, "DROP TRIGGER refuse")
    await check_replayed(stack, project)


async def test_the_store_refuses_a_value(stack: Stack, socket: Path) -> None:
    project, json = "values", f'"{BAD}"'
    record: dict[str, Any] = {
        "t": "value",
        "key": "said",
        "step": 1,
        "time": 1,
        "kind": "string",
        "json": json,
    }
    bad = own_batch(project, BAD_SEQ, **record)
    change = "ALTER TABLE penstock.values {} CONSTRAINT decent"
    await stack.points.execute(f"{change.format('ADD')} CHECK json != '{json}'")
    try:
        await check_refused(stack, socket, project, bad)
    finally:
        await stack.points.execute(change.format("DROP"))
    await check_replayed(stack, project)
    found = await stack.points.query(
        "SELECT count() AS n FROM penstock.values FINAL WHERE json = {json:String}",
        {"json": json},
    )
    assert int(found["n"][0]) == 1


async def test_a_catalog_that_refuses_everything_is_no_batchs_fault(
    stack: Stack, socket: Path
) -> None:
    project = "everything"
    await send(stack, project, own_batch(project, BAD_SEQ))
    in_catalog(
        stack,
        refusing("UPDATE ON runs", "1", "refuse_runs"),
        refusing("INSERT ON meta", "1", "refuse_insert"),
        refusing("UPDATE ON meta", "1", "refuse_update"),
    )
    try:
        worker = await stack.start_worker(metrics_socket=socket)

        async def has_tried() -> bool:
            return (await metrics_of(socket)).get(("penstock_worker_errors_total", "store"), 0) > 6

        await eventually(has_tried, 60)
        assert await stack.backlog() == LAST_SEQ * (len(plans(SHAPE)) + 1)
    finally:
        in_catalog(stack, *(f"DROP TRIGGER refuse_{each}" for each in ("runs", "insert", "update")))
    await stack.drained(60)
    assert await dead(stack, "list") == ["No dead letters or parked writers."]
    assert await own_steps(stack, project) == list(range(10, 10 * LAST_SEQ + 10))
    assert await worker.stop() == 0
