"""One worker reports on queue and store for all, and another does when it goes; a role that runs alone
serves its metrics on an address of its own."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest
from benchmarks.generate import Shape, WriterPlan, batch_bytes
from prometheus_client.parser import text_string_to_metric_families
from support.stack import Stack, eventually, running_stack

SHAPE = Shape(runs=4, keys=3, rows=10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def samples(port: int) -> dict[str, float]:
    """Name -> sum over labels, of the process that listens here; {} if none does."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as reply,
        ):
            text = await reply.text()
    except aiohttp.ClientError:
        return {}
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


async def send(stack: Stack, seq: int) -> None:
    for run in range(SHAPE.runs):
        status, _ = await stack.post(batch_bytes(SHAPE, WriterPlan(run, 0), seq, project="gauges"))
        assert status == 202


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
async def test_one_worker_reports_and_another_takes_over(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    async with running_stack(tmp_path, workers=0) as stack:
        await send(stack, 1)
        workers = {
            port: await stack.start_worker(lease_s=1.0, metrics_listen=f"127.0.0.1:{port}")
            for port in ports
        }

        async def reporters() -> list[int]:
            return [port for port in ports if "penstock_workers" in await samples(port)]

        async def is_settled() -> bool:
            pages = [await samples(port) for port in ports]
            owned = [page.get("penstock_worker_shards", 0.0) for page in pages]
            return owned == [8, 8] and len(await reporters()) == 1

        await eventually(is_settled, 40)
        await stack.drained()
        (first,) = await reporters()
        await workers[first].kill()
        (other,) = (port for port in ports if port != first)

        async def has_taken_over() -> bool:
            page = await samples(other)
            # The store is looked at after the queue.
            return (
                page.get("penstock_worker_shards") == 16
                and page.get("penstock_workers") == 1
                and "penstock_store_runs" in page
            )

        await eventually(has_taken_over, 40)
        page = await samples(other)
        assert page["penstock_shards_unowned"] == 0
        assert page["penstock_store_runs"] == SHAPE.runs
        assert page["penstock_store_rows"] > 0
        assert 0 < page["penstock_queue_memory_used_ratio"] < 1
        assert page["penstock_queue_replaced_total"] == 0

        # A queue that lost everything is seen when it is used again.
        redis = stack.redis.client()
        await redis.flushall()
        await redis.aclose()
        await send(stack, 2)

        async def has_noticed() -> bool:
            return (await samples(other)).get("penstock_queue_replaced_total", 0) >= 1

        await eventually(has_noticed, 40)


@pytest.mark.heavy
@pytest.mark.timeout(120)
async def test_missing_numbers_show_until_they_come(tmp_path: Path) -> None:
    port = free_port()
    async with running_stack(tmp_path, workers=0) as stack:
        await stack.start_worker(metrics_listen=f"127.0.0.1:{port}")
        await send(stack, 1)
        await send(stack, 4)
        missing = 2 * SHAPE.runs

        async def shows(count: int) -> bool:
            return (await samples(port)).get("penstock_worker_missing_batches") == count

        await eventually(lambda: shows(missing), 40)
        await send(stack, 2)
        await send(stack, 3)
        await eventually(lambda: shows(0), 40)
