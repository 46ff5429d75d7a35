"""Roles without their databases: alive, not ready, and gone as soon as a kubelet ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.marks import SMOKE
from support.pods.cluster import DRAINING, METRICS, PORT, environ
from support.pods.network import Network, network
from support.pods.pod import Pod, Probes, penstock

pytestmark = [*SMOKE, pytest.mark.timeout(120)]


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.mark.parametrize(
    ("role", "port"), [("gateway", PORT), ("gateway", METRICS), ("web", PORT), ("worker", METRICS)]
)
async def test_a_role_that_waits_is_alive_and_leaves_at_once(
    net: Network, tmp_path: Path, role: str, port: int
) -> None:
    """No Redis, no store, no catalog: their hosts answer nothing at all."""
    host, nobody = net.host(role), net.host("none")
    net.isolate(nobody)
    own = {
        **DRAINING,
        "host": host.address,
        "port": PORT,
        "metrics_listen": f"{host.address}:{METRICS}",
        "redis_url": f"redis://{nobody.address}",
        "store_url": f"http://{nobody.address}:8123",
        "catalog_url": f"postgresql+asyncpg://penstock@{nobody.address}/penstock",
        "secret": "secret",
    }
    pod = Pod(
        role, host, penstock(role), environ(own), Probes(port, port, period_s=0.1), tmp_path / "log"
    )
    try:
        pod.begin()
        async with asyncio.timeout(60):
            while not pod.is_live:
                await asyncio.sleep(0.02)
        assert not pod.is_ready
        ended = await pod.delete()
        assert (ended.code, ended.was_killed) == (0, False), pod.log.read_text()
    finally:
        await pod.end()
