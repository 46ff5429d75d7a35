"""SIGTERM under load: each role is not ready at once, drains, and exits with 0 within its grace period, and the
services refuse nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.marks import SMOKE
from support.pods.cluster import METRICS, PORT, Cluster, environ, running_cluster
from support.pods.network import network
from support.pods.pod import Pod, Probes, penstock
from support.pods.scenes import Play
from support.pods.service import running_service

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]

LONG_LEASE = {"lease_s": 600}
"""A shard that was not released would have no owner for the rest of the test."""


@pytest.mark.parametrize("role", [pytest.param("gateway", marks=SMOKE), "worker", "web"])
async def test_one_of_two(tmp_path: Path, scene: Play, role: str) -> None:
    """SIGTERM of one of two pods. It drains and exits; what it did is done by the other one."""
    async with (
        running_cluster(
            tmp_path, gateways=2, workers=2, webs=2, worker_settings=LONG_LEASE
        ) as cluster,
        scene(cluster),
    ):
        leaving = next(pod for pod in reversed(cluster.pods) if pod.name.startswith(role))
        await cluster.retire(leaving)
        await stored_by(cluster, *(pod for pod in cluster.workers if pod is not leaving))


async def stored_by(cluster: Cluster, *workers: Pod) -> None:
    """Wait until every shard has an owner, and these workers are all of them."""
    async with asyncio.timeout(60):
        while not (all(owners := await cluster.owners()) and len(set(owners)) == len(workers)):
            await asyncio.sleep(0.05)


async def test_the_store(tmp_path: Path, scene: Play) -> None:
    """SIGTERM of the only store, which is then started again. Gateways take data meanwhile."""
    async with running_cluster(tmp_path) as cluster, scene(cluster):
        old = cluster.store
        await cluster.retire(old)
        cluster.store = old.again()
        cluster.pods.append(cluster.store)
        await cluster.store.start()


@asynccontextmanager
async def running_alone(folder: Path) -> AsyncIterator[Cluster]:
    """`penstock up` as the only process of a pod with a volume."""
    async with AsyncExitStack() as parts:
        net = parts.enter_context(network())
        host, data = net.host("up"), folder / "data"
        arguments = penstock("up", "--host", host.address, "--port", str(PORT), "--data", str(data))
        settings: dict[str, object] = {
            "pre_stop_s": 3,
            "metrics_listen": f"{host.address}:{METRICS}",
        }
        own = environ(settings) | {"XDG_CONFIG_HOME": str(folder / "config")}
        pod = Pod("up", host, arguments, own, Probes(PORT, METRICS), folder / "log")
        pods = [pod]

        async def end() -> None:
            await asyncio.gather(*(each.end() for each in pods))

        parts.push_async_callback(end)
        await pod.start()
        service = await parts.enter_async_context(running_service(pod, port=PORT))
        stores = {
            "store_url": f"unix://{data / 'run' / 'store.sock'}",
            "store_token": (data / "secrets" / "store_token").read_text(),
        }
        key = (data / "api_key").read_text()
        yield Cluster(folder, net, host, stores, key, pod, parts, pods, service, service)


async def test_everything_in_one_pod(tmp_path_factory: pytest.TempPathFactory, scene: Play) -> None:
    """SIGTERM of `penstock up`, alone in its pod, which is then started again on its volume."""
    folder = tmp_path_factory.mktemp("up")
    async with running_alone(folder) as cluster, scene(cluster) as playing:
        playing.is_planned = False  # there is nobody else to take requests
        old = cluster.store
        await cluster.retire(old)
        assert not [*(folder / "data" / "run").glob("up.json")]
        cluster.store = old.again()
        cluster.pods.append(cluster.store)
        await cluster.store.start()
        cluster.ingest.add(cluster.store)
