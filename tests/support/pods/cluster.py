"""A cluster of Penstock: Redis, a store, a catalog, and pods of every role, each on a host of its own, with the
services in front of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from support.pods.network import Host, Network, network
from support.pods.pod import Ended, Pod, Probes, penstock
from support.pods.release import CURRENT, Release
from support.pods.releases import first_key
from support.pods.service import Service, running_service

from penstock_common.queue.connection import connect
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_server.redis_server import config, find_server

__all__ = ["DRAINING", "METRICS", "PORT", "Cluster", "environ", "running_cluster"]

PORT, METRICS, STORE, REDIS = 8080, 9100, 8123, 6379
DRAINING = {"pre_stop_s": 3, "drain_s": 20}
"""As the chart sets them, with a shorter pre-stop: the services here are faster."""
_START_S = 30.0


@dataclass
class Cluster:
    """Use `running_cluster`. `gateways` and `webs` are services; `pods` are all that were made."""

    folder: Path
    network: Network
    redis_host: Host
    settings: dict[str, str]
    api_key: str
    store: Pod
    parts: AsyncExitStack
    pods: list[Pod] = field(default_factory=list)
    gateways: Service | None = None
    webs: Service | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def ingest(self) -> Service:
        assert self.gateways is not None
        return self.gateways

    @property
    def page(self) -> Service:
        assert self.webs is not None
        return self.webs

    @property
    def workers(self) -> list[Pod]:
        return [each for each in self.pods if each.name.startswith("worker")]

    def pod(
        self,
        role: str,
        *,
        release: Release = CURRENT,
        wrapper: Sequence[str] = (),
        arguments: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
    ) -> Pod:
        """A pod of this role that has not been started. Its Redis and store are reached over the network."""
        name = f"{role}-{next(self.numbers)}"
        host = self.network.host(name)
        folder = self.folder / name
        folder.mkdir()
        own = {
            **self.settings,
            **DRAINING,
            "host": host.address,
            "port": PORT,
            "metrics_listen": f"{host.address}:{METRICS}",
            "worker_folder": folder,
            **({"commit_rest_s": 1} if role == "worker" else {}),
            **(settings or {}),
        }
        pod = Pod(
            name, host, penstock(role, *arguments), environ(own, release), _probes(role, release),
            folder / "log", wrapper, release.root,
        )  # fmt: skip
        self.pods.append(pod)
        return pod

    async def start(self, role: str, **options: Any) -> Pod:
        """Start one more pod of this role, wait until it is ready, and add it to its service."""
        pod = await self.pod(role, **options).start()
        if (service := {"gateway": self.gateways, "web": self.webs}.get(role)) is not None:
            service.add(pod)
        return pod

    async def retire(self, pod: Pod, grace_s: float | None = None) -> Ended:
        """Delete a pod: it must drain and exit by itself, unless it gets no grace."""
        ended = await (pod.delete() if grace_s is None else pod.delete(grace_s))
        for service in (self.gateways, self.webs):
            if service is not None and pod in service.pods:
                service.remove(pod)
        self.pods.remove(pod)
        if grace_s is None:
            assert (ended.code, ended.was_killed) == (0, False), f"{pod.name}: {ended}"
        return ended

    def redis(self) -> Redis:
        """A client; close it."""
        return connect(self.settings["redis_url"], timeout_s=10)

    async def owners(self) -> list[str]:
        """The name of each shard's owner, '' where there is none."""
        redis, keys = self.redis(), RedisKeys()
        try:
            leases: list[Any] = await redis.mget([keys.lease(shard) for shard in range(SHARDS)])
        finally:
            await redis.aclose()
        return [lease.decode().rpartition(":")[0] if lease else "" for lease in leases]

    async def owned_by(self, count: int) -> None:
        """Wait until every shard has an owner, and `count` workers own them between them."""
        async with asyncio.timeout(90):
            while not (all(owners := await self.owners()) and len(set(owners)) == count):
                await asyncio.sleep(0.05)


