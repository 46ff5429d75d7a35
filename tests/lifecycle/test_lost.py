"""Pods that die without a word: killed for memory, evicted without grace, or gone with their node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.pods.cluster import running_cluster
from support.pods.memory import memory_group
from support.pods.scenes import Play
from support.workers import metrics_at

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]


async def test_a_worker_killed_for_memory(tmp_path: Path, scene: Play) -> None:
    """The only worker needs more memory than its limit. The kernel kills it, and its container starts again."""
    with memory_group("penstock-worker") as group:
        async with running_cluster(tmp_path, workers=0) as cluster:
            worker = cluster.pod("worker", wrapper=group.enter)
            await worker.start()
            async with scene(cluster):
                await group.exhaust()
                async with asyncio.timeout(60):
                    while not worker.ended:
                        await asyncio.sleep(0.01)
                assert worker.ended[0].code != 0
                await worker.becomes_unready()
                await worker.becomes_ready()
            assert len(worker.ended) == group.kills == 1


@pytest.mark.parametrize("role", ["gateway", "worker", "web"])
async def test_eviction(tmp_path: Path, scene: Play, role: str) -> None:
    """Evicted without grace, one of two pods. Another one is started in its place."""
    async with (
        running_cluster(tmp_path, gateways=2, workers=2, webs=2) as cluster,
        scene(cluster) as playing,
    ):
        playing.is_planned = role == "worker"  # requests that it was answering break off
        pod = next(each for each in cluster.pods if each.name.startswith(role))
        await cluster.retire(pod, grace_s=0)
        await cluster.start(role)
        await cluster.owned_by(2)


async def test_a_node_that_comes_back(tmp_path: Path, scene: Play) -> None:
    """A node with a gateway and a worker vanishes, and comes back when others do their work. They find out."""
    async with running_cluster(tmp_path, workers=2) as cluster, scene(cluster) as playing:
        playing.is_planned = False
        node = [cluster.ingest.pods[0], cluster.workers[0]]
        for pod in node:
            pod.is_lost = True
            cluster.network.isolate(pod.host)
            pod.freeze()
        await node[0].becomes_unready()
        await cluster.owned_by(1)
        await playing.load.flowing(timeout_s=90)
        for pod in node:
            cluster.network.rejoin(pod.host)
            pod.thaw()
        await asyncio.gather(*(pod.becomes_ready(90) for pod in node))
        await cluster.owned_by(2)
        for pod in node:
            pod.is_lost, pod.live_failures = False, 0
        found = await metrics_at(f"http://{node[1].address}:9100/metrics")
        assert found["penstock_worker_batches_total", "conflict"] == 0
