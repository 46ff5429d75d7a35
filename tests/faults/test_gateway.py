"""A gateway that is killed around its append: whoever repeats the batch has it stored exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from benchmarks import ledger
from benchmarks.generate import Shape, WriterPlan, batch_bytes
from support.gateways import Gateway, running_gateway
from support.stack import Stack, running_stack

from penstock.wire import CONTENT_TYPE, join_batches

SHAPE = Shape(runs=1, keys=3, rows=20)

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("gateway"), gateways=0) as running:
        yield running


async def post(stack: Stack, gateway: Gateway, raw: bytes) -> dict[str, object] | None:
    """The answer to one batch; None if there was none."""
    url, headers = f"{gateway.url}/v1/batches", {"Content-Type": CONTENT_TYPE}
    try:
        async with stack.session.post(url, data=join_batches([raw]), headers=headers) as reply:
            assert reply.status == 202, await reply.text()
            answer: dict[str, object] = await reply.json()
            return answer
    except aiohttp.ClientError:
        return None


@pytest.mark.parametrize("place", ["gateway.before_append", "gateway.after_append"])
@pytest.mark.asyncio(loop_scope="module")
async def test_a_repeated_batch_is_stored_once(stack: Stack, tmp_path: Path, place: str) -> None:
    project = place.replace(".", "-")
    batches = [batch_bytes(SHAPE, WriterPlan(0, 0), seq, project=project) for seq in range(1, 6)]
    async with running_gateway(stack, tmp_path) as gateway:
        answers = []
        for seq, raw in enumerate(batches, start=1):
            if seq in (2, 4):
                gateway.arm(place, "kill")
                assert await post(stack, gateway, raw) is None
                assert await gateway.wait() == -9
                assert not (gateway.failpoints / place).exists()
                await gateway.start()
            answers.append(await post(stack, gateway, raw))
        duplicates = await gateway.metric('penstock_ingest_batches_total{outcome="duplicate"}')
        assert duplicates == (1 if place.endswith("after_append") else 0)
        assert [answer and answer["queued"] for answer in answers] == [1, 2, 3, 4, 5]
    await stack.drained()
    sent = {WriterPlan(0, 0): len(batches)}
    found = await ledger.check(stack.store.url, stack.store.token, SHAPE, sent, project)
    assert found.is_clean, str(found)