def environ(settings: Mapping[str, object], release: Release = CURRENT) -> dict[str, str]:
    """The environment of a container."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PENSTOCK_")}
    own = {f"PENSTOCK_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, "PYTHONPATH": release.path, **own}


@asynccontextmanager
async def running_cluster(
    folder: Path,
    *,
    gateways: int = 2,
    workers: int = 1,
    webs: int = 1,
    catalog_url: str = "",
    release: Release = CURRENT,
    worker_settings: Mapping[str, object] | None = None,
) -> AsyncIterator[Cluster]:
    """A cluster that takes data and serves charts. Its catalog is SQLite in a file unless a URL is given."""
    async with AsyncExitStack() as parts:
        net = parts.enter_context(network())
        redis_host = await parts.enter_async_context(_redis(folder, net))
        settings = {
            "redis_url": f"redis://{redis_host.address}:{REDIS}",
            "store_token": secrets.token_hex(16),
            "catalog_url": catalog_url or f"sqlite+aiosqlite:///{folder / 'catalog.db'}",
            "blobs_url": f"file://{folder / 'blobs'}",
            "secret": secrets.token_hex(16),
            "require_login": "1",
        }
        pods: list[Pod] = []
        parts.push_async_callback(_end_all, pods)
        store = _store(folder, net, settings["store_token"], release)
        pods.append(await store.start())
        settings["store_url"] = f"http://{store.address}:{STORE}"
        key = await asyncio.to_thread(
            first_key, release, settings["catalog_url"], settings["secret"]
        )
        cluster = Cluster(folder, net, redis_host, settings, key, store, parts, pods)
        started = [
            cluster.pod("worker", release=release, settings=worker_settings) for _ in range(workers)
        ]
        doors = [cluster.pod("gateway", release=release) for _ in range(gateways)]
        pages = [cluster.pod("web", release=release) for _ in range(webs)]
        await asyncio.gather(*(pod.start() for pod in (*started, *doors, *pages)))
        cluster.gateways = await parts.enter_async_context(running_service(*doors, port=PORT))
        cluster.webs = await parts.enter_async_context(running_service(*pages, port=PORT))
        yield cluster


def _store(folder: Path, net: Network, token: str, release: Release) -> Pod:
    host = net.host("store")
    (folder / "store").mkdir()
    arguments = penstock(
        "store", "--path", str(folder / "store" / "data"), "--host", host.address, "--port", str(STORE)
    )  # fmt: skip
    own = {"store_token": token, "metrics_listen": f"{host.address}:{METRICS}"}
    probes, log = _probes("store", release), folder / "store" / "log"
    return Pod("store", host, arguments, environ(own, release), probes, log, cwd=release.root)


def _probes(role: str, release: Release) -> Probes:
    if role in ("gateway", "web"):
        return Probes(PORT, METRICS)
    return Probes(METRICS, METRICS, "/readyz" if release.has_ready_roles else "/healthz")


@asynccontextmanager
async def _redis(folder: Path, net: Network) -> AsyncIterator[Host]:
    """A Redis that listens on its host's address."""
    host, own = net.host("redis"), folder / "redis"
    own.mkdir()
    text = config(socket=Path("/dev/null"), folder=own, maxmemory_bytes=2**30, log=own / "log")
    lines = [line for line in text.splitlines() if not line.startswith(("port", "unixsocket"))]
    lines += [f"port {REDIS}", f"bind {host.address}", "protected-mode no", ""]
    (own / "redis.conf").write_text("\n".join(lines))
    process = await asyncio.create_subprocess_exec(
        *host.enter, find_server(), str(own / "redis.conf")
    )
    redis = connect(f"redis://{host.address}:{REDIS}", timeout_s=1)
    try:
        async with asyncio.timeout(_START_S):
            while True:
                with suppress(Exception):
                    await redis.get("x")
                    break
                await asyncio.sleep(0.02)
        yield host
    finally:
        await redis.aclose()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def _end_all(pods: Sequence[Pod]) -> None:
    await asyncio.gather(*(pod.end() for pod in pods))
