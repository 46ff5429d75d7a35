"""Rolling restarts and scaling under load: no request fails, and no shard waits for a lease to end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.pods.cluster import Cluster, running_cluster
from support.pods.scenes import Play

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]

LONG_LEASE = {"lease_s": 600}
"""A shard that was not released would have no owner for the rest of the test."""


def pods_of(cluster: Cluster, role: str) -> list[str]:
    return [pod.name for pod in cluster.pods if pod.name.startswith(role)]


@pytest.mark.parametrize("role", ["gateway", "web"])
async def test_new_pods_come_first(tmp_path: Path, scene: Play, role: str) -> None:
    """Rolling restart, one more pod at a time (maxSurge 1, maxUnavailable 0)."""
    async with running_cluster(tmp_path, gateways=2, webs=2) as cluster, scene(cluster):
        for pod in [each for each in cluster.pods if each.name.startswith(role)]:
            await cluster.start(role)
            await cluster.retire(pod)
        assert len(pods_of(cluster, role)) == 2


async def test_workers_one_by_one(tmp_path: Path, scene: Play) -> None:
    """Rolling restart of workers, one after the other (maxUnavailable 1)."""
    async with (
        running_cluster(tmp_path, workers=2, worker_settings=LONG_LEASE) as cluster,
        scene(cluster),
    ):
        for pod in list(cluster.workers):
            await cluster.retire(pod)
            await cluster.owned_by(1)
            await cluster.start("worker", settings=LONG_LEASE)
            await cluster.owned_by(2)


async def test_up_and_down(tmp_path: Path, scene: Play) -> None:
    """1 to 4 to 1 gateways and workers."""
    async with (
        running_cluster(tmp_path, gateways=1, workers=1, worker_settings=LONG_LEASE) as cluster,
        scene(cluster) as playing,
    ):
        more = [cluster.start("gateway") for _ in range(3)]
        more += [cluster.start("worker", settings=LONG_LEASE) for _ in range(3)]
        await asyncio.gather(*more)
        await cluster.ingest.leads_to(*cluster.ingest.pods)
        await cluster.owned_by(4)
        await playing.load.flowing()
        leaving = [*cluster.ingest.pods[:3], *cluster.workers[:3]]
        await asyncio.gather(*(cluster.retire(pod) for pod in leaving))
        await cluster.owned_by(1)
