"""A pod is cut off from what it needs: packets vanish, and nobody says so. It waits, says that it lives, and goes on
by itself when the network is back.

PENSTOCK_TEST_CUT_S is for how long, a minute by default.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import aiohttp
import pytest
from support.pods.cluster import PORT, Cluster, running_cluster
from support.pods.pod import Pod
from support.pods.scenes import Play

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]

CUT_S = float(os.environ.get("PENSTOCK_TEST_CUT_S", "60"))
LONG_LEASE = {"lease_s": 600}


async def posted(cluster: Cluster, pod: Pod) -> tuple[int, str]:
    """Status and `Retry-After` of a row that is sent to this very gateway; (0, '') without an answer."""
    body = {"project": "knock", "run": "r", "rows": [{"step": 1, "x": 1.0}]}
    headers = {"Authorization": f"Bearer {cluster.api_key}"}
    url, timeout = f"http://{pod.address}:{PORT}/v1/batches", aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        try:
            async with session.post(url, json=body) as reply:
                return reply.status, reply.headers.get("Retry-After", "")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, ""


async def pass_time(pod: Pod) -> None:
    """Wait for the time of a cut, during which this pod has to say that it is alive and ready."""
    until = time.monotonic() + CUT_S
    while time.monotonic() < until:
        assert pod.is_ready
        assert pod.live_failures == 0
        await asyncio.sleep(0.1)


async def test_a_gateway_from_redis(tmp_path: Path, scene: Play) -> None:
    """One of two gateways is cut off from Redis for a minute. It stays ready, and says 503 itself."""
    async with running_cluster(tmp_path) as cluster, scene(cluster) as playing:
        playing.is_planned = False
        pod = cluster.ingest.pods[0]
        cluster.network.cut(pod.host, cluster.redis_host)
        status, wait = await posted(cluster, pod)
        assert status == 503
        assert int(wait) >= 1
        await pass_time(pod)
        cluster.network.heal(pod.host, cluster.redis_host)
        async with asyncio.timeout(90):
            while (await posted(cluster, pod))[0] != 202:
                await asyncio.sleep(0.05)
        assert pod.ended == []


async def test_a_worker_from_the_store(tmp_path: Path, scene: Play) -> None:
    """One of two workers is cut off from the store for a minute. Its shards wait; the others are stored."""
    async with running_cluster(tmp_path, workers=2) as cluster, scene(cluster) as playing:
        pod = cluster.workers[0]
        cluster.network.cut(pod.host, cluster.store.host)
        await pass_time(pod)
        cluster.network.heal(pod.host, cluster.store.host)
        await playing.load.flowing(timeout_s=120)
        assert pod.ended == []


async def test_sigterm_while_cut_off(tmp_path: Path, scene: Play) -> None:
    """SIGTERM of a worker that is cut off from the store. It gives its shards to the other one and exits."""
    async with (
        running_cluster(tmp_path, workers=2, worker_settings=LONG_LEASE) as cluster,
        scene(cluster) as playing,
    ):
        pod, other = cluster.workers
        owners = set(await cluster.owners())
        cluster.network.cut(pod.host, cluster.store.host)
        await playing.load.flowing()  # what is in hand does not get through
        await cluster.retire(pod)
        async with asyncio.timeout(60):
            while not (all(now := await cluster.owners()) and len(set(now)) == 1):
                await asyncio.sleep(0.05)
        assert set(now) < owners
        assert other.ended == []
